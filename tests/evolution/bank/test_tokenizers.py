"""Tokenizers of checkpoints: where answers end, and seeds that bring another one along."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SeedSettings, SpectralSettings
from evolution.bank.tokenizers import generation_of
from evolution.errors import IncompatibleError
from tests.conftest import make_tokenizer
from tests.evolution.conftest import write_adapter

if TYPE_CHECKING:
    from tests.conftest import TinyFamily

Load = Callable[[Path], Bank]


def test_replies_end_where_model_tokenizer_or_template_say() -> None:
    tokenizer: Any = make_tokenizer()

    def ends(**stated: object) -> set[int]:
        return {*generation_of(tokenizer, SimpleNamespace(**stated), "base").eos_token_id}

    names = {tokenizer.convert_ids_to_tokens(token) for token in ends()}
    assert names == {"<|im_end|>", "<|endoftext|>"}
    assert 7 in ends(eos_token_id=7)
    assert {7, 9} < ends(eos_token_id=[7, 9])
    assert -1 not in ends(eos_token_id=-1)


@pytest.fixture
def load(tiny_family: TinyFamily, tmp_path: Path) -> Load:
    """Loads a bank of the tiny base and one seed."""

    def load_with(seed: Path) -> Bank:
        models = ModelSettings(
            base=str(tiny_family.base), seeds=(SeedSettings(name="seed", path=str(seed)),)
        )
        return load_bank(models, SpectralSettings(rank=0), tmp_path / "cache")

    return load_with


def with_tokenizer(kind: str, family: TinyFamily, folder: Path) -> Path:
    """A full seed, or an adapter, that brings along the tokenizer of the base."""
    if kind == "full":
        return Path(shutil.copytree(family.seeds["alpha"], folder))
    write_adapter(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def rewrite(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def swap_specials(stated: dict[str, Any]) -> None:
    """Two special tokens change places."""
    one, other = stated["added_tokens"][1:3]
    one["content"], other["content"] = other["content"], one["content"]
    vocabulary = stated["model"]["vocab"]
    vocabulary[one["content"]], vocabulary[other["content"]] = one["id"], other["id"]


def swap_letters(stated: dict[str, Any]) -> None:
    vocabulary = stated["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]


@pytest.mark.parametrize("swap", [swap_specials, swap_letters])
@pytest.mark.parametrize("kind", ["full", "adapter"])
def test_a_token_with_another_number_is_refused_by_name(
    kind: str,
    swap: Callable[[dict[str, Any]], None],
    tiny_family: TinyFamily,
    load: Load,
    tmp_path: Path,
) -> None:
    seed = with_tokenizer(kind, tiny_family, tmp_path / "seed")
    load(seed)
    rewrite(seed / "tokenizer.json", swap)
    with pytest.raises(IncompatibleError, match=r"token '.+' is number \d+ in one and \d+ in"):
        load(seed)


CONFIG, TOKENIZER = "tokenizer_config.json", "tokenizer.json"
DIFFER: dict[str, tuple[str, Callable[[dict[str, Any]], object], str]] = {
    "end": (CONFIG, lambda c: c.update(eos_token="<|endoftext|>"), "eos_token"),
    "beginning": (CONFIG, lambda c: c.update(bos_token="<|endoftext|>"), "bos_token"),
    "padding": (CONFIG, lambda c: c.update(pad_token="<|endoftext|>"), "pad_token"),
    "merges": (TOKENIZER, lambda c: c["model"]["merges"].pop(), "merges"),
    "normalizer": (TOKENIZER, lambda c: c.update(normalizer={"type": "NFC"}), "normalizer"),
    "spaces": (
        TOKENIZER,
        lambda c: c["pre_tokenizer"].update(add_prefix_space=True),
        "pre_tokenizer",
    ),
    "flags": (TOKENIZER, lambda c: c["added_tokens"][1].update(lstrip=True), "added tokens"),
}


@pytest.mark.parametrize(("file", "change", "word"), DIFFER.values(), ids=DIFFER)
def test_what_makes_other_tokens_or_ends_is_named(
    file: str,
    change: Callable[[dict[str, Any]], object],
    word: str,
    tiny_family: TinyFamily,
    load: Load,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    seed = with_tokenizer("full", tiny_family, tmp_path / "seed")
    load(seed)
    assert "tokenizers" not in caplog.text
    rewrite(seed / file, change)
    load(seed)
    [line] = [each for each in caplog.messages if "tokenizers with different" in each]
    assert word in line


def test_another_chat_template_is_named(
    tiny_family: TinyFamily, load: Load, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seed = with_tokenizer("adapter", tiny_family, tmp_path / "seed")
    (seed / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    load(seed)
    assert "have tokenizers with different chat_template; experts use that of" in caplog.text


def test_other_end_tokens_of_the_model_are_named(
    tiny_family: TinyFamily, load: Load, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seed = with_tokenizer("full", tiny_family, tmp_path / "seed")
    (seed / "generation_config.json").write_text('{"eos_token_id": [2, 7]}')
    load(seed)
    assert "end tokens" in caplog.text
