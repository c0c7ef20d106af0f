"""Spans go to run.db as they end, and to a collector where one is asked for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path

import grpc  # type: ignore[import-untyped, unused-ignore]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from memory.errors import StoreError, TracingError
from memory.openinference import MOST_MESSAGES, attributes_of, cut
from memory.records import ChatMessage
from memory.spans import span, tracing
from memory.store import RunStore

OTLP = "OTEL_EXPORTER_OTLP_"


@pytest.fixture(autouse=True)
def _no_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT", "PROTOCOL", "TRACES_ENDPOINT", "TRACES_PROTOCOL"):
        monkeypatch.delenv(OTLP + name, raising=False)


def test_a_span_costs_nothing_where_nothing_is_traced() -> None:
    with span("llm", "propose", model="m") as work:
        work.set(output="x")


async def test_spans_nest_across_tasks_and_threads(store: RunStore, folder: Path) -> None:
    def swap() -> None:
        with span("swap", "g1-0"):
            pass

    async def ask(index: int) -> None:
        with span("llm", "propose", model="m", index=index) as work:
            await asyncio.sleep(0)
            work.set(tokens_in=3, tokens_out=4, output="text", nothing=None)

    with tracing(folder), span("phase", "draft"):
        await asyncio.gather(ask(0), ask(1), asyncio.to_thread(swap))
    (phase,) = store.spans("phase")
    assert {inner.parent for inner in store.spans() if inner.kind != "phase"} == {phase.id}
    assert {inner.trace for inner in store.spans()} == {phase.trace}
    attributes = [inner.attributes for inner in store.spans("llm")]
    assert sorted(str(found.pop("acdc.index")) for found in attributes) == ["0", "1"]
    assert attributes[0] == {
        "openinference.span.kind": "LLM",
        "llm.model_name": "m",
        "llm.token_count.prompt": 3,
        "llm.token_count.completion": 4,
        "output.value": "text",
    }
    assert store.phase_seconds()["draft"] == phase.seconds > 0


def test_a_span_that_fails_says_why_without_the_paths_of_this_machine(
    store: RunStore, folder: Path
) -> None:
    with tracing(folder), pytest.raises(StoreError), span("sandbox", "inspect"):
        raise StoreError(f"{folder}/run.db: the disk is full")
    (failed,) = store.spans()
    assert failed.error == "StoreError: ./run.db: the disk is full"
    assert str(folder) not in str(failed.attributes)


def test_no_secret_leaves_in_any_text(store: RunStore, folder: Path) -> None:
    said = [ChatMessage(role="user", content="my key: sk-hidden")]

    def fail() -> None:
        with span("llm", "propose", input_messages=said) as work:
            work.set(output=f"sk-hidden, in {folder}", told=["sk-hidden"])
            raise StoreError("401: no such key sk-hidden")

    with tracing(folder, secrets=["sk-hidden", ""]), pytest.raises(StoreError):
        fail()
    (kept,) = store.spans()
    assert "sk-hidden" not in kept.model_dump_json()
    assert kept.attributes["output.value"] == "[concealed], in ."
    assert kept.error == "StoreError: 401: no such key [concealed]"


@given(text=st.text(max_size=60), longest=st.lists(st.integers(0, 50), min_size=1, max_size=3))
def test_a_text_that_is_cut_says_how_much_is_missing(text: str, longest: list[int]) -> None:
    """Also where it is cut again and again."""
    shown = text
    for most in longest:
        shown = cut(shown, most)
    least = min(longest)
    if len(text) <= least:
        assert shown == text
    else:
        assert shown == f"{text[:least]}… [{len(text) - least} characters cut]"


def test_long_conversations_keep_their_beginning_and_their_end() -> None:
    said = [ChatMessage(role="user", content=str(n)) for n in range(MOST_MESSAGES + 5)]
    told = dict(attributes_of({"input_messages": said, "model": "m", "nothing": None}))
    assert told.pop("acdc.messages_cut") == 5
    assert told.pop("llm.model_name") == "m"
    contents = [value for key, value in told.items() if key.endswith("content")]
    half = MOST_MESSAGES // 2
    assert contents == [message.content for message in said[:half] + said[-half:]]


def test_spans_that_end_inside_a_transaction_wait_for_its_end(
    store: RunStore, folder: Path
) -> None:
    with tracing(folder), span("phase", "selection"):
        with store.once("selection", 1):
            for _ in range(3):
                with span("grade", "vote"):
                    store.put_meta("inside", 1)
        assert store.spans() == []
        with span("grade", "last"):
            pass
        assert len(store.spans("grade")) == 4
    assert len(store.spans("phase")) == 1


def test_ended_spans_outlive_a_kill(
    folder: Path, spawn: Callable[[str], subprocess.Popen[str]]
) -> None:
    child = spawn(
        "from memory.spans import span, tracing\n"
        "with tracing(Path(sys.argv[1])), span('phase', 'open'):\n"
        "    with span('phase', 'ended'): pass\n"
        "    print('ready')\n"
        "    time.sleep(60)\n"
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.kill()
    child.wait()
    with RunStore.open(folder) as store:
        assert [found.name for found in store.spans()] == ["ended"]


@pytest.fixture
def collector() -> Iterator[tuple[str, list[str]]]:
    """A real OTLP collector: its URL, and the names of the spans that it gets."""
    names: list[str] = []
    got = threading.Event()

    class Service(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(
            self,
            request: trace_service_pb2.ExportTraceServiceRequest,
            context: grpc.ServicerContext,
        ) -> trace_service_pb2.ExportTraceServiceResponse:
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    names.extend(found.name for found in scope.spans)
            got.set()
            return trace_service_pb2.ExportTraceServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(1))
    attach = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    attach(Service(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}", names
    server.stop(None)


def test_a_collector_gets_the_spans_too(
    store: RunStore,
    folder: Path,
    collector: tuple[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, names = collector
    monkeypatch.setenv(f"{OTLP}ENDPOINT", url)
    with tracing(folder), span("phase", "judge"), span("llm", "propose"):
        pass
    assert sorted(names) == ["judge", "propose"]
    assert len(store.spans()) == 2


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("http/protobuf", r"pip install -e '\.\[otlp\]', or unset it"),
        ("smoke-signals", "use http/protobuf or grpc"),
    ],
)
def test_an_export_that_cannot_work_is_refused_at_the_start(
    store: RunStore,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
    message: str,
) -> None:
    monkeypatch.setenv(f"{OTLP}ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setenv(f"{OTLP}PROTOCOL", protocol)
    # As if the package were not installed, whether it is or not.
    missing = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(TracingError, match=message), tracing(folder):
        pass
