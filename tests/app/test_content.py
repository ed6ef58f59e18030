"""After the start no request reads files of the project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.app.servers import ROOT


def test_no_project_file_is_opened_after_the_start(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.app.walk", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) > 300
