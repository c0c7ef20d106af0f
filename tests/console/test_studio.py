"""The graph that `langgraph dev` loads."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from console.run.config import resolve

ROOT = Path(__file__).resolve().parents[2]


def test_langgraph_json_names_a_graph_that_compiles() -> None:
    [place] = json.loads((ROOT / "langgraph.json").read_text())["graphs"].values()
    file, name = place.split(":")
    module = importlib.import_module(file.removeprefix("./").removesuffix(".py").replace("/", "."))
    assert "coevolution" in getattr(module, name)().get_graph().nodes


async def test_a_thread_goes_on_with_the_run_it_is_pointed_at(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from console.studio import make_graph

    monkeypatch.setenv("ACDC_RUN", str(finished_run))
    assert resolve(None, []).generations == 5, "the variable is no setting"
    assert await make_graph().ainvoke({"generation": 0}) == {"generation": 4}
