"""A real OTLP receiver over HTTP: what a run exports, as a collector gets it."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2


@dataclass(frozen=True)
class Received:
    """A span as it was received; times in nanoseconds."""

    id: bytes
    parent: bytes
    trace: bytes
    name: str
    began: int
    ended: int
    error: str
    succeeded: bool
    attributes: dict[str, Any] = field(hash=False)

    @property
    def kind(self) -> str:
        """Ours, as in `llm`."""
        return str(self.attributes["acdc.kind"])


class Receiver(ThreadingHTTPServer):
    """Takes `POST /v1/traces`, compressed or not."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Received] = []
        self.raw = b""

    @property
    def url(self) -> str:
        """For `OTEL_EXPORTER_OTLP_ENDPOINT`."""
        return f"http://127.0.0.1:{self.server_port}"

    def take(self, body: bytes) -> None:
        """One export."""
        self.raw += body
        request = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += map(_received, scope.spans)


def _received(span: Any) -> Received:
    values = {each.key: each.value for each in span.attributes}
    return Received(
        id=span.span_id,
        parent=span.parent_span_id,
        trace=span.trace_id,
        name=span.name,
        began=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        error=span.status.message,
        succeeded=span.status.code == trace_pb2.Status.STATUS_CODE_OK,
        attributes={key: getattr(v, v.WhichOneof("value")) for key, v in values.items()},
    )


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        assert self.path == "/v1/traces"
        self.server.take(body)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output clean."""


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver that takes exports until the end."""
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
