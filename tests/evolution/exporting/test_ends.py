"""An exported expert ends its answers where it ended them in the run, whoever names the end."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from evolution.bank.bank import load_bank
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.engines.settings import EngineSettings
from evolution.engines.transformers.engine import TransformersEngine
from evolution.errors import CheckpointError
from evolution.exporting import Sources, export_expert
from memory.records import Sampling
from tests.evolution.engines.engine_cases import ask, questions
from tests.evolution.exporting.export_cases import ABOUT

if TYPE_CHECKING:
    from tests.conftest import TinyFamily

OWN: dict[str, dict[str, Any] | None] = {
    "no generation config": None,
    "it names none": {},
    "it names one": {"eos_token_id": 9},
    "it names several": {"eos_token_id": [9, 11, 200]},
    "it samples": {
        "eos_token_id": 2,
        "do_sample": True,
        "temperature": 0.9,
        "repetition_penalty": 1.8,
        "no_repeat_ngram_size": 2,
        "suppress_tokens": [5, 6, 7],
        "min_new_tokens": 10,
        "forced_eos_token_id": 4,
    },
}
CONFIG: dict[str, Any] = {"none": None, "one": 0, "several": [0, 12]}
TOKENIZER = {"none": None, "a turn's end": "<|im_end|>", "a sign": "#"}
GRID = list(itertools.product(OWN, CONFIG, TOKENIZER))


def base_that_ends(
    family: TinyFamily, folder: Path, own: dict[str, Any] | None, config: Any, tokenizer: str | None
) -> Path:
    """The tiny base, whose files name these end tokens; no padding or beginning is named."""
    shutil.copytree(family.base, folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if own is not None:
        (folder / "generation_config.json").write_text(json.dumps(own))
    change(folder / "config.json", eos_token_id=config, bos_token_id=None, pad_token_id=None)
    change(folder / "tokenizer_config.json", eos_token=tokenizer, pad_token=None, bos_token=None)
    return folder


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize(("own", "config", "tokenizer"), GRID)
async def test_plain_transformers_answers_from_the_folder_as_the_run_did(
    own: str, config: str, tokenizer: str, tiny_family: TinyFamily, tmp_path: Path, cache: Path
) -> None:
    base = base_that_ends(
        tiny_family, tmp_path / "base", OWN[own], CONFIG[config], TOKENIZER[tokenizer]
    )
    models = ModelSettings(base=str(base), seeds=(), dtype="float32")
    bank = load_bank(models, SpectralSettings(rank=0), cache)
    prompts, length = questions(6), 40
    engine = TransformersEngine(bank, EngineSettings(kind="transformers", device="cpu", rows=6))
    replies = await ask(engine, bank.base_genome(), prompts, Sampling(max_tokens=length))
    await engine.close()
    out = tmp_path / "out"
    export_expert(bank, bank.base_genome(), ABOUT, Sources(str(base), {}), out)
    model: Any = AutoModelForCausalLM.from_pretrained(out)
    reader = AutoTokenizer.from_pretrained(out)
    for prompt, reply in zip(prompts, replies, strict=True):
        asked: Any = reader.apply_chat_template(
            [message.model_dump() for message in prompt],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        with torch.inference_mode():
            said = model.generate(**asked, max_new_tokens=length)[0, asked["input_ids"].shape[1] :]
        assert reply.tokens_out == len(said)
        spoken = said[:-1] if reply.finish_reason == "stop" else said
        assert reply.text == reader.decode(spoken, skip_special_tokens=True)
    files = ("config.json", "generation_config.json")
    config_says, own_says = (json.loads((out / file).read_text()) for file in files)
    assert config_says.get("eos_token_id") == own_says.get("eos_token_id")


@pytest.mark.parametrize("value", ["<|im_end|>", [2, "</s>"], 2.5, True, [[2]], {"id": 2}])
def test_an_end_that_is_no_token_is_refused_by_name(
    value: Any, tiny_family: TinyFamily, tmp_path: Path, cache: Path
) -> None:
    base = base_that_ends(tiny_family, tmp_path / "base", {"eos_token_id": value}, 2, None)
    models = ModelSettings(base=str(base), seeds=())
    with pytest.raises(CheckpointError, match="eos_token_id") as refusal:
        load_bank(models, SpectralSettings(rank=0), cache)
    assert "\n" not in str(refusal.value)
