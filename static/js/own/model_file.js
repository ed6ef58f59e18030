// A block cut out of a model file in the browser: only the header and the block are read, however large the file. What
// leaves is a file of the same kind, of kilobytes, with that block alone; the server reads it as strictly as any file.
const MOST = 256; // numbers of a block: what the largest figure shows
const LEAST = 16; // and the smallest
const CHUNK = 1 << 20;
const MOST_SENT = 1 << 16; // bytes that the server reads
const MOST_TELLING = 1 << 12; // bytes of an entry of a header that can say anything about the shape
const TELLING = new Set(["token_embd.weight", "output.weight", "blk.0.attn_q.bias", "rope_freqs.weight", "rope_factors_long.weight"]);
const LONG_CONFIG = 1 << 14; // bytes of a config.json that is sent as it is
const MOST_CONFIG = 1 << 26;
const SAYS_NOTHING = /^(quantization|compression|auto_map$|id2label$|label2id$|task_specific_params$)/;
const PYTHON_NUMBERS = /(?<=[:[,\s])(?:-?Infinity|NaN)(?=\s*[,\]}])/g;
const MOST_HEADER = 1 << 25;
const MOST_TENSORS = 1 << 17;
const SIZES = { F64: 8, F32: 4, F16: 2, BF16: 2, F8_E4M3: 1, F8_E5M2: 1, I64: 8, I32: 4, I16: 2, I8: 1, U64: 8, U32: 4, U16: 2, U8: 1 };
const NPY_TYPE = /'descr':\s*'([<>|=](?:f[1248]|[iu][1248]|V[12]))'/; // V and f1: bfloat16 and 8-bit floats, as ml_dtypes saves them
const SCALARS = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8]; // bytes of GGUF's kinds of metadata; texts and arrays apart

/** What keeps a file from being read: "truncated", "strange", "large" or "none". */
export class CutError extends Error {}

/** The tensors of a file that have numbers: [{ name, rows, columns, block, cut(row, column) → bytes }]. */
export async function tensorsOf(file, types) {
  const head = await bytesOf(file, 0, Math.min(file.size, 16));
  const text = String.fromCharCode(...head.subarray(0, 6));
  let found;
  if (text.startsWith("GGUF")) found = await gguf(file, types);
  else if (text === "\x93NUMPY") found = await npy(file, head);
  else found = await safetensors(file, head);
  const usable = found.filter(({ rows, columns }) => rows > 0 && columns >= LEAST);
  if (!usable.length) throw new CutError("none");
  return usable;
}

async function bytesOf(file, from, to) {
  if (to > file.size || from > to) throw new CutError("truncated");
  return new Uint8Array(await file.slice(from, to).arrayBuffer());
}

/** A tensor of `size` bytes for each `block` numbers, rows behind one another from `offset` on; in Fortran's order columns. */
function tensor(file, name, stored, [block, size], offset, wrap, fortran = false) {
  const shape = stored.length > 1 && stored.at(-1) === 1 ? stored.slice(0, -1) : stored; // a column is read like a row
  const columns = shape.at(-1) ?? 1;
  const rows = shape.slice(0, -1).reduce((product, each) => product * each, 1);
  return {
    name, rows, columns, block,
    async cut(row, column) {
      const first = Math.min(column, columns - 1) - (Math.min(column, columns - 1) % block);
      const count = Math.min(MOST, columns - first);
      if (fortran) {
        const place = placeInFortran(row, shape.slice(0, -1));
        const each = Array.from({ length: count }, (_, i) => offset + (place + (first + i) * rows) * size);
        return { first, bytes: wrap(joined(...await Promise.all(each.map((start) => bytesOf(file, start, start + size)))), count) };
      }
      const start = offset + ((row * columns + first) / block) * size;
      const data = await bytesOf(file, start, start + (Math.ceil(count / block)) * size);
      return { first, bytes: wrap(data, count) };
    },
  };
}

/** Where the first number of a row lies that is counted as in C, its last dimension the fastest. */
function placeInFortran(row, shape) {
  const strides = shape.map((_, i) => shape.slice(0, i).reduce((product, each) => product * each, 1));
  let left = row;
  return shape.reduceRight((place, size, i) => {
    const at = left % size;
    left = Math.floor(left / size);
    return place + at * strides[i];
  }, 0);
}

// --- safetensors ---

async function safetensors(file, head) {
  if (head.length < 8) throw new CutError("strange");
  const length = Number(new DataView(head.buffer).getBigUint64(0, true));
  if (length > MOST_HEADER || length < 2) throw new CutError("strange");
  const raw = await bytesOf(file, 8, 8 + length);
  let header;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(raw));
  } catch {
    throw new CutError("strange");
  }
  return Object.entries(header)
    .filter(([name, entry]) => name !== "__metadata__" && SIZES[entry?.dtype] && isShape(entry.shape) && isShape(entry.data_offsets))
    .slice(0, MOST_TENSORS)
    .map(([name, { dtype, shape, data_offsets: [start] }]) =>
      tensor(file, name, shape, [1, SIZES[dtype]], 8 + length + start, (data, count) => {
        const own = new TextEncoder().encode(JSON.stringify({ [name]: { dtype, shape: [count], data_offsets: [0, data.length] } }));
        const size = new Uint8Array(8);
        new DataView(size.buffer).setBigUint64(0, BigInt(own.length), true);
        return joined(size, own, data);
      }));
}

function isShape(shape) {
  return Array.isArray(shape) && shape.length <= 8 && shape.every((size) => Number.isSafeInteger(size) && size >= 0);
}

// --- .npy ---

async function npy(file, head) {
  const view = new DataView(head.buffer);
  const long = head[6] > 1;
  if (head.length < 12) throw new CutError("truncated");
  const start = long ? 12 : 10;
  const length = long ? view.getUint32(8, true) : view.getUint16(8, true);
  if (length > 1 << 16) throw new CutError("strange");
  const header = new TextDecoder("latin1").decode(await bytesOf(file, start, start + length));
  const descr = NPY_TYPE.exec(header)?.[1];
  const shape = /'shape':\s*\(([0-9, ]*)\)/.exec(header)?.[1].split(",").filter((size) => size.trim()).map(Number);
  if (!descr || !shape || !isShape(shape)) throw new CutError("none");
  const fortran = /'fortran_order':\s*True/.test(header);
  return [tensor(file, "", shape, [1, Number(descr[2])], start + length, (data, count) => {
    const own = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${count},), }`;
    const padded = `${own.padEnd(117)}\n`;
    return joined(new Uint8Array([0x93, 78, 85, 77, 80, 89, 1, 0, padded.length, 0]), new TextEncoder().encode(padded), data);
  }, fortran)];
}

// --- GGUF ---

/** A position in a file that moves forward, read in pieces. */
class Reader {
  constructor(file) {
    Object.assign(this, { file, at: 0, from: 0, buffer: new Uint8Array() });
  }

  async take(count) {
    if (this.at + count > this.from + this.buffer.length || this.at < this.from) {
      this.from = this.at;
      this.buffer = await bytesOf(this.file, this.at, Math.min(this.file.size, this.at + Math.max(count, CHUNK)));
      if (this.buffer.length < count) throw new CutError("truncated");
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
    if (value > most) throw new CutError("strange");
    return value;
  }

  async text() {
    const length = await this.u64(1 << 26);
    const view = await this.take(length);
    return new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset, length));
  }

  skip(count) {
    this.at += count;
    if (this.at > this.file.size) throw new CutError("truncated");
  }
}

async function gguf(file, types) {
  const reader = new Reader(file);
  reader.skip(4);
  const version = await reader.u32();
  if (version !== 2 && version !== 3) throw new CutError("strange");
  const count = await reader.u64(MOST_TENSORS);
  const keys = await reader.u64(1 << 16);
  let alignment = 32;
  for (let i = 0; i < keys; i++) {
    const key = await reader.text();
    const kind = await reader.u32();
    if (key === "general.alignment" && kind === 4) alignment = await reader.u32();
    else await skipValue(reader, kind);
  }
  const listed = [];
  for (let i = 0; i < count; i++) {
    const name = await reader.text();
    const dimensions = await reader.u32();
    if (dimensions < 1 || dimensions > 4) throw new CutError("strange");
    const shape = [];
    for (let d = 0; d < dimensions; d++) shape.unshift(await reader.u64());
    listed.push({ name, shape, type: await reader.u32(), place: await reader.u64() });
  }
  const start = Math.ceil(reader.at / alignment) * alignment;
  return listed
    .filter(({ type, shape }) => types[type] && isShape(shape) && shape.at(-1) % types[type][1] === 0)
    .map(({ name, shape, type, place }) =>
      tensor(file, name, shape, types[type].slice(1), start + place, (data, length) => oneTensor(name, type, length, data)));
}

async function skipValue(reader, kind) {
  if (kind === 8) return reader.skip(await reader.u64(1 << 26));
  if (kind !== 9) {
    if (!SCALARS[kind]) throw new CutError("strange");
    return reader.skip(SCALARS[kind]);
  }
  const item = await reader.u32();
  const count = await reader.u64(1 << 24);
  if (item === 8) {
    for (let i = 0; i < count; i++) reader.skip(await reader.u64(1 << 26));
  } else if (SCALARS[item]) reader.skip(count * SCALARS[item]);
  else throw new CutError("strange");
}

/** What is sent of a model for its shape: of a config.json what may say it, of a GGUF file those parts of its header. */
export async function shapeOf(file) {
  const magic = new TextDecoder("latin1").decode(await file.slice(0, 4).arrayBuffer());
  if (magic !== "GGUF") {
    if (file.size > MOST_CONFIG) throw new CutError("large");
    const whole = new Uint8Array(await file.arrayBuffer());
    if (whole.length <= LONG_CONFIG) return whole;
    const lean = new TextEncoder().encode(leanConfig(new TextDecoder().decode(whole)));
    if (lean.length > MOST_SENT) throw new CutError("large");
    return lean;
  }
  const reader = new Reader(file);
  reader.skip(4);
  const version = await reader.u32();
  if (version !== 2 && version !== 3) throw new CutError("strange");
  const tensors = await reader.u64(MOST_TENSORS);
  const keys = await reader.u64(1 << 16);
  const pairs = await parts(reader, keys, MOST_TELLING, async () => {
    const key = await reader.text();
    await skipValue(reader, await reader.u32());
    return !key.startsWith("tokenizer.");
  });
  const listed = await parts(reader, tensors, MOST_TELLING, async () => {
    const name = await reader.text();
    reader.skip(8 * await reader.u32() + 12); // dimensions, type, place
    return TELLING.has(name);
  });
  const head = new DataView(new ArrayBuffer(24));
  new Uint8Array(head.buffer).set([71, 71, 85, 70]);
  head.setUint32(4, version, true);
  head.setBigUint64(8, BigInt(listed.length), true);
  head.setBigUint64(16, BigInt(pairs.length), true);
  const whole = joined(new Uint8Array(head.buffer), ...pairs, ...listed);
  if (whole.length > MOST_SENT) throw new CutError("large");
  return whole;
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

/** The bytes of those of `count` entries that are wanted and not longer than `most`. */
async function parts(reader, count, most, read) {
  const kept = [];
  for (let i = 0; i < count; i++) {
    const start = reader.at;
    if (await read() && reader.at - start <= most) kept.push(new Uint8Array(await reader.file.slice(start, reader.at).arrayBuffer()));
  }
  return kept;
}

function oneTensor(name, type, length, data) {
  const title = new TextEncoder().encode(name);
  const head = new DataView(new ArrayBuffer(24 + 8));
  new Uint8Array(head.buffer).set([71, 71, 85, 70]);
  head.setUint32(4, 3, true);
  head.setBigUint64(8, 1n, true); // tensors; no metadata
  head.setBigUint64(24, BigInt(title.length), true);
  const tail = new DataView(new ArrayBuffer(24));
  tail.setUint32(0, 1, true);
  tail.setBigUint64(4, BigInt(length), true);
  tail.setUint32(12, type, true);
  const used = 32 + title.length + 24;
  return joined(new Uint8Array(head.buffer), title, new Uint8Array(tail.buffer), new Uint8Array((32 - (used % 32)) % 32), data);
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
