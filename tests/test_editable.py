"""An editable install is found by programs that lie beside a clone called `acdc`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = "import sys; from setuptools.build_meta import build_editable; build_editable(sys.argv[1])"
PROGRAM = """
import site, sys
site.addsitedir(sys.argv[1])
import acdc
print(acdc.__file__)
"""


def test_a_folder_called_like_the_module_does_not_hide_it(tmp_path: Path) -> None:
    clone, wheels, site = (tmp_path / name for name in ("acdc", "wheels", "site"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for folder in (clone, wheels, clone / "console"):
        folder.mkdir()
    found = project["project"]
    for name in ("pyproject.toml", found["readme"], *found["license-files"]):
        shutil.copy(ROOT / name, clone)
    for name in ("acdc.py", "console/__init__.py"):
        (clone / name).touch()
    build = [sys.executable, "-c", BUILD, str(wheels)]
    subprocess.run(build, cwd=clone, check=True, capture_output=True)
    [wheel] = wheels.iterdir()
    zipfile.ZipFile(wheel).extractall(site)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    # Without what is installed here, which has an `acdc` of its own.
    line = [sys.executable, "-S", str(program), str(site)]
    done = subprocess.run(line, env={}, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(clone / "acdc.py"), done.stderr
