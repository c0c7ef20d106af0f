"""Sample logs of lm-evaluation-harness, made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def sample(doc: int, answer: str, right: bool, **more: Any) -> dict[str, Any]:
    """A line as lm_eval 0.4.9 writes it for a generation task."""
    return {
        "doc_id": doc,
        "doc": {"question": f"Question {doc}?", "answer": "#### 4"},
        "target": "4",
        "arguments": {"gen_args_0": {"arg_0": f"Question {doc}?", "arg_1": {"until": []}}},
        "resps": [[f"I think. Answer: {answer}"]],
        "filtered_resps": [answer],
        "filter": "strict-match",
        "metrics": ["exact_match"],
        "doc_hash": "0",
        "prompt_hash": "0",
        "target_hash": "0",
        "exact_match": float(right),
        **more,
    }


def write(folder: Path, model: str, task: str, *lines: dict[str, Any]) -> Path:
    file = folder / model / f"samples_{task}_2025-08-01T10-20-30.123456.jsonl"
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file
