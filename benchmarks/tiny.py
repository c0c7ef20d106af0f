"""A whole run on tiny random models, for smoke tests of benchmarks: seconds, and no download."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from transformers import LlamaConfig

from tests.conftest import make_family

SMALL = (
    "generations=1",
    "population.founders=4",
    "population.capacity=4",
    "population.children=1",
    "pool.capacity=4",
    "scientist.critic=false",
    "judge.max_tokens=6",
)


def tiny_run(place: Path) -> Path:
    """Make models and a run of one generation in a folder; the offline scientist writes tasks."""
    models = make_family(place / "models", LlamaConfig, tied=True)
    seeds = ", ".join(
        f'{{ name = "{name}", path = "{path}" }}' for name, path in models.seeds.items()
    )
    config = place / "tiny.toml"
    config.write_text(f'[models]\nbase = "{models.base}"\nseeds = [{seeds}]\n')
    settings = [word for setting in SMALL for word in ("--set", setting)]
    folder = place / "run"
    command = [sys.executable, "-m", "console", "run", str(folder), "--config", str(config)]
    subprocess.run([*command, *settings], check=True, stdout=subprocess.DEVNULL)
    return folder
