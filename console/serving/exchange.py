"""One request and what came of it: for its headers, its line in the log, and the metrics."""

from __future__ import annotations

import re
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Scope

from agents.task_force.collective import CollectiveAnswer

REQUEST_HEADER, RUN_HEADER = "x-request-id", "x-acdc-run"
PATHS = frozenset(
    {
        "/health",
        "/metrics",
        "/v1/models",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
    }
)
_VERBS = frozenset({"GET", "HEAD", "POST"})
_SANE = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass
class Exchange:
    """One request.

    Attributes:
        id: the client's own where it is one, else made here.
        route: one of the server's paths, or `other`: never what a client made up.
        verb: HTTP method, or `other`.
        model: who was asked, once it is known that there is such a model.
        status: of the response; of an error in a stream that had begun, that error's.
        complete: whether the response was sent to its end.
        questions: what was asked, choice by choice.
        answers: what was answered and chosen, in the order in which it was made.
    """

    id: str
    route: str
    verb: str
    model: str | None = None
    status: int = 0
    complete: bool = False
    questions: list[str] = field(default_factory=list)
    answers: list[CollectiveAnswer] = field(default_factory=list)
    _begun: float = field(default_factory=time.perf_counter)

    @classmethod
    def of(cls, scope: Scope, given: str | None) -> Exchange:
        """A request that has just come, with the `x-request-id` that it brings."""
        own = given if given is not None and _SANE.fullmatch(given) else None
        verb = scope["method"]
        return cls(
            id=own or secrets.token_hex(16),
            route=_route(scope["path"]),
            verb=verb if verb in _VERBS else "other",
        )

    @property
    def seconds(self) -> float:
        """Wall clock since it came."""
        return time.perf_counter() - self._begun

    def tokens(self) -> dict[str, Counter[str]]:
        """Expert -> tokens `in` and `out`, of every voice that was asked."""
        found: dict[str, Counter[str]] = {}
        for said in (said for answer in self.answers for said in answer.answers):
            found.setdefault(said.expert, Counter()).update(
                {"in": said.tokens_in, "out": said.tokens}
            )
        return found

    def as_fields(self, *, texts: bool) -> dict[str, Any]:
        """What the log says of it.

        Args:
            texts: whether questions and replies are told, too.
        """
        tokens = self.tokens()
        told = {
            "request": self.id,
            "route": self.route,
            "verb": self.verb,
            "status": self.status,
            "seconds": round(self.seconds, 4),
            "complete": self.complete,
            "model": self.model,
            "method": sorted({answer.method for answer in self.answers if answer.voices > 1}),
            "expert": [answer.chosen for answer in self.answers],
            "agreement": [round(answer.agreement, 4) for answer in self.answers],
            "tokens_in": sum(count["in"] for count in tokens.values()),
            "tokens_out": sum(count["out"] for count in tokens.values()),
            "tokens": {expert: dict(count) for expert, count in tokens.items()},
        }
        if texts:
            told["questions"] = self.questions
            told["replies"] = [answer.answers[answer.winner].text for answer in self.answers]
        return told


def _route(path: str) -> str:
    if path in PATHS:
        return path
    return "/v1/models/{name}" if path.startswith("/v1/models/") else "other"
