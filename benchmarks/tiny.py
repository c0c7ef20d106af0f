"""A whole run on tiny random models, for smoke tests of benchmarks: no download, and no real model.

    python -m benchmarks.tiny FOLDER

The tests' scripted scientist writes the tasks, as random models solve none that a real one would.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from transformers import LlamaConfig

from tests.conftest import make_family
from tests.console.scientist_server import scientist_server
from tests.console.tiny_run import tiny_run_config


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path, help="for the models and the run")
    print(tiny_run(parser.parse_args().folder))
    return 0


def tiny_run(place: Path) -> Path:
    """Make models and a run of one generation in a folder, which is given back."""
    models = make_family(place / "models", LlamaConfig, tied=True)
    config, folder = place / "tiny.toml", place / "run"
    with scientist_server() as (url, _):
        config.write_text(tiny_run_config(models, url))
        words = ["run", str(folder), "--config", str(config), "--set", "generations=1"]
        command = [sys.executable, "-m", "console", *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


if __name__ == "__main__":
    sys.exit(main())
