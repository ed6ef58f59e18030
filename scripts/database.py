"""Find PostgreSQL for the tests and the benchmark, and run a small server of their own.

`--install` installs Debian's package where it is missing, as root on Debian. No server that the system starts
is used: `running` makes a cluster in a temporary folder, which only a socket in that folder reaches.

    python scripts/database.py             prints the folder of PostgreSQL's programs
    python scripts/database.py --install   installs what is missing
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OLDEST = 13
"""The oldest major version that is used."""
HELP = "No PostgreSQL was found: install postgresql (Debian: apt-get install postgresql)."
WITHOUT_CLUSTER = Path("/etc/postgresql-common/createcluster.d/tests.conf")
START_LIMIT = 60.0  # seconds
STOP_LIMIT = 30.0


def main() -> None:
    if "--install" not in sys.argv[1:]:
        print(find() or sys.exit(HELP))
    elif find() is None:
        install()
        if find() is None:
            print("· PostgreSQL could not be installed: the tests skip what needs it", flush=True)


def find() -> Path | None:
    """The folder of the newest PostgreSQL with the programs of a server, or None."""
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    folders = sorted((path for path in versions if path.parent.name.isdigit()), key=_version, reverse=True)
    if program := shutil.which("postgres"):
        folders.append(Path(program).resolve().parent)
    for folder in folders:
        if (not folder.parent.name.isdigit() or _version(folder) >= OLDEST) and _runs(folder / "postgres"):
            return folder
    return None


def _version(folder: Path) -> int:
    return int(folder.parent.name)


def _runs(program: Path) -> bool:
    try:
        return subprocess.run([program, "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def install() -> None:
    """Install Debian's package, without the cluster and the service that it would set up."""
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists() or not shutil.which("apt-get"):
        return
    print("· Installing Debian's postgresql for the tests", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with contextlib.suppress(OSError):
        WITHOUT_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
        WITHOUT_CLUSTER.write_text("create_main_cluster = false\n")
    try:
        for command in (
            ["dpkg", "--configure", "-a"],
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-qq", "-y", "--no-install-recommends", "--no-remove", "postgresql"],
        ):
            subprocess.run(command, env=environment, check=False)
    finally:
        WITHOUT_CLUSTER.unlink(missing_ok=True)


@dataclass
class Cluster:
    """A server of PostgreSQL with data and socket in one folder: whoever may enter it may do everything."""

    programs: Path
    folder: Path
    syncs: bool = True
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def url(self, name: str = "postgres") -> str:
        """The address of a database as SQLAlchemy takes it."""
        return f"postgresql+psycopg://lesson@/{name}?host={self.folder}"

    def create(self, name: str, template: str = "template0") -> str:
        """Create a database, as a copy of another one, and return its address."""
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop(self, name: str) -> None:
        """Drop a database, and whoever is connected to it."""
        self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        options = ["-c", "listen_addresses=", "-c", "max_connections=100", "-c", "shared_buffers=64MB"]
        if not self.syncs:
            options += ["-c", "fsync=off", "-c", "full_page_writes=off"]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", "-k", self.folder, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent,
                **_as_user(),
            )
        end = time.monotonic() + START_LIMIT
        while True:
            try:
                self._execute("SELECT 1")
            except Exception:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError((self.folder / "log").read_text("utf-8", "replace")[-4000:]) from None
                time.sleep(0.05)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT breaks connections off in order, SIGQUIT is like a crash."""
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(
            host=str(self.folder), user="lesson", dbname="postgres", autocommit=True, connect_timeout=10
        ) as connection:
            connection.execute(statement.encode())


@contextlib.contextmanager
def running(*, syncs: bool = True) -> Iterator[Cluster]:
    """A new cluster that runs until the end, also if this process is killed.

    `syncs`: what is committed is on the disk, as on a host. Without it only a loss of power loses something.

    Raises
    ------
    FileNotFoundError
        When there is no PostgreSQL.
    """
    programs = find()
    if programs is None:
        raise FileNotFoundError(HELP)
    # Not below pytest's folder, which another user may not enter; the path of a socket has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="lesson-postgresql-"))
    cluster = Cluster(programs, folder, syncs)
    user = _as_user()
    if user:
        os.chown(folder, user["user"], user["group"])
    try:
        options = ["-U", "lesson", "-A", "trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        made = subprocess.run(
            [programs / "initdb", "-D", folder / "data", *options],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            **user,
        )
        if made.returncode != 0:
            raise RuntimeError(f"initdb failed: {made.stderr}")
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _as_user() -> dict[str, Any]:
    """Arguments of `subprocess` that make root another user: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise RuntimeError("PostgreSQL does not run as root, and there is neither a user postgres nor nobody.")


def _end_with_parent() -> None:
    """Let the kernel stop the server when its parent dies (Linux only)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    main()
