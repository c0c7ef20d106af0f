"""Spans: every piece of work with its beginning and end, made by the OpenTelemetry SDK.

Each node, agent turn, LLM call, gate, sandbox run, examination, grading, swap, merge, child and
decision is a span:

    with span("llm", "propose", model="qwen", input_messages=messages) as work:
        ...
        work.set(output=text, tokens_in=812, tokens_out=64)

Spans know the one around them, so what one assignment caused is a tree. They go to `run.db` as
soon as they end and, where `OTEL_EXPORTER_OTLP_ENDPOINT` is set, to that collector too; `run.db`
keeps less of long texts. Without `tracing` around it, `span` costs nothing and keeps nothing.
Names, kinds and lengths: `memory.openinference`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import INVALID_SPAN, Span, SpanContext, Status, StatusCode, Tracer

from memory.collector import otlp_exporter
from memory.openinference import (
    KIND,
    KINDS,
    LONGEST,
    LONGEST_KEPT,
    OPENINFERENCE_KIND,
    PASSED_ON,
    SpanKind,
    attributes_of,
    cut,
    described,
)
from memory.store.database import BUSY_SECONDS, DATABASE, connect, run_folder
from memory.store.journal import StoredSpan, insert_spans
from memory.waits import Waits


@dataclass(frozen=True, slots=True)
class _Tracing:
    """Where spans are made, and what none of them may hold.

    Attributes:
        concealed: text -> what stands for it.
        waits: which spans are open.
    """

    tracer: Tracer
    concealed: Mapping[str, str]
    waits: Waits

    def said(self, text: str) -> str:
        """A text as it may leave this process."""
        for hidden, shown in self.concealed.items():
            text = text.replace(hidden, shown)
        return cut(text, LONGEST)


_tracing: ContextVar[_Tracing | None] = ContextVar("acdc_tracing", default=None)


class OpenSpan:
    """The open span, to add what is known only later."""

    def __init__(self, span: Span = INVALID_SPAN, within: _Tracing | None = None) -> None:
        """Wrap an OpenTelemetry span; without one, everything is dropped."""
        self._span = span
        self._within = within
        self._failed = False

    def set(self, **attributes: object) -> None:
        """Add attributes: those of `span`, or any other name; None is left out."""
        if self._within is None:
            return
        for key, value in attributes_of(attributes):
            said = self._within.said(value) if isinstance(value, str) else value
            self._span.set_attribute(key, said)

    def succeed(self) -> None:
        """Note that the work went well, unless it is noted what ended it early."""
        if self._within is not None and not self._failed:
            self._span.set_status(Status(StatusCode.OK))

    def fail(self, error: BaseException) -> None:
        """Note what ended the work early."""
        if self._within is not None:
            self._failed = True
            why = self._within.said(f"{type(error).__name__}: {error}")
            self._span.set_status(Status(StatusCode.ERROR, why))


@contextmanager
def span(kind: SpanKind, name: str, **attributes: object) -> Iterator[OpenSpan]:
    """A span around some work; an exception passes through and is noted as its error.

    Args:
        kind: what sort of work.
        name: what exactly, as in `propose`; for phases, the name that is summed.
        **attributes: `model`, `input`, `output`, `tokens_in`, `tokens_out`, ... or any other name.
    """
    within = _tracing.get()
    if within is None:
        yield OpenSpan()
        return
    marks = {KIND: kind, OPENINFERENCE_KIND: KINDS[kind]}
    # A recorded exception would carry a traceback, and with it the paths of this machine.
    with within.tracer.start_as_current_span(
        name, attributes=marks, record_exception=False, set_status_on_exception=False
    ) as inner:
        work = OpenSpan(inner, within)
        work.set(**attributes)
        own = _id(inner.get_span_context())
        around = inner.parent if isinstance(inner, ReadableSpan) else None
        outer = None if around is None else _id(around)
        given = {**within.waits.about(outer), **attributes}
        about = {key: given[key] for key in PASSED_ON if given.get(key) is not None}
        within.waits.begin(own, within.said(described(kind, name, given)), outer, about)
        try:
            yield work
            work.succeed()
        except BaseException as error:
            work.fail(error)
            raise
        finally:
            within.waits.end(own)


@contextmanager
def tracing(
    folder: Path, *, run: str | None = None, secrets: Sequence[str] = ()
) -> Iterator[Waits]:
    """Keep the spans that are made inside, in this task and the ones that it starts.

    Args:
        folder: the run folder (or the `run.db` within it); its store has to be open for
            writing, by the same process.
        run: name of the run in exported spans; that of the folder by default.
        secrets: texts that no span may hold, such as the keys of endpoints. The path of the
            folder is left out by itself.

    Yields:
        Which of the spans are open.

    Raises:
        TracingError: if export is asked for and its package is not installed.
    """
    folder = run_folder(folder)
    otlp = otlp_exporter(os.environ)
    name = run or folder.name
    provider = TracerProvider(
        # Not what OTEL_TRACES_SAMPLER says: the seconds of the phases are summed from spans.
        sampler=ALWAYS_ON,
        resource=Resource.create(
            # The last is where Phoenix shows them: one project for each run.
            {"service.name": "acdc", "acdc.run": name, "openinference.project.name": name}
        ),
        # The caller shuts it down; a handler at exit would keep it alive for good.
        shutdown_on_exit=False,
    )
    provider.add_span_processor(SimpleSpanProcessor(RunSpanExporter(folder)))
    if otlp is not None:
        provider.add_span_processor(BatchSpanProcessor(otlp))
    outer = _tracing.get()
    concealed = {str(folder): ".", **{secret: "[concealed]" for secret in secrets if secret}}
    waits = Waits()
    _tracing.set(_Tracing(provider.get_tracer("acdc"), concealed, waits))
    try:
        yield waits
    finally:
        # Not by a token: an exit stack may be unwound in another context than it was filled in.
        _tracing.set(outer)
        provider.shutdown()


class RunSpanExporter(SpanExporter):
    """Writes ended spans to `run.db`, through a connection of its own.

    A span that ends while the store is in a transaction cannot be written: waiting for it would be
    a deadlock, as both run in the same thread. It is kept, and written with the next one.
    """

    def __init__(self, folder: Path) -> None:
        """Open the connection; the store has made the tables."""
        self._connection = connect(folder / DATABASE, busy_seconds=0)
        self._pending: list[StoredSpan] = []
        self._mutex = threading.Lock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write these spans and those that are waiting."""
        with self._mutex:
            self._pending += [_stored(span) for span in spans]
            return self._flush()

    def shutdown(self) -> None:
        """Write what is waiting, now with patience, and close."""
        with self._mutex:
            self._connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
            self._flush()
            self._connection.close()

    def _flush(self) -> SpanExportResult:
        if not self._pending:
            return SpanExportResult.SUCCESS
        try:
            insert_spans(self._connection, self._pending)
        except sqlite3.OperationalError:
            # Busy, or the disk is full: the store itself reports the latter, with what to do.
            return SpanExportResult.FAILURE
        self._pending = []
        return SpanExportResult.SUCCESS


def _id(context: SpanContext) -> str:
    return f"{context.span_id:016x}"


def _stored(span: ReadableSpan) -> StoredSpan:
    """A span as it is kept, with less of its texts."""
    attributes = dict(span.attributes or {})
    failed = span.status.status_code is StatusCode.ERROR
    context, parent = span.get_span_context(), span.parent
    assert context is not None
    return StoredSpan(
        id=_id(context),
        trace=f"{context.trace_id:032x}",
        parent=None if parent is None else _id(parent),
        kind=str(attributes.pop(KIND, "other")),
        name=span.name,
        started_ns=span.start_time or 0,
        ended_ns=span.end_time or span.start_time or 0,
        error=cut(span.status.description or "error", LONGEST_KEPT) if failed else None,
        attributes={
            key: value if isinstance(value, bool | int | float) else cut(str(value), LONGEST_KEPT)
            for key, value in attributes.items()
        },
    )
