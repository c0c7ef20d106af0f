"""What the server counts, as Prometheus reads it at /metrics.

Labels are names that the server knows: its paths, its methods, the experts of its force. What a
client makes up becomes none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from console.serving.exchange import Exchange
from console.serving.queue import Seats

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_SHARES = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)


class Meters:
    """The metrics of one server.

    Args:
        seats: the queue.
        swaps: how often an expert was swapped for another one so far.
    """

    def __init__(self, seats: Seats, swaps: Callable[[], int]) -> None:
        self._registry = own = CollectorRegistry()
        self._requests = Counter(
            "acdc_requests",
            "Requests answered or refused.",
            ("route", "method", "status"),
            registry=own,
        )
        self._seconds = Histogram(
            "acdc_request_seconds",
            "From a request to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=own,
        )
        self._tokens = Counter(
            "acdc_tokens",
            "Tokens that an expert read or wrote.",
            ("expert", "direction"),
            registry=own,
        )
        self._chosen = Counter(
            "acdc_choices",
            "Answers chosen out of N, by method and by whose they are.",
            ("method", "expert"),
            registry=own,
        )
        self._agreement = Histogram(
            "acdc_agreement",
            "Share of the asked voices that gave the chosen answer.",
            ("method",),
            buckets=_SHARES,
            registry=own,
        )
        self._voices = Counter(
            "acdc_voices",
            "Voices of the force, asked or spared by an early agreement.",
            ("asked",),
            registry=own,
        )
        waiting = "Requests accepted and not answered yet."
        Gauge("acdc_queue_length", waiting, registry=own).set_function(lambda: seats.taken)
        Gauge("acdc_queue_limit", "Requests that may wait.", registry=own).set(seats.limit)
        self._registry.register(_Swaps(swaps))

    def note(self, exchange: Exchange) -> None:
        """Count a request that has ended."""
        self._requests.labels(exchange.route, exchange.verb, str(exchange.status)).inc()
        self._seconds.labels(exchange.route).observe(exchange.seconds)
        for expert, counts in exchange.tokens().items():
            for direction, count in counts.items():
                self._tokens.labels(expert, direction).inc(count)
        for answer in exchange.answers:
            if answer.voices > 1:
                self._chosen.labels(answer.method, answer.chosen).inc()
                self._agreement.labels(answer.method).observe(answer.agreement)
                self._voices.labels("yes").inc(len(answer.answers))
                self._voices.labels("no").inc(answer.voices - len(answer.answers))

    def page(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that a client accepts, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class _Swaps(Collector):
    """Read off the broker, which counts them."""

    def __init__(self, swaps: Callable[[], int]) -> None:
        self._swaps = swaps

    def collect(self) -> Iterator[Metric]:
        """The one metric."""
        said = "Experts swapped into an engine in place of another."
        yield CounterMetricFamily("acdc_swaps", said, value=self._swaps())
