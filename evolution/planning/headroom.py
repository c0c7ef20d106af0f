"""Main memory that this process may still take: the machine's, or less in a container."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil


class _Files(NamedTuple):
    """Where a control group reports its limit, its use, and file pages that can be reclaimed."""

    limit: str
    used: str
    cached: str


_FIRST = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_SECOND = _Files("memory.max", "memory.current", "inactive_file")


def free_memory(
    groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> int:
    """Bytes that are free here, and that the control groups of this process allow it.

    A container is killed at its own limit, however much the machine under it has left.

    Args:
        groups: names the control groups, of the first or the second version, as Linux does.
        root: where they are mounted; they exist on Linux only.
    """
    return min([psutil.virtual_memory().available, *_allowed(groups, root)])


def _allowed(groups: Path, root: Path) -> Iterator[int]:
    """What each group that this process is in has left, and each group around those."""
    for named in groups.read_text().splitlines() if groups.is_file() else ():
        _, controllers, path = named.split(":", 2)
        if controllers == "":
            files, mount = _SECOND, root
        elif "memory" in controllers.split(","):
            files, mount = _FIRST, root / "memory"
        else:
            continue
        # Within a container the group's own path may not be there: it is mounted as the root.
        inside = Path(path.lstrip("/"))
        for folder in (mount / inside, *(mount / parent for parent in inside.parents), mount):
            left = _left(folder, files)
            if left is not None:
                yield left


def _left(folder: Path, files: _Files) -> int | None:
    """Bytes below the limit of one group; None where it sets none, or cannot be read."""
    try:
        limit = (folder / files.limit).read_text().strip()
        used = int((folder / files.used).read_text())
        stat = dict(entry.split() for entry in (folder / "memory.stat").read_text().splitlines())
    except OSError:
        return None
    if limit == "max":
        return None
    return max(int(limit) - used + int(stat.get(files.cached, 0)), 0)
