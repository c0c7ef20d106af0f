from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from evolution.planning.headroom import free_memory

MIB = 2**20


def group(folder: Path, files: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")


def second(folder: Path, limit: object, used: int, inactive: int = 0) -> None:
    stat = f"anon 5\ninactive_file {inactive}"
    group(folder, {"memory.max": limit, "memory.current": used, "memory.stat": stat})


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    return tmp_path / "groups"


def test_a_container_has_what_its_limit_leaves_it(groups: Path, tmp_path: Path) -> None:
    groups.write_text("0::/run/mine\n")
    second(tmp_path / "run" / "mine", 300 * MIB, 200 * MIB, inactive=50 * MIB)
    assert free_memory(groups, tmp_path) == 150 * MIB
    second(tmp_path / "run", 210 * MIB, 200 * MIB)
    assert free_memory(groups, tmp_path) == 10 * MIB
    second(tmp_path / "run", 100 * MIB, 200 * MIB)
    assert free_memory(groups, tmp_path) == 0


def test_the_first_version_counts_too_mounted_as_the_root_of_a_container(
    groups: Path, tmp_path: Path
) -> None:
    groups.write_text("5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n0::/\n")
    files = {
        "memory.limit_in_bytes": 64 * MIB,
        "memory.usage_in_bytes": 60 * MIB,
        "memory.stat": f"inactive_file 1\ntotal_inactive_file {MIB}",
    }
    group(tmp_path / "memory", files)
    assert free_memory(groups, tmp_path) == 5 * MIB


def test_without_a_limit_it_is_what_the_machine_has(groups: Path, tmp_path: Path) -> None:
    second(tmp_path, "max", 5)
    for text in ("0::/\n", "0::/gone\n", "", None):
        groups.unlink(missing_ok=True)
        if text is not None:
            groups.write_text(text)
        free = free_memory(groups, tmp_path)
        assert free == pytest.approx(psutil.virtual_memory().available, rel=0.3)
