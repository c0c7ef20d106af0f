from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = (file.relative_to(ROOT) for file in (ROOT / "evolution").rglob("settings.py"))
LIGHT = [
    *(".".join(file.with_suffix("").parts) for file in SETTINGS),
    *("evolution.registry", "evolution.plugins", "evolution.engines", "evolution.selection"),
    *("memory.settings", "memory.store", "memory.novelty", "agents.config"),
]
HEAVY = {"torch", "transformers", "chromadb", "mergekit", "vllm"}


def test_what_a_configuration_reads_loads_neither_pytorch_nor_chroma() -> None:
    code = f"import sys, {', '.join(LIGHT)}\nprint(*({HEAVY} & {{*sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
