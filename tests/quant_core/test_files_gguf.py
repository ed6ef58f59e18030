"""GGUF headers: files of the reference package are read, errors are named with their place."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from quant_core.files import FormatError, Meta, TensorSpec, create_gguf, read_gguf
from quant_core.files.bounded import Cursor
from quant_core.files.gguf import KINDS, MOST_ALIGNMENT
from quant_core.files.gguf_writer import (
    boolean,
    float32,
    int32_array,
    string,
    string_array,
    uint32,
)
from quant_core.files.storage import FILE_TYPES, SIZES, TYPE_NAMES
from quant_core.ggml.mixes import MIXES
from tests.each import each
from tests.quant_core.model_files import ARCHITECTURE, TWO_TENSORS, gguf_bytes, listed, pair
from tests.quant_core.model_files import text as packed_text

WEIGHTS = np.random.default_rng(1).standard_normal((6, 256)).astype(np.float32)


def read(tmp_path: Path, content: bytes) -> Any:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    return read_gguf(path)


def refusal(tmp_path: Path, content: bytes) -> str:
    with pytest.raises(FormatError) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_types_and_their_sizes_are_those_of_the_reference_package() -> None:
    known = {int(reference) for reference in gguf.GGMLQuantizationType}
    assert set(TYPE_NAMES) - known <= {42}  # Q2_0 came after gguf 0.19
    for number, name in TYPE_NAMES.items():
        if number not in known:
            continue
        reference = gguf.GGMLQuantizationType(number)
        assert reference.name == name
        assert gguf.GGML_QUANT_SIZES[reference] == SIZES[name]


def test_file_types_are_those_of_the_reference_package() -> None:
    names = {"F32": "ALL_F32", "Q6_K_L": "MOSTLY_Q6_K"}
    for name, number in FILE_TYPES.items():
        if name == "Q2_0":  # newer than the package
            continue
        assert gguf.LlamaFileType(number).name == names.get(name, f"MOSTLY_{name}")
    assert set(FILE_TYPES) == set(MIXES)


def test_files_of_the_reference_package_are_read(tmp_path: Path) -> None:
    path = tmp_path / "reference.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint8("k.u8", 255)
    writer.add_int8("k.i8", -128)
    writer.add_uint16("k.u16", 65535)
    writer.add_int16("k.i16", -2)
    writer.add_uint32("k.u32", 7)
    writer.add_int32("k.i32", -7)
    writer.add_float32("k.f32", 0.1)
    writer.add_uint64("k.u64", 2**64 - 1)
    writer.add_int64("k.i64", -(2**63))
    writer.add_float64("k.f64", 0.1)
    writer.add_bool("k.bool", True)
    writer.add_array("k.texts", ["ä", "", "Ġthe"])
    writer.add_array("k.numbers", [1, 2, 3])
    writer.add_array("k.truths", [True, False])
    writer.add_custom_alignment(64)
    writer.add_tensor("plain", WEIGHTS)
    packed = gguf.quants.quantize(WEIGHTS, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("packed", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    file = read_gguf(path)
    values = {key: meta.value for key, meta in file.metadata.items()}
    assert values["k.u8"] == 255
    assert values["k.i8"] == -128
    assert values["k.u16"] == 65535
    assert values["k.i16"] == -2
    assert values["k.u64"] == 2**64 - 1
    assert values["k.i64"] == -(2**63)
    assert values["k.f32"] == np.float32(0.1)
    assert values["k.f64"] == 0.1
    assert values["k.bool"] is True
    assert values["k.texts"] == ("ä", "", "Ġthe")
    assert values["k.numbers"].tolist() == [1, 2, 3]
    assert values["k.truths"].tolist() == [True, False]
    assert file.alignment == 64
    assert file.value("no.such.key", "default") == "default"
    assert {key: meta.kind for key, meta in file.metadata.items() if key[2:] in KINDS} == {
        f"k.{kind}": kind for kind in KINDS if kind != "str"
    }
    assert file.tensors["plain"].shape == (6, 256)
    np.testing.assert_array_equal(file.tensors["plain"].floats(), WEIGHTS)
    np.testing.assert_array_equal(file.tensors["packed"].raw(), packed)
    np.testing.assert_array_equal(file.tensors["packed"].raw(2, 4), packed[2:4])


def test_reference_package_reads_our_files(tmp_path: Path) -> None:
    path = tmp_path / "ours.gguf"
    metadata = {
        "general.architecture": string("llama"),
        "general.alignment": uint32(64),  # not kept: tensors are aligned to 32
        "k.texts": string_array(["a", "ü"]),
        "k.wholes": int32_array([1, -2]),
        "k.real": float32(0.5),
        "k.truth": boolean(False),
        "k.truths": Meta("bool", np.array([True, False]), array=True),
    }
    specs = [TensorSpec("v", (5,), "F32"), TensorSpec("m", (2, 3, 256), "F16")]
    with create_gguf(path, metadata, specs) as writer:
        writer.write(WEIGHTS[0, :5].view(np.uint8))
        writer.write(WEIGHTS[:2].astype(np.float16).view(np.uint8))
        writer.write(WEIGHTS[2:].astype(np.float16).view(np.uint8))
    reader = gguf.GGUFReader(path)
    assert reader.fields["k.texts"].contents() == ["a", "ü"]
    assert reader.fields["k.wholes"].contents() == [1, -2]
    assert reader.fields["k.real"].contents() == 0.5
    assert reader.fields["k.truth"].contents() is False
    assert reader.fields["k.truths"].contents() == [True, False]
    assert "general.alignment" not in reader.fields
    vector, matrix = reader.tensors
    assert (vector.name, matrix.name) == ("v", "m")
    assert matrix.shape.tolist() == [256, 3, 2]
    np.testing.assert_array_equal(vector.data, WEIGHTS[0, :5])
    np.testing.assert_array_equal(matrix.data.reshape(6, 256), WEIGHTS.astype(np.float16))
    file = read_gguf(path)
    assert file.tensors["m"].rows == 6
    assert file.tensors["m"].shape == (2, 3, 256)


def test_non_utf8_strings_are_preserved(tmp_path: Path) -> None:
    broken = pair(b"k", 8, packed_text(b"\xff\x00"))
    meta = read(tmp_path, gguf_bytes(metadata=(broken,))).metadata["k"]
    with create_gguf(tmp_path / "copy.gguf", {"k": meta}, []):
        pass
    assert packed_text(b"\xff\x00") in (tmp_path / "copy.gguf").read_bytes()


def test_version_2_is_read(tmp_path: Path) -> None:
    file = read(tmp_path, gguf_bytes(version=struct.pack("<I", 2)))
    assert file.version == 2
    assert file.tensors["b"].shape == (32,)
    assert repr(file).startswith("GgufFile(path=")


ALIGNMENT = b"general.alignment"
#: What is wrong -> the file, the field and the byte that the message must name, and the problem.
WRONG: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "magic at byte 0: 4 bytes are needed and 0 are left: the file is cut off"),
    "magic": (gguf_bytes(magic=b"GGML"), "magic at byte 0: b'GGML' where a GGUF file has b'GGUF'"),
    "version 1": (gguf_bytes(version=struct.pack("<I", 1)), "version at byte 4: 1; versions 2 and 3 are"),
    "version 4": (gguf_bytes(version=struct.pack("<I", 4)), "version at byte 4: 4; versions 2 and 3 are"),
    "big-endian": (gguf_bytes(version=struct.pack(">I", 3)), "version at byte 4: the file is big-endian"),
    "cut in counts": (gguf_bytes()[:12], "tensor count at byte 8: 8 bytes are needed and 4 are left"),
    "many tensors": (
        gguf_bytes(tensor_count=2**63),
        f"tensor count at byte 8: {2**63} is more than the 131072 that are accepted",
    ),
    "tensors without room": (
        gguf_bytes(tensor_count=1000),
        "tensor count at byte 8: 1000 need 24000 bytes and 528 are left",
    ),
    "many keys": (
        gguf_bytes(key_count=65537),
        "metadata count at byte 16: 65537 is more than the 65536 that are accepted",
    ),
    "key length": (
        gguf_bytes(metadata=(struct.pack("<Q", 2**62) + b"k",)),
        f"metadata 0 key length at byte 24: {2**62} is more than the 65535 that are accepted",
    ),
    "key past the end": (
        gguf_bytes(metadata=(struct.pack("<Q", 60000) + b"k",)),
        "metadata 0 key length at byte 24: 60000 need 60000 bytes",
    ),
    "key not UTF-8": (
        gguf_bytes(metadata=(pair(b"\xff", 0, b"\0"),)),
        "metadata 0 key at byte 32: not UTF-8",
    ),
    "empty key": (gguf_bytes(metadata=(pair(b"", 0, b"\0"),)), "metadata 0 key at byte 32: an empty name"),
    "key twice": (
        gguf_bytes(metadata=(ARCHITECTURE, ARCHITECTURE)),
        "metadata 1 key at byte 69: general.architecture occurs twice",
    ),
    "value type": (
        gguf_bytes(metadata=(pair(b"k", 13, b""),)),
        "metadata 0 (k) type at byte 33: 13 is not a type of GGUF",
    ),
    "truth value": (
        gguf_bytes(metadata=(pair(b"k", 7, b"\2"),)),
        "metadata 0 (k) at byte 37: 2 where a truth value is 0 or 1",
    ),
    "truth values": (
        gguf_bytes(metadata=(pair(b"k", 9, struct.pack("<IQ", 7, 3) + b"\0\1\3"),)),
        "metadata 0 (k) at byte 51: a truth value is neither 0 nor 1",
    ),
    "text length": (
        gguf_bytes(metadata=(pair(b"k", 8, struct.pack("<Q", 2**40)),)),
        f"metadata 0 (k) length at byte 37: {2**40} is more than the 67108864 that are accepted",
    ),
    "array of arrays": (
        gguf_bytes(metadata=(pair(b"k", 9, struct.pack("<IQ", 9, 1)),)),
        "metadata 0 (k) item type at byte 37: arrays of arrays are not read",
    ),
    "array length": (
        gguf_bytes(metadata=(pair(b"k", 9, struct.pack("<IQ", 10, 2**24)),)),
        "metadata 0 (k) length at byte 41: 16777216 need 134217728 bytes",
    ),
    "array of texts": (
        gguf_bytes(metadata=(pair(b"k", 9, struct.pack("<IQQ", 8, 2, 2**63)),)),
        "metadata 0 (k) item 0 length at byte 49: 9223372036854775808 is more than",
    ),
    "alignment type": (
        gguf_bytes(metadata=(pair(ALIGNMENT, 8, packed_text(b"32")),)),
        "general.alignment at byte 24: of type str; it must be one u32",
    ),
    "alignment 0": (
        gguf_bytes(metadata=(pair(ALIGNMENT, 4, struct.pack("<I", 0)),)),
        "general.alignment at byte 24: 0; it must be a power of two",
    ),
    "alignment 24": (
        gguf_bytes(metadata=(pair(ALIGNMENT, 4, struct.pack("<I", 24)),)),
        "general.alignment at byte 24: 24; it must be a power of two",
    ),
    "alignment 2 MiB": (
        gguf_bytes(metadata=(pair(ALIGNMENT, 4, struct.pack("<I", 2 * MOST_ALIGNMENT)),)),
        f"general.alignment at byte 24: 2097152; it must be a power of two of at most {MOST_ALIGNMENT}",
    ),
    "long name": (
        gguf_bytes(tensors=(listed(b"n" * 64, (32,), 0, 0),)),
        "tensor 0 name length at byte 69: 64 is more than the 63 that are accepted",
    ),
    "zero in a name": (
        gguf_bytes(tensors=(listed(b"a\0b", (32,), 0, 0),)),
        "tensor 0 name at byte 77: an empty name, or one with a zero byte",
    ),
    "name twice": (
        gguf_bytes(tensors=(TWO_TENSORS[0], TWO_TENSORS[0])),
        "tensor 1 name at byte 110: a occurs twice",
    ),
    "no dimensions": (
        gguf_bytes(tensors=(listed(b"a", (), 0, 0),)),
        "tensor 0 (a) dimension count at byte 78: 0; a tensor has 1 to 4",
    ),
    "five dimensions": (
        gguf_bytes(tensors=(listed(b"a", (1,) * 5, 0, 0),)),
        "tensor 0 (a) dimension count at byte 78: 5; a tensor has 1 to 4",
    ),
    "dimension 0": (
        gguf_bytes(tensors=(listed(b"a", (32, 0), 0, 0),)),
        "tensor 0 (a) dimension 1 at byte 90: 0; it must be 1 or more",
    ),
    "behind the file, of a type that is not known": (
        gguf_bytes(tensors=(listed(b"a", (32,), 57, 1 << 20),)),
        "tensor a offset at byte 94: 1 bytes from byte 1048704 on end behind the file, which has 512",
    ),
    "two of a type that is not known at one place": (
        gguf_bytes(tensors=(listed(b"a", (32,), 57, 0), listed(b"b", (32,), 57, 0))),
        "tensor b offset at byte 127: 0 lies in tensor a, which ends at 1",
    ),
    "part of a block": (
        gguf_bytes(tensors=(listed(b"a", (48,), 8, 0),)),
        "tensor 0 (a) dimension 0 at byte 69: 48 is not a multiple of 32, the block of Q8_0",
    ),
    "crooked place": (
        gguf_bytes(tensors=(listed(b"a", (32,), 0, 16),)),
        "tensor 0 (a) offset at byte 94: 16 is not a multiple of 32, the alignment",
    ),
    "behind the file": (
        gguf_bytes(tensors=(listed(b"a", (32, 4), 0, 0),)),
        "tensor a offset at byte 102: 512 bytes from byte 128 on end behind the file, which has 512",
    ),
    "huge": (
        gguf_bytes(tensors=(listed(b"a", (2**62, 2**62, 2**62, 2**62), 0, 0),)),
        "tensor a offset at byte 118: ",
    ),
    "overlap": (
        gguf_bytes(tensors=(TWO_TENSORS[0], listed(b"b", (32,), 0, 224))),
        "tensor b offset at byte 135: 224 lies in tensor a, which ends at 256",
    ),
    "cut data": (gguf_bytes()[:-1], "tensor b offset at byte 135: 128 bytes from byte 416 on end behind"),
}  # fmt: skip


@each("case", WRONG)
def test_each_wrong_field_is_named_with_its_place(tmp_path: Path, case: str) -> None:
    content, message = WRONG[case]
    assert message in refusal(tmp_path, content)


def test_types_of_later_versions_are_listed_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "later.gguf"
    path.write_bytes(gguf_bytes(tensors=(listed(b"a", (7, 3), 57, 0), listed(b"b", (32,), 0, 256))))
    tensors = read_gguf(path).tensors
    assert (tensors["a"].type_name, tensors["a"].shape, tensors["a"].elements) == ("type 57", (3, 7), 21)
    assert tensors["b"].floats().shape == (1, 32)
    for read in (tensors["a"].raw, tensors["a"].floats):
        with pytest.raises(FormatError, match=r"later.gguf: tensor a is type 57, whose size is not known"):
            read()


@pytest.mark.parametrize(("number", "name", "block", "size"), [(41, "Q1_0", 128, 18), (42, "Q2_0", 64, 18)])
def test_the_newest_types_are_read(tmp_path: Path, number: int, name: str, block: int, size: int) -> None:
    path = tmp_path / "new.gguf"
    path.write_bytes(gguf_bytes(tensors=(listed(b"a", (2 * block, 3), number, 0),)))
    tensor = read_gguf(path).tensors["a"]
    assert (tensor.type_name, tensor.bytes) == (name, 6 * size)
    assert tensor.bits_per_weight == {"Q1_0": 1.125, "Q2_0": 2.25}[name]
    assert tensor.floats().shape == (3, 2 * block)


def test_header_alone_is_read_on_request(tmp_path: Path) -> None:
    path = tmp_path / "header.gguf"
    header = gguf_bytes(data=b"")
    for length in (len(header), len(header) - 5):  # with the padding, and without some of it
        path.write_bytes(header[:length])
        assert list(read_gguf(path, header_alone=True).tensors) == ["a", "b"]
        with pytest.raises(FormatError, match="end behind the file"):
            read_gguf(path)
    path.write_bytes(header + b"\0")
    with pytest.raises(FormatError, match="end behind the file"):
        read_gguf(path, header_alone=True)


def test_names_are_escaped_for_the_terminal(tmp_path: Path) -> None:
    message = refusal(tmp_path, gguf_bytes(tensors=(listed(b"\x1b[2J\n" + b"n" * 50, (), 0, 0),)))
    assert "\x1b" not in message
    assert "\\x1b[2J\\n" in message


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not a regular file"):
        read_gguf(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_gguf(tmp_path / "none.gguf")


def test_a_file_that_shrinks_after_its_header_was_read_is_noticed(tmp_path: Path) -> None:
    file = read(tmp_path, gguf_bytes())
    file.path.write_bytes(gguf_bytes()[:-64])
    with pytest.raises(FormatError, match="tensor b at byte 416: the file became shorter"):
        file.tensors["b"].raw()


def test_a_file_that_shrinks_while_its_header_is_read_is_noticed() -> None:
    cursor = Cursor(io.BytesIO(b"GG"), Path("x.gguf"), 4)
    with pytest.raises(
        FormatError, match=r"x.gguf: magic at byte 0: the file became shorter while it was read"
    ):
        cursor.take(4, "magic")


def test_a_type_without_decoder_is_refused_when_its_numbers_are_asked_for(tmp_path: Path) -> None:
    file = read(tmp_path, gguf_bytes(tensors=(listed(b"a", (32,), 26, 0),)))
    assert file.tensors["a"].raw().shape == (1, 128)
    assert file.tensors["a"].bits_per_weight == 32
    with pytest.raises(FormatError, match=r"tensor a: type 'I32' is not known"):
        file.tensors["a"].floats()


def write(path: Path, specs: list[TensorSpec], data: list[int], **metadata: Meta) -> None:
    with create_gguf(path, metadata, specs) as writer:
        for size in data:
            writer.write(np.zeros(size, np.uint8))


FOUR = TensorSpec("t", (4,), "F32")


@pytest.mark.parametrize(
    ("specs", "data", "message"),
    [
        ([FOUR], [8], "tensor t has 16 bytes; only 8 were given"),
        ([FOUR], [], "tensor t has 16 bytes; only 0 were given"),
        ([FOUR], [17], "tensor t has 16 bytes; 17 were given"),
        ([FOUR], [16, 1], "all tensors are written already"),
        ([FOUR, FOUR], [], "'t' is given twice"),
        ([TensorSpec("", (4,), "F32")], [], "has not 1 to 63 bytes"),
        ([TensorSpec("t", (4, 0), "F32")], [], "none 0"),
        ([TensorSpec("t", (1,) * 5, "F32")], [], "1 to 4 dimensions"),
        ([TensorSpec("t", (4,), "BOOL")], [], "of type BOOL, which GGUF has not"),
        ([TensorSpec("t", (4,), "Q8_0")], [], "a row of 4 is not a multiple of 32"),
    ],
)
def test_writer_refuses_invalid_files(
    tmp_path: Path, specs: list[TensorSpec], data: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "t.gguf", specs, data)
    assert list(tmp_path.iterdir()) == []


def test_writer_names_numbers_out_of_range(tmp_path: Path) -> None:
    for value in (-1, 2**32):
        with pytest.raises(ValueError, match=f"metadata k is {value}"):
            write(tmp_path / "t.gguf", [], [], k=uint32(value))
