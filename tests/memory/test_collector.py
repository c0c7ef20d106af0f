"""A collector that does not take spans is reported once, with its reason."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from memory.spans import span, tracing
from memory.store import RunStore
from tests.otlp_receiver import receiver


class _Refusing(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output clean."""


@pytest.fixture
def refusing() -> Iterator[str]:
    """The URL, with a password, of a server that takes nothing."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://somebody:secret@127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_collector_that_refuses_is_reported_once_and_ends_nothing(
    store: RunStore,
    folder: Path,
    refusing: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", refusing)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    with tracing(folder):
        for name in ("judge", "selection"):
            with span("phase", name):
                pass
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    said = record.getMessage()
    assert "kept in run.db alone" in said
    assert "401" in said
    assert "secret" not in said
    assert [found.name for found in store.spans()] == ["judge", "selection"]


def test_another_run_after_it_is_heard_again(
    store: RunStore, folder: Path, refusing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporters = logging.getLogger("opentelemetry.exporter.otlp.proto.http")
    before = exporters.propagate, list(exporters.handlers)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", refusing)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    with tracing(folder), span("phase", "judge"):
        pass
    assert (exporters.propagate, exporters.handlers) == before


def test_a_collector_is_told_the_run_and_what_went_well(
    store: RunStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        with tracing(folder, run="mine"):
            with span("phase", "judge"):
                pass
            with pytest.raises(ValueError, match="no"), span("phase", "report"):
                raise ValueError("no")
    assert b"openinference.project.name" in server.raw
    assert b"mine" in server.raw
    states = {found.name: (found.succeeded, found.error) for found in server.spans}
    assert states == {"judge": (True, ""), "report": (False, "ValueError: no")}
