// Read the header of a model file and one block of it, however large the file: safetensors, .npy, GGUF, or a config.json.
//
// Only a file of the same kind with that one block is sent, some kilobytes; the server checks it as strictly as any file.
const MOST = 256; // numbers of a block: what the largest figure shows
const LEAST = 16; // and the smallest
const CHUNK = 1 << 20; // bytes that are read at a time
const MOST_SENT = 1 << 16; // bytes that the server reads
const MOST_HEADER = 1 << 25;
const MOST_TENSORS = 1 << 17;
const MOST_TEXT = 1 << 26;
const SIZES = { F64: 8, F32: 4, F16: 2, BF16: 2, F8_E4M3: 1, F8_E5M2: 1, I64: 8, I32: 4, I16: 2, I8: 1, U64: 8, U32: 4, U16: 2, U8: 1 };
const NPY_TYPE = /'descr':\s*'([<>|=](?:f[1248]|[iu][1248]|V[12]))'/; // V and f1: bfloat16 and 8-bit floats, as ml_dtypes saves them
const GGUF = [71, 71, 85, 70];
const SCALARS = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8]; // bytes of GGUF's kinds of metadata; texts and arrays apart
const [U32, TEXT, ARRAY] = [4, 8, 9]; // some of these kinds

// Of the header of a GGUF file, what says the shape of the model:
const LONGEST_ENTRY = 1 << 12; // bytes
const TELLING = new Set(["token_embd.weight", "output.weight", "blk.0.attn_q.bias", "rope_freqs.weight", "rope_factors_long.weight"]);
// Of a config.json:
const LONG_CONFIG = 1 << 14; // bytes of one that is sent as it is
const MOST_CONFIG = 1 << 26;
const SAYS_NOTHING = /^(quantization|compression|auto_map$|id2label$|label2id$|task_specific_params$)/;
const PYTHON_NUMBERS = /(?<=[:[,\s])(?:-?Infinity|NaN)(?=\s*[,\]}])/g;

/** What keeps a file from being read: "truncated", "strange", "large" or "none". */
class FileError extends Error {
  constructor(problem) {
    super(problem);
    this.problem = problem;
  }
}

/** The tensors of a file that have numbers: [{ name, rows, columns, block, read(row, column) → { first, bytes } }]. */
export async function tensorsOf(file, types) {
  const head = await bytesOf(file, 0, Math.min(file.size, 16));
  const magic = String.fromCharCode(...head.subarray(0, 6));
  const read = magic.startsWith("GGUF") ? () => ggufTensors(file, types) : () => (magic === "\x93NUMPY" ? npyTensors : safetensors)(file, head);
  const usable = (await read()).filter(({ rows, columns }) => rows > 0 && columns >= LEAST);
  if (!usable.length) throw new FileError("none");
  return usable;
}

async function bytesOf(file, from, to) {
  if (to > file.size || from > to) throw new FileError("truncated");
  return new Uint8Array(await file.slice(from, to).arrayBuffer());
}

/**
 * A tensor of `size` bytes for each `block` numbers, from `offset` on: rows behind one another, in Fortran's order columns.
 * `wrap(data, count)` makes a file of the bytes of a block.
 */
function tensor(file, name, stored, [block, size], offset, wrap, fortran = false) {
  const shape = stored.length > 1 && stored.at(-1) === 1 ? stored.slice(0, -1) : stored; // a column is read like a row
  const columns = shape.at(-1) ?? 1;
  const rows = product(shape.slice(0, -1));
  return {
    name, rows, columns, block,
    async read(row, column) {
      const last = Math.min(column, columns - 1);
      const first = last - (last % block);
      const count = Math.min(MOST, columns - first);
      if (fortran) {
        const place = placeInFortran(row, shape.slice(0, -1));
        const starts = Array.from({ length: count }, (_, i) => offset + (place + (first + i) * rows) * size);
        return { first, bytes: wrap(joined(...await Promise.all(starts.map((start) => bytesOf(file, start, start + size)))), count) };
      }
      const start = offset + ((row * columns + first) / block) * size;
      return { first, bytes: wrap(await bytesOf(file, start, start + Math.ceil(count / block) * size), count) };
    },
  };
}

/** Where the first number of a row lies that is counted as in C, its last dimension the fastest. */
function placeInFortran(row, shape) {
  let left = row;
  return shape.reduceRight((place, size, i) => {
    const at = left % size;
    left = Math.floor(left / size);
    return place + at * product(shape.slice(0, i));
  }, 0);
}

function product(sizes) {
  return sizes.reduce((result, size) => result * size, 1);
}

function isShape(shape) {
  return Array.isArray(shape) && shape.length <= 8 && shape.every((size) => Number.isSafeInteger(size) && size >= 0);
}

async function safetensors(file, head) {
  if (head.length < 8) throw new FileError("strange");
  const length = Number(new DataView(head.buffer).getBigUint64(0, true));
  if (length > MOST_HEADER || length < 2) throw new FileError("strange");
  const raw = await bytesOf(file, 8, 8 + length);
  let header;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(raw));
  } catch {
    throw new FileError("strange");
  }
  return Object.entries(header)
    .filter(([name, entry]) => name !== "__metadata__" && SIZES[entry?.dtype] && isShape(entry.shape) && isShape(entry.data_offsets))
    .slice(0, MOST_TENSORS)
    .map(([name, { dtype, shape, data_offsets: [start] }]) =>
      tensor(file, name, shape, [1, SIZES[dtype]], 8 + length + start, (data, count) => {
        const own = new TextEncoder().encode(JSON.stringify({ [name]: { dtype, shape: [count], data_offsets: [0, data.length] } }));
        return joined(numbers([8, own.length]), own, data);
      }));
}

async function npyTensors(file, head) {
  const view = new DataView(head.buffer);
  const long = head[6] > 1;
  if (head.length < 12) throw new FileError("truncated");
  const start = long ? 12 : 10;
  const length = long ? view.getUint32(8, true) : view.getUint16(8, true);
  if (length > 1 << 16) throw new FileError("strange");
  const header = new TextDecoder("latin1").decode(await bytesOf(file, start, start + length));
  const descr = NPY_TYPE.exec(header)?.[1];
  const shape = /'shape':\s*\(([0-9, ]*)\)/.exec(header)?.[1].split(",").filter((size) => size.trim()).map(Number);
  if (!descr || !shape || !isShape(shape)) throw new FileError("none");
  const fortran = /'fortran_order':\s*True/.test(header);
  return [tensor(file, "", shape, [1, Number(descr[2])], start + length, (data, count) => {
    const own = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${count},), }`;
    const padded = `${own.padEnd(117)}\n`;
    return joined(new Uint8Array([0x93, 78, 85, 77, 80, 89, 1, 0, padded.length, 0]), new TextEncoder().encode(padded), data);
  }, fortran)];
}

/** A position in a GGUF file that moves forward; the file is read in pieces. */
class Reader {
  constructor(file) {
    Object.assign(this, { file, at: 0, from: 0, buffer: new Uint8Array() });
  }

  async take(count) {
    if (this.at + count > this.from + this.buffer.length || this.at < this.from) {
      this.from = this.at;
      this.buffer = await bytesOf(this.file, this.at, Math.min(this.file.size, this.at + Math.max(count, CHUNK)));
      if (this.buffer.length < count) throw new FileError("truncated");
    }
    const taken = this.buffer.subarray(this.at - this.from, this.at - this.from + count);
    this.at += count;
    return new DataView(taken.buffer, taken.byteOffset, count);
  }

  async u32() {
    return (await this.take(4)).getUint32(0, true);
  }

  async u64(most = Number.MAX_SAFE_INTEGER) {
    const value = Number((await this.take(8)).getBigUint64(0, true));
    if (value > most) throw new FileError("strange");
    return value;
  }

  async text() {
    return new TextDecoder().decode(await this.take(await this.u64(MOST_TEXT)));
  }

  skip(count) {
    this.at += count;
    if (this.at > this.file.size) throw new FileError("truncated");
  }

  async skipValue(kind) {
    if (kind === TEXT) this.skip(await this.u64(MOST_TEXT));
    else if (kind === ARRAY) {
      const item = await this.u32();
      const count = await this.u64(1 << 24);
      if (item === TEXT) for (let i = 0; i < count; i++) this.skip(await this.u64(MOST_TEXT));
      else this.skip(count * scalar(item));
    } else this.skip(scalar(kind));
  }

  /** The beginning of a file: its version, and how many tensors and keys follow. */
  async begin() {
    this.skip(4);
    const version = await this.u32();
    if (version !== 2 && version !== 3) throw new FileError("strange");
    return { version, tensors: await this.u64(MOST_TENSORS), keys: await this.u64(1 << 16) };
  }
}

function scalar(kind) {
  if (!SCALARS[kind]) throw new FileError("strange");
  return SCALARS[kind];
}

async function ggufTensors(file, types) {
  const reader = new Reader(file);
  const { tensors, keys } = await reader.begin();
  let alignment = 32;
  for (let i = 0; i < keys; i++) {
    const key = await reader.text();
    const kind = await reader.u32();
    if (key === "general.alignment" && kind === U32) alignment = await reader.u32();
    else await reader.skipValue(kind);
  }
  const listed = [];
  for (let i = 0; i < tensors; i++) {
    const name = await reader.text();
    const dimensions = await reader.u32();
    if (dimensions < 1 || dimensions > 4) throw new FileError("strange");
    const shape = [];
    for (let d = 0; d < dimensions; d++) shape.unshift(await reader.u64());
    listed.push({ name, shape, type: await reader.u32(), place: await reader.u64() });
  }
  const start = Math.ceil(reader.at / alignment) * alignment;
  return listed
    .filter(({ type, shape }) => types[type] && isShape(shape) && shape.at(-1) % types[type][1] === 0)
    .map(({ name, shape, type, place }) =>
      tensor(file, name, shape, types[type].slice(1), start + place, (data, count) => ggufFile(name, type, count, data)));
}

/** A GGUF file of version 3 with one tensor and no metadata. */
function ggufFile(name, type, count, data) {
  const title = new TextEncoder().encode(name);
  const head = joined(new Uint8Array(GGUF), numbers([4, 3], [8, 1], [8, 0], [8, title.length]), title, numbers([4, 1], [8, count], [4, type], [8, 0]));
  return joined(head, new Uint8Array((32 - (head.length % 32)) % 32), data);
}

/** What is sent of a model for its shape: of a config.json what may say it, of a GGUF file those parts of its header. */
export async function shapeOf(file) {
  const magic = new TextDecoder("latin1").decode(await file.slice(0, 4).arrayBuffer());
  const sent = magic === "GGUF" ? await ggufShape(file) : await configShape(file);
  if (sent.length > MOST_SENT) throw new FileError("large");
  return sent;
}

async function configShape(file) {
  if (file.size > MOST_CONFIG) throw new FileError("large");
  const whole = new Uint8Array(await file.arrayBuffer());
  return whole.length <= LONG_CONFIG ? whole : new TextEncoder().encode(leanConfig(new TextDecoder().decode(whole)));
}

/** The text of a long config.json without the accounts of its quantization, which are long and say nothing of the shape. */
export function leanConfig(text) {
  if (text.length <= LONG_CONFIG) return text;
  try {
    const config = JSON.parse(text.replace(PYTHON_NUMBERS, "null"));
    return JSON.stringify(config, (name, value) => (SAYS_NOTHING.test(name) ? undefined : value));
  } catch {
    return text; // the server says what is wrong with it
  }
}

async function ggufShape(file) {
  const reader = new Reader(file);
  const { version, tensors, keys } = await reader.begin();
  const pairs = await entries(reader, keys, async () => {
    const key = await reader.text();
    await reader.skipValue(await reader.u32());
    return !key.startsWith("tokenizer.");
  });
  const listed = await entries(reader, tensors, async () => {
    const name = await reader.text();
    reader.skip(8 * await reader.u32() + 12); // dimensions, type, place
    return TELLING.has(name);
  });
  return joined(new Uint8Array(GGUF), numbers([4, version], [8, listed.length], [8, pairs.length]), ...pairs, ...listed);
}

/** The bytes of those of `count` entries for which `read` gives true, the long ones left out. */
async function entries(reader, count, read) {
  const wanted = [];
  for (let i = 0; i < count; i++) {
    const start = reader.at;
    if (await read() && reader.at - start <= LONGEST_ENTRY) wanted.push(await bytesOf(reader.file, start, reader.at));
  }
  return wanted;
}

/** Whole numbers of 4 or 8 bytes, the lowest first. */
function numbers(...pairs) {
  return joined(...pairs.map(([size, value]) => {
    const view = new DataView(new ArrayBuffer(size));
    if (size === 8) view.setBigUint64(0, BigInt(value), true);
    else view.setUint32(0, value, true);
    return new Uint8Array(view.buffer);
  }));
}

function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
