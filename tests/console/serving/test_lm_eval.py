"""lm-evaluation-harness as a client of `acdc serve`: `pip install "lm-eval[api]"`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.console.conftest import Acdc
from tests.console.serving.served import serving

pytest.importorskip("lm_eval")

TASK = """
task: sums
dataset_path: json
dataset_kwargs:
  data_files: {{test: "{data}"}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["<never>"], max_gen_toks: 6, do_sample: false}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""


def test_the_harness_evaluates_the_collective(
    acdc: Acdc, finished_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished_run, tmp_path / "run")
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    records = [{"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(6)]
    data = tmp_path / "sums.jsonl"
    data.write_text("\n".join(json.dumps(record) for record in records))
    (tasks / "sums.yaml").write_text(TASK.format(data=data))
    with serving(acdc, tmp_path / "run", token=None) as place:
        arguments = f"model=acdc,base_url={place.url}/chat/completions,num_concurrent=3"
        words = ["--model", "local-chat-completions", "--model_args", arguments]
        words += ["--tasks", "sums", "--include_path", str(tasks), "--apply_chat_template"]
        words += ["--output_path", str(tmp_path / "out"), "--log_samples"]
        subprocess.run(
            [sys.executable, "-m", "lm_eval", *words],
            check=True,
            timeout=600,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")},
        )
        [log] = (tmp_path / "out").rglob("samples_sums_*.jsonl")
        samples = [json.loads(line) for line in log.read_text().splitlines()]
        assert len(samples) == 6
        for sample in samples:
            reply = place.client.chat.completions.create(
                model="acdc", messages=[{"role": "user", "content": sample["doc"]["question"]}]
            )
            assert sample["resps"] == [[reply.choices[0].message.content]]
