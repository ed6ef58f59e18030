"""Set-up can be interrupted anywhere, run concurrently, or find a partial tree: the next run completes it."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 120  # seconds
GOALS = ("run", "test", "tools")


class Killed(BaseException):
    """Simulates SIGKILL: nothing is executed after it."""


class Machine:
    """Counts disk and subprocess operations of set-up, and kills it before one of them."""

    def __init__(self) -> None:
        self.killed_before = -1
        self.done = 0

    def count(self) -> None:
        if self.done == self.killed_before:
            raise Killed
        self.done += 1

    def counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any, **options: Any) -> Any:
            self.count()
            return function(*arguments, **options)

        return counting


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: Machine) -> ModuleType:
    """`scripts/bootstrap.py` in a temporary project, in which programs only leave traces."""
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-node.txt"):
        (tmp_path / name).write_text(name)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        (tmp_path / name).write_text("{}")
    spec = importlib.util.spec_from_file_location("bootstrap_of_a_test", ROOT / "scripts" / "bootstrap.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, path in (("VENV", ".venv"), ("NODE_MODULES", "node_modules"), ("LOCK", ".setup.lock")):
        monkeypatch.setattr(module, name, tmp_path / path)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "npm", lambda: ["npm"])
    monkeypatch.setattr(module, "say", lambda _: None)

    def call(command: Sequence[object], output: object = None, folder: Path = tmp_path) -> None:
        words = [str(part) for part in command]
        if "venv" in words:
            leave(Path(words[-1]) / "bin" / "python", Path(words[-1]) / "bin" / "pip")
        elif "pip" in words:
            assert Path(words[0]).with_name("pip").exists(), "an environment without pip"
            site = Path(words[0]).parents[1] / "lib"
            leave(site / f"{Path(words[-1]).stem}.py", site / f"{Path(words[-1]).stem}.RECORD")
        elif "ci" in words:
            leave(folder / "node_modules" / "htmx.js", folder / "node_modules" / "plotly.js")
        elif words[-1].endswith("assets.py"):
            assert whole(tmp_path / "node_modules", "htmx.js", "plotly.js")
            leave(tmp_path / "static" / "assets")
        elif words[-1] != "--install":
            raise AssertionError(words)

    def leave(*files: Path) -> None:
        for file in files:
            machine.count()
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(str(file))

    monkeypatch.setattr(module, "call", call)
    for owner, name in (
        (Path, "rename"),
        (Path, "touch"),
        (module.shutil, "rmtree"),
        (module.shutil, "copy"),
    ):
        monkeypatch.setattr(owner, name, machine.counted(getattr(owner, name)))
    monkeypatch.setattr(module, "write_stamp", machine.counted(module.write_stamp))
    return module


def whole(folder: Path, *names: str) -> bool:
    return all((folder / name).is_file() for name in names)


def check(folder: Path, goal: str) -> None:
    locks = ["requirements-dev"] + ["requirements"] * (goal == "run")
    site = folder / ".venv" / "lib"
    assert whole(folder / ".venv", "bin/python", "bin/pip")
    assert any(whole(site, f"{lock}.py", f"{lock}.RECORD") for lock in locks)
    assert (folder / ".venv" / "bin" / "pip").read_text() == str(folder / ".venv" / "bin" / "pip")
    if goal != "tools":
        assert whole(folder / "node_modules", "htmx.js", "plotly.js")
        assert whole(folder / "static", "assets")
    assert not [path.name for path in folder.iterdir() if path.name.endswith((".new", ".old", ".npm"))]


@pytest.mark.parametrize("goals", [("run",), ("test",), ("run", "test"), ("tools", "run")])
def test_setup_can_be_killed_before_any_step(
    setup: ModuleType, machine: Machine, tmp_path: Path, goals: tuple[str, ...]
) -> None:
    """The other goals were completed before the last one."""
    *before, last = goals
    for goal in before:
        setup.main(goal)
    kept = tmp_path.with_name(f"{tmp_path.name}-kept")
    shutil.copytree(tmp_path, kept)
    steps = 0
    while True:
        machine.killed_before, machine.done = steps, 0
        try:
            setup.main(last)
        except Killed:
            machine.killed_before = -1
            setup.main(last)
            check(tmp_path, last)
        else:
            break
        for path in tmp_path.iterdir():
            remove(path)
        shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
        steps += 1
    check(tmp_path, last)
    assert steps > 10


def remove(path: Path) -> None:
    if path.is_dir():
        for child in path.iterdir():
            remove(child)
        path.rmdir()
    else:
        path.unlink()


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize(
    "made",
    [
        [".venv/bin/python"],
        [".venv/bin/python", ".venv/lib/requirements.py"],
        [".venv.new/bin/python", ".venv.new/bin/pip"],
        [".venv.old/bin/python", ".venv.new/bin/python"],
        ["node_modules/htmx.js", "node_modules.npm/node_modules/htmx.js", "node_modules.new/htmx.js"],
    ],
)
def test_partial_setup_is_completed(setup: ModuleType, tmp_path: Path, made: list[str], goal: str) -> None:
    for name in made:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    setup.main(goal)
    if goal == "tools":  # this goal does not include the browser's assets
        setup.main("test")
    check(tmp_path, goal)


def test_a_second_run_does_nothing(setup: ModuleType, machine: Machine, tmp_path: Path) -> None:
    setup.main("test")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if "static" not in path.parts}
    setup.main("test")
    setup.main("run")
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if "static" not in path.parts}
    assert {p: t for p, t in after.items() if p.name != ".setup.lock" and p != tmp_path} == {
        p: t for p, t in before.items() if p.name != ".setup.lock" and p != tmp_path
    }


def test_complete_read_only_setup_can_run(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup.main("run")
    (tmp_path / ".setup.lock").unlink()

    def touch(path: Path) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "touch", touch)
    setup.main("run")
    check(tmp_path, "run")


def test_linked_environment_can_be_renewed_repeatedly(setup: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".venv").symlink_to("elsewhere")
    for content in ("old", "newer", "newest"):
        (tmp_path / "requirements.txt").write_text(content)
        setup.main("run")
        check(tmp_path, "run")
    assert (tmp_path / "elsewhere").is_dir()


def test_interrupted_copy_is_not_taken_as_complete(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup.main("run")

    def add(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(setup, "add", add)
        with pytest.raises(Killed):
            setup.install("requirements-node.txt")
    shutil.rmtree(tmp_path / ".venv.new" / "lib")  # as if the copy was incomplete
    shutil.rmtree(tmp_path / ".venv")
    setup.main("run")
    check(tmp_path, "run")


def test_added_packages_stay_when_the_lock_file_changes(setup: ModuleType, tmp_path: Path) -> None:
    setup.main("run")
    setup.install("requirements-node.txt")
    (tmp_path / "requirements.txt").write_text("newer")
    setup.main("run")
    assert setup.has("requirements.txt")
    assert setup.has("requirements-node.txt")
    assert whole(tmp_path / ".venv" / "lib", "requirements.py", "requirements-node.py")


# --- with Python's own venv and pip, and real signals -------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of one line, as from a package index."""
    folder = tmp_path_factory.mktemp("wheels")
    path = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        files = {
            "tiny.py": "number = 1\n",
            "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
            "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = ""
        for name, text in files.items():
            archive.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(text)}\n"
        archive.writestr("tiny-1.0.dist-info/RECORD", f"{record}tiny-1.0.dist-info/RECORD,,\n")
    return path


@pytest.fixture
def project(tmp_path: Path, wheel: Path) -> Path:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    shutil.copy(ROOT / "scripts" / "bootstrap.py", scripts)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (tmp_path / "requirements.txt").write_text(f"tiny==1.0 --hash=sha256:{digest}\n")
    return tmp_path


WAITING_PIP = f"""
import os, sys, time
if "--require-hashes" in sys.orig_argv:
    try:
        open("pip-is-here", "w").close()
        end = time.monotonic() + {LIMIT}
        while not os.path.exists("pip-may-go-on") and time.monotonic() < end:
            time.sleep(0.02)
    except KeyboardInterrupt:
        os._exit(130)
"""


def run(project: Path, wheel: Path) -> subprocess.Popen[str]:
    """Start set-up; its pip signals its start and waits until it may continue."""
    (project / "site").mkdir(exist_ok=True)
    (project / "site" / "sitecustomize.py").write_text(WAITING_PIP)
    environment = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheel.parent), "PIP_NO_CACHE_DIR": "1"}
    environment["PYTHONPATH"] = str(project / "site")
    return subprocess.Popen(
        [sys.executable, project / "scripts" / "bootstrap.py", "packages"],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def works(project: Path) -> bool:
    python = project / ".venv" / "bin" / "python"
    if not python.exists():
        return False
    done = subprocess.run(
        [python, "-c", "import pip, tiny; print(tiny.number)"], capture_output=True, check=False
    )
    return done.stdout == b"1\n"


@pytest.fixture
def ended() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.communicate(timeout=LIMIT)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + LIMIT
    while not path.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    assert path.exists()


def test_two_concurrent_runs_complete_one_killed_during_pip(
    project: Path, wheel: Path, ended: list[subprocess.Popen[str]]
) -> None:
    for place in (".venv.new/pyvenv.cfg", "pip-is-here"):
        (project / "pip-is-here").unlink(missing_ok=True)
        broken = run(project, wheel)
        ended.append(broken)
        wait_for(project / place, broken)
        # The second pip continues alone and holds the lock.
        os.killpg(broken.pid, signal.SIGKILL) if place.endswith("cfg") else broken.kill()
        broken.wait()
        assert not works(project)
    both = [run(project, wheel) for _ in range(2)]
    for process in both:
        assert process.stdout
        assert "Another set-up is at work here" in process.stdout.readline()
    (project / "pip-may-go-on").touch()
    outputs = [process.communicate(timeout=LIMIT)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert works(project)
    assert sum("Installing the packages" in output for output in outputs) == 1, outputs
    assert sorted(path.name for path in project.iterdir() if path.name.startswith(".")) == [
        ".setup.lock",
        ".venv",
    ]
    pip = subprocess.run([project / ".venv" / "bin" / "pip", "--version"], capture_output=True, check=False)
    assert pip.returncode == 0  # its first line holds the environment's path


def test_ctrl_c_prints_one_line(project: Path, wheel: Path) -> None:
    process = run(project, wheel)
    wait_for(project / "pip-is-here", process)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    assert output.endswith("Set-up was interrupted: start it again, it goes on from there.\n")
    assert "bootstrap.py" not in output


# --- what the browser loads ---------------------------------------------------------------------------------


def test_browser_files_are_replaced_as_a_whole(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed run leaves the old files or none, never a mixture."""
    from scripts import assets

    if not assets.NODE_MODULES.is_dir():
        pytest.skip("node_modules is not here: run `make run`")
    vendor = tmp_path / "static" / "vendor"
    monkeypatch.setattr(assets, "VENDOR", vendor)
    monkeypatch.setattr(assets, "NEW", tmp_path / ".vendor.new")
    monkeypatch.setattr(assets, "OLD", tmp_path / ".vendor.old")
    monkeypatch.setattr("brotli.compress", lambda content, quality: b"compressed")
    assets.main()
    assert assets.is_current()
    whole_one = {path.name for path in vendor.rglob("*")}
    for owner, name in ((shutil, "copyfile"), (shutil, "rmtree"), (Path, "rename")):
        monkeypatch.setattr(owner, name, machine.counted(getattr(owner, name)))
    machine.killed_before, ended = 0, False
    while not ended:
        if vendor.exists():
            (vendor / "manifest.json").write_text("{}")  # as if the lock file had changed
        machine.done = 0
        try:
            assets.main()
            ended = True
        except Killed:
            assert {path.name for path in vendor.rglob("*")} in (set(), whole_one)
        machine.killed_before += 1
    assert assets.is_current()
    assert machine.killed_before > 10


# --- the proxies of the tests -------------------------------------------------------------------------------

APT_GET = """#!/bin/sh
[ "$1" = update ] && { touch "$0.lists"; exit; }
[ -e "$0.lists" ] && [ "$1" = download ] && touch "$3_1.0_all.deb"
"""
DPKG_DEB = """#!/bin/sh
mkdir -p "$3/usr/bin" && printf '#!/bin/sh\\n' > "$3/usr/bin/proxy" && chmod +x "$3/usr/bin/proxy"
"""


@pytest.mark.parametrize("may_update", [True, False])
def test_proxy_is_extracted_from_its_debian_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], may_update: bool
) -> None:
    from scripts import proxies

    for name, content in (("apt-get", APT_GET), ("dpkg-deb", DPKG_DEB)):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(proxies, "FOLDER", tmp_path / "build")
    monkeypatch.setattr(proxies, "NAMES", {"proxy": "usr/bin/proxy"})
    monkeypatch.setattr("os.geteuid", lambda: 0 if may_update else 1000)
    proxies.main()
    assert (proxies.find("proxy") is not None) == may_update
    assert ("could not be taken" in capsys.readouterr().out) != may_update
    assert [path.name for path in (tmp_path / "build").iterdir()] == ["proxy"] * may_update
    proxies.main()
    assert ("Taking proxy" in capsys.readouterr().out) != may_update


# --- the browser of the tests -------------------------------------------------------------------------------


@pytest.mark.parametrize("in_debian", [True, False])
def test_headless_shell_is_preferred_and_added_where_debian_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], in_debian: bool
) -> None:
    from scripts import browser

    add = 'for name; do :; done; printf x > "$(dirname "$0")/$name"; chmod +x "$(dirname "$0")/$name"'
    install = add if in_debian else "exit 100"
    apt = f'#!/bin/sh\nPATH={os.environ["PATH"]}\n[ "$1" = install ] || exit 0\n{install}\n'
    for name, content in (("apt-get", apt), ("dpkg", "#!/bin/sh\n"), ("chromium", "#!/bin/sh\n")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM_PATH", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("sys.argv", ["browser.py", "--install"])
    monkeypatch.setattr(Path, "exists", lambda self: True)
    assert browser.find() == str(tmp_path / "chromium")
    browser.main()
    assert browser.find() == str(tmp_path / ("chromium-headless-shell" if in_debian else "chromium"))
    assert browser.find_full() == str(tmp_path / "chromium")
    assert "Playwright" not in capsys.readouterr().out
