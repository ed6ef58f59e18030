"""How much memory is left to this process: of the machine, and of the control groups that it is in.

Source: Linux, Documentation/filesystems/proc.rst (MemAvailable), Documentation/admin-guide/cgroup-v2.rst
(memory.max, memory.current, memory.stat) and cgroup-v1/memory.rst. Version 1 is still in use: containerd
supports it until May 2029 (its releases.md). Elsewhere nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

MIB = 2**20
PROC, CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


def available_mib(proc: Path = PROC, cgroup: Path = CGROUP) -> int | None:
    """MiB that can still be taken before something is killed; None where it is not known."""
    left = [*_of_machine(proc / "meminfo"), *_of_groups(proc / "self" / "cgroup", cgroup)]
    return min(left) // MIB if left else None


def _of_machine(meminfo: Path) -> Iterator[int]:
    for line in _lines(meminfo):
        if line.startswith("MemAvailable:"):
            yield 1024 * int(line.split()[1])


def _of_groups(membership: Path, root: Path) -> Iterator[int]:
    """Of every group that this process is in, up to the root: each may have a limit of its own."""
    for line in _lines(membership):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            files = root, ("memory.max", "memory.current", "inactive_file ")
        elif "memory" in controllers.split(","):
            files = (
                root / "memory",
                ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "),
            )
        else:
            continue
        top, names = files
        group = top / path.strip("/")
        for folder in (group, *group.parents):
            yield from _of_group(folder, *names)
            if folder == top:
                break


def _of_group(folder: Path, limit: str, used: str, reclaimable: str) -> Iterator[int]:
    """What is left of a group's limit; files that were only read can be let go."""
    most, now = _number(folder / limit), _number(folder / used)
    if most is None or now is None or most >= 2**60:  # version 1 writes a very large number for no limit
        return
    read = [int(line.split()[1]) for line in _lines(folder / "memory.stat") if line.startswith(reclaimable)]
    yield max(0, most - now + sum(read))


def _number(file: Path) -> int | None:
    lines = _lines(file)
    return int(lines[0]) if lines and lines[0].isdigit() else None  # "max": no limit


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
