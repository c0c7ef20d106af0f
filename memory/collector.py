"""Where spans go besides `run.db`: a collector of OpenTelemetry, as the standard variables say.

What is sent is a copy. A collector that cannot be reached, or refuses what it gets, is reported
once and ends nothing; the exporter itself would report each attempt of each batch.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from memory.errors import TracingError

_GENERAL = "OTEL_EXPORTER_OTLP_"
_log = logging.getLogger(__name__)


def otlp_exporter(environment: Mapping[str, str]) -> SpanExporter | None:
    """The exporter that the standard OTEL_* variables ask for, None if they ask for none.

    Raises:
        TracingError: they ask for one that there is not, or that is not installed.
    """
    endpoint = environment.get(f"{_GENERAL}TRACES_ENDPOINT") or environment.get(
        f"{_GENERAL}ENDPOINT"
    )
    if not endpoint:
        return None
    stated = environment.get(f"{_GENERAL}TRACES_PROTOCOL") or environment.get(f"{_GENERAL}PROTOCOL")
    where = urlsplit(endpoint)
    # 4318 is the registered port of OTLP over HTTP, 4317 that of gRPC.
    protocol = stated or ("http/protobuf" if where.port == 4318 else "grpc")
    short = {"http/protobuf": "http", "grpc": "grpc"}.get(protocol)
    if short is None:
        raise TracingError(f"{_GENERAL}PROTOCOL is {protocol}: use http/protobuf or grpc")
    package = f"opentelemetry.exporter.otlp.proto.{short}"
    try:
        exporters = importlib.import_module(f"{package}.trace_exporter")
    except ModuleNotFoundError as error:
        raise TracingError(
            f"{_GENERAL}ENDPOINT is set, and the exporter is not installed: pip install -e "
            "'.[otlp]', or unset it"
        ) from error
    # Without a name or password that the URL may hold.
    place = f"{where.hostname}:{where.port}" if where.port else str(where.hostname)
    return CollectorExporter(exporters.OTLPSpanExporter(), package, f"{place} ({protocol})")


class CollectorExporter(SpanExporter):
    """Sends spans on; says once that it cannot.

    Args:
        exporter: which sends them.
        package: whose loggers it uses.
        place: the collector, for people.
    """

    def __init__(self, exporter: SpanExporter, package: str, place: str) -> None:
        self._exporter = exporter
        self._place = place
        self._reported = False
        self._heard = _Heard()
        self._logger = logging.getLogger(package)
        self._propagated = self._logger.propagate
        self._logger.propagate = False
        self._logger.addHandler(self._heard)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; of one that fails, the exporter knows why only in its log."""
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS and not self._reported:
            self._reported = True
            _log.warning(
                "spans do not reach the collector at %s, and are kept in run.db alone: %s",
                self._place,
                self._heard.why or "it gave no reason",
            )
        return result

    def shutdown(self) -> None:
        """Close it."""
        self._exporter.shutdown()
        self._logger.removeHandler(self._heard)
        self._logger.propagate = self._propagated

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        return self._exporter.force_flush(timeout_millis)


class _Heard(logging.Handler):
    """Remembers what the exporter logged: the first reason that it gave."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.why = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the first one: later ones say that it gave up."""
        self.why = self.why or record.getMessage()
