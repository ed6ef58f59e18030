"""Find nginx and Caddy for the tests of `deploy/`.

`--install` extracts a missing one from its Debian package to `build/proxies` if apt-get can download it.
Nothing is installed and no service started; root is needed only if apt has no package lists yet.

    python scripts/proxies.py --install
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "build" / "proxies"
NAMES = {"nginx": "usr/sbin/nginx", "caddy": "usr/bin/caddy"}
"""Name of the program and of the package, and where the package has it."""


def main() -> None:
    missing = [name for name in NAMES if find(name) is None]
    if not missing or not shutil.which("apt-get"):
        return
    print(f"· Taking {' and '.join(missing)} from Debian's packages for the tests", flush=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in missing:
        if not bring(name) and os.geteuid() == 0:
            quietly("apt-get", "update", "-qq")
            bring(name)
        if find(name) is None:
            print(f"· {name} could not be taken: the tests skip what needs it", flush=True)


def find(name: str) -> str | None:
    """The path of a program that runs, or None."""
    for path in (shutil.which(name), f"/{NAMES[name]}", str(FOLDER / name)):
        if path and os.access(path, os.X_OK) and quietly(path, "-v" if name == "nginx" else "version"):
            return path
    return None


def bring(name: str) -> bool:
    """Extract a program from its Debian package; return whether that was possible."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as made:
        folder = Path(made)
        if not quietly("apt-get", "download", "-qq", name, folder=folder):
            return False
        (package,) = folder.glob("*.deb")
        if not quietly("dpkg-deb", "-x", package, folder / "files"):
            return False
        os.replace(folder / "files" / NAMES[name], FOLDER / name)
        return True


def quietly(*command: str | Path, folder: Path | None = None) -> bool:
    """Run a command; return whether it succeeded."""
    silent = subprocess.DEVNULL
    try:
        done = subprocess.run(command, cwd=folder, stdin=silent, stdout=silent, stderr=silent, check=False)
    except OSError:
        return False
    return done.returncode == 0


if __name__ == "__main__":
    main()
