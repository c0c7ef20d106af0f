"""The Containerfile holds what the package and the Makefile hold; it is built elsewhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONTAINERFILE = (ROOT / "Containerfile").read_text()


def test_every_part_of_the_package_is_copied() -> None:
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = package["tool"]["setuptools"]
    rooms = {name.rstrip("*") for name in found["packages"]["find"]["include"]}
    files = {f"{name}.py" for name in found["py-modules"]}
    files |= {"pyproject.toml", package["project"]["readme"], *package["project"]["license-files"]}
    copied: set[str] = set()
    for line in re.findall(r"^COPY (.+)$", CONTAINERFILE, re.MULTILINE):
        *sources, _ = line.split()
        copied.update(source.rstrip("/") for source in sources)
    assert copied == rooms | files
    kept = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert set(kept) == copied


def test_versions_are_those_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    pins = re.findall(r'"([\w.-]+==[\w.]+)"', CONTAINERFILE)
    assert len(pins) == 3
    for pin in pins:
        assert f'"{pin}"' in makefile, pin


def test_it_runs_as_nobody_special_behind_a_health_check() -> None:
    lines = CONTAINERFILE.splitlines()
    assert "--uid 1000 acdc" in CONTAINERFILE
    assert lines.index("USER 1000") < lines.index('ENTRYPOINT ["acdc"]')
    check = re.search(r'"(import urllib[^"]+)"', CONTAINERFILE)
    assert check is not None
    compile(check[1], "healthcheck", "exec")
    assert ":8100/health" in check[1]
    for needed in ("bubblewrap", "libseccomp2"):
        assert needed in CONTAINERFILE
