"""What a run traces: whole trees, in run.db and at a real OTLP/HTTP receiver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from memory.store import RunStore
from tests.console.conftest import Acdc
from tests.otlp_receiver import Received, Receiver, receiver

KEY = "sk-a-key-that-nobody-may-see"


class TracedRun(NamedTuple):
    folder: Path
    exported: Receiver


@pytest.fixture(scope="module")
def traced(
    acdc: Acdc, tiny_config: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TracedRun]:
    """A short run that adapts once, with a key, prices and a collector."""
    folder = tmp_path_factory.mktemp("traced") / "run"
    changed = {
        "generations": 2,
        "pool.capacity": 4,
        "breeding.graft.every": 1,
        "breeding.graft.probability": 1.0,
        "endpoints.scientist.api_key_env": "SCIENTIST_KEY",
        "endpoints.scientist.price_in": 1.0,
        "endpoints.scientist.price_out": 4.0,
    }
    words = [word for name, value in changed.items() for word in ("--set", f"{name}={value}")]
    with receiver() as server:
        again = Acdc(Path(acdc.environment["ACDC_CACHE"]).parent)
        again.environment |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": server.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "SCIENTIST_KEY": KEY,
        }
        again("run", folder, "--config", tiny_config, *words)
        yield TracedRun(folder, server)


def _below(spans: Iterable[Received], root: Received) -> list[Received]:
    """All that a span caused."""
    children: dict[bytes, list[Received]] = {}
    for span in spans:
        children.setdefault(span.parent, []).append(span)
    found, waiting = list[Received](), [root]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1].id, [])
    return found


def test_each_assignment_is_one_tree(traced: TracedRun) -> None:
    spans = traced.exported.spans
    roots = [span for span in spans if (span.kind, span.name) == ("agent", "scientist")]
    with RunStore.open(traced.folder, read_only=True) as store:
        assignments = {each.id: store.calls(assignment=each.id) for each in store.assignments()}
        accepted = {each for each in assignments if store.assignment_status(each).family}
    assert sorted(root.attributes["acdc.assignment"] for root in roots) == sorted(assignments)
    for root in roots:
        name = root.attributes["acdc.assignment"]
        tree = _below(spans, root)
        own = {call.key for call in assignments[name] if call.purpose != "novelty"}
        assert {s.attributes["acdc.call"] for s in tree if s.kind == "llm"} >= own
        if name in accepted:
            kinds = Counter((span.kind, span.name) for span in tree)
            for part in (("agent", "propose"), ("step", "trial"), ("agent", "critique")):
                assert kinds[part] >= 1, part
            assert kinds["gate", "gates"] >= 1
            assert kinds["decision", "novelty"] >= 1
            assert {s.kind for s in tree} >= {"sandbox", "answer", "grade", "gate"}


def test_every_kind_of_work_is_a_span_with_a_parent_that_encloses_it(traced: TracedRun) -> None:
    spans = traced.exported.spans
    by_id = {span.id: span for span in spans}
    roots = {span.name for span in spans if not span.parent and span.kind != "phase"}
    assert roots <= {"endpoint check", "closing the engine", "closing the sandbox"}
    for span in spans:
        assert span.ended >= span.began > 0
        if span.parent:
            parent = by_id[span.parent]
            assert parent.trace == span.trace
            assert parent.began <= span.began
            assert span.ended <= parent.ended
    assert {span.kind for span in spans} == {
        *("phase", "agent", "step", "gate", "llm", "answer", "grade", "sandbox", "swap"),
        *("decision", "breed", "merge"),
    }
    decisions = {span.name for span in spans if span.kind == "decision"}
    assert decisions == {"novelty", "survival", "adaptation", "task_force"}
    with RunStore.open(traced.folder, read_only=True) as store:
        bred = {each.id for each in store.experts() if each.rng_seed and not each.is_seed}
    assert {span.name for span in spans if span.kind == "breed"} == bred


def test_calls_carry_openinference_attributes(traced: TracedRun) -> None:
    with RunStore.open(traced.folder, read_only=True) as store:
        calls = {call.key: call for call in store.calls()}
    asked = [span for span in traced.exported.spans if span.kind == "llm"]
    assert asked
    for span in asked:
        call, told = calls[span.attributes["acdc.call"]], span.attributes
        assert told["openinference.span.kind"] == "LLM"
        assert told["llm.model_name"] == "scripted"
        for place, message in enumerate(call.messages):
            assert told[f"llm.input_messages.{place}.message.role"] == message.role
            said = told[f"llm.input_messages.{place}.message.content"]
            assert said == message.content or said.endswith("characters cut]")
        assert told["llm.output_messages.0.message.content"] == call.response
        assert told["llm.token_count.total"] == call.tokens_in + call.tokens_out == 150
        assert told["llm.cost.total"] == pytest.approx((100 * 1.0 + 50 * 4.0) / 1e6)


def test_run_db_has_the_same_spans_with_less_of_their_texts(traced: TracedRun) -> None:
    with RunStore.open(traced.folder, read_only=True) as store:
        kept = {span.id: span for span in store.spans()}
    exported = {span.id.hex(): span for span in traced.exported.spans}
    assert kept.keys() == exported.keys()
    for name, span in kept.items():
        assert (span.parent or "") == exported[name].parent.hex()
        texts = [str(value) for value in span.attributes.values()]
        assert max(map(len, texts)) < 700
        for key, value in span.attributes.items():
            whole = str(exported[name].attributes[key])
            assert str(value) == whole or str(value).endswith("characters cut]")


def test_no_span_holds_a_key_or_a_path_of_this_machine(traced: TracedRun) -> None:
    kept = (traced.folder / "run.db").read_bytes()
    assert KEY.encode() not in traced.exported.raw + kept
    assert str(traced.folder).encode() not in traced.exported.raw


def test_spans_name_families_by_id_alone_and_answers_their_model(finished_run: Path) -> None:
    with RunStore.open(finished_run, read_only=True) as store:
        spans = store.spans()
        ids, codes = {f.id for f in store.families()}, {f.code_hash for f in store.families()}
        genomes = {expert.genome_id for expert in store.experts()}
        recorded = sum(answer.reply.tokens_in for answer in store.answers_of())
    named = {str(s.attributes["acdc.family"]) for s in spans if "acdc.family" in s.attributes}
    assert named <= ids
    gates = [s.attributes for s in spans if (s.kind, s.name) == ("gate", "gates")]
    assert gates
    assert all("acdc.family_name" in attributes for attributes in gates)
    graded = {s.attributes["acdc.code_hash"] for s in spans if s.kind == "grade"}
    assert graded & codes
    answers = [s.attributes for s in spans if s.kind == "answer"]
    assert {attributes["llm.model_name"] for attributes in answers} <= genomes
    read = sum(int(str(attributes["llm.token_count.prompt"])) for attributes in answers)
    assert read == recorded > 0
