"""A server with little free memory reports that it is not ready."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.server import memory
from app.server.memory import MIB, available_mib
from app.settings import Settings
from tests.app.conftest import application


def written(folder: Path, files: dict[str, str]) -> int | None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return available_mib(folder / "proc", folder / "cgroup")


MACHINE = {"proc/meminfo": "MemTotal:  2097152 kB\nMemFree:  1 kB\nMemAvailable:  1048576 kB\n"}
V2 = MACHINE | {
    "proc/self/cgroup": "0::/a/b\n",
    "cgroup/a/b/memory.max": "max\n",
    "cgroup/a/b/memory.current": f"{100 * MIB}\n",
    "cgroup/a/memory.max": f"{256 * MIB}\n",
    "cgroup/a/memory.current": f"{200 * MIB}\n",
    "cgroup/a/memory.stat": f"anon 1\ninactive_file {40 * MIB}\nactive_file 5\n",
}
CONTAINER = MACHINE | {  # in a cgroup namespace the group is the root
    "proc/self/cgroup": "0::/\n",
    "cgroup/memory.max": f"{512 * MIB}\n",
    "cgroup/memory.current": f"{500 * MIB}\n",
}
V1 = MACHINE | {
    "proc/self/cgroup": "12:cpu,cpuacct:/\n5:memory:/docker/x\n1:name=systemd:/\n0::/\n",
    "cgroup/memory/docker/x/memory.limit_in_bytes": f"{300 * MIB}\n",
    "cgroup/memory/docker/x/memory.usage_in_bytes": f"{290 * MIB}\n",
    "cgroup/memory/docker/x/memory.stat": f"inactive_file 1\ntotal_inactive_file {5 * MIB}\n",
    "cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    "cgroup/memory/memory.usage_in_bytes": f"{900 * MIB}\n",
}


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, None),
        (MACHINE, 1024),
        (V2, 96),
        (CONTAINER, 12),
        (V1, 15),
        (CONTAINER | {"cgroup/memory.current": f"{600 * MIB}\n"}, 0),
        (CONTAINER | {"cgroup/memory.max": "damaged\n"}, 1024),
    ],
)
def test_lowest_limit_counts(tmp_path: Path, files: dict[str, str], left: int | None) -> None:
    assert written(tmp_path, files) == left


def test_free_memory_of_this_machine_is_positive() -> None:
    if not Path("/proc/meminfo").exists():
        pytest.skip("memory is read from /proc")
    left = available_mib()
    assert left is not None
    assert left > 0


@pytest.mark.parametrize(
    ("least", "left", "status"),
    [(64, 63, 503), (64, 64, 200), (64, None, 200), (0, 0, 200), (2000, 1999, 503)],
)
def test_server_with_little_memory_is_not_ready(
    monkeypatch: pytest.MonkeyPatch, least: int, left: int | None, status: int
) -> None:
    monkeypatch.setattr(memory, "available_mib", lambda: left)
    with TestClient(create_app(Settings(least_free_mib=least))) as client:
        answer = client.get("/readyz")
        assert answer.status_code == status
        if status == 503:
            assert answer.json() == {
                "status": "low on memory",
                "free_mib": left,
                "least_free_mib": least,
            }
            assert answer.headers["cache-control"] == "no-store"
        assert client.get("/healthz").status_code == 200


def test_starting_or_stopping_server_is_not_ready() -> None:
    client = TestClient(create_app(Settings(make_ahead=False)))
    assert client.get("/readyz").status_code == 503
    with client:
        assert client.get("/readyz").status_code == 200
        application(client).state.stop()
        assert client.get("/readyz").status_code == 503


@pytest.mark.parametrize("level", ["debug", "WARNING"])
def test_log_level_is_applied(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("academy"), "level", logging.INFO)  # restored afterwards
    create_app(Settings(log_level=level, make_ahead=False))
    assert logging.getLogger("academy").level == getattr(logging, level.upper())
