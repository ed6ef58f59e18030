"""The container as in the README, `docker run --read-only`: nothing is writable.

A mount namespace replaces the container: the project and every place for temporary files are mounted read-
only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.app.servers import LIMIT, ROOT, fetch, free_port, stop, wait

PREFIX = "/academy"
NOWHERE = """
set -e
for folder in /tmp /var/tmp /usr/tmp /dev/shm /run; do
    [ -d "$folder" ] || continue
    case "$1/" in
    "$folder"/*) mount --bind "$folder" "$folder"; mount -o remount,ro,bind "$folder" ;;
    *) mount -t tmpfs -o ro,size=4k none "$folder" ;;
    esac
done
mount --bind "$1" "$1"
mount -o remount,ro,bind "$1"
cd "$1"
! python3 -c 'import tempfile; tempfile.gettempdir()' 2>/dev/null
exec "$2" scripts/serve.py
"""


def isolated(command: list[str], **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["unshare", "--mount", "--map-root-user", *command],
        env={k: v for k, v in os.environ.items() if k not in ("TMPDIR", "TEMP", "TMP")} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def has_namespaces() -> bool:
    if not shutil.which("unshare"):
        return False
    trial = isolated(["mount", "-t", "tmpfs", "none", "/tmp"])
    trial.communicate(timeout=LIMIT)
    return trial.returncode == 0


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    if not has_namespaces():
        pytest.skip("NOT TESTED WITHOUT A WRITABLE PLACE: no mount namespaces here")
    free = free_port()
    process = isolated(
        ["bash", "-c", NOWHERE, "nowhere", str(ROOT), sys.executable],
        PORT=str(free),
        HOST="0.0.0.0",
        WORKERS="2",
        ACADEMY_ROOT_PATH=PREFIX,
        PYTHONDONTWRITEBYTECODE="1",
    )
    try:
        wait(free, process)
        yield free
    finally:
        print(stop(process))


def test_server_gets_ready(port: int) -> None:
    assert json.loads(fetch(port, "/readyz"))["status"] == "ready"


def test_probes_work_with_and_without_prefix(port: int) -> None:
    for prefix in ("", PREFIX):
        assert json.loads(fetch(port, f"{prefix}/healthz")) == {"status": "ok"}
        assert json.loads(fetch(port, f"{prefix}/readyz"))["status"] == "ready"


def test_health_check_of_the_image_passes(port: int) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    (command,) = re.findall(r"HEALTHCHECK .*?CMD (\[.*?\])", dockerfile, re.DOTALL)
    python, *arguments = json.loads(command)
    assert python == "python"
    for host, asked, status in (("0.0.0.0", port, 0), ("127.0.0.1", port, 0), ("0.0.0.0", free_port(), 1)):
        settings = {"HOST": host, "PORT": str(asked), "ACADEMY_ROOT_PATH": PREFIX}
        settings["http_proxy"] = "http://127.0.0.1:9"  # Docker may set it for all containers
        done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=os.environ | settings, check=False)
        assert done.returncode == status


def test_pages_and_figures_are_served(port: int) -> None:
    for path in ("", "/", "/lessons/quantization", "/lessons/quantization/figures/rtn?bits=3"):
        assert b"<!doctype html>" in fetch(port, f"{PREFIX}{path}")[:20]


def test_job_page_reports_that_nothing_can_be_stored(port: int) -> None:
    assert b"ACADEMY_JOBS_FOLDER" in fetch(port, f"{PREFIX}/lessons/specimen/jobs/squares")


def test_the_image_copies_what_the_server_and_its_check_need() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    for name in ("scripts/serve.py", "scripts/healthcheck.py", "COPY app app", "COPY lessons lessons"):
        assert name in dockerfile


def test_the_image_runs_as_an_ordinary_user_and_checks_itself() -> None:
    last_stage = (ROOT / "Dockerfile").read_text("utf-8").split("\nFROM ")[-1]
    users = re.findall(r"^USER (\d+):\d+$", last_stage, re.MULTILINE)
    assert users
    assert int(users[-1]) > 0
    assert "ENV HOST=0.0.0.0 PORT=8000 WORKERS=1" in last_stage
    assert re.search(r"^HEALTHCHECK .*\n *CMD \[.*scripts/healthcheck.py", last_stage, re.MULTILINE)
    assert "STOPSIGNAL SIGTERM" in last_stage
