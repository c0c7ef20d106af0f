"""A real server in this process, in front of experts that wait for us."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal, cast

import httpx

from agents.config import RunConfig
from agents.context import RunContext
from agents.task_force.ballot import CandidateAnswer
from agents.task_force.collective import Collective, CollectiveAnswer, Manner
from agents.task_force.methods import Aids, method_named
from agents.task_force.roster import Roster
from console.serving.address import listen
from console.serving.door import uvicorn_config
from console.serving.guard import Guard
from console.serving.meters import Meters
from console.serving.observed import Observed
from console.serving.queue import Seats
from console.serving.routes import build_app
from console.serving.server import DrainingServer, url_of
from evolution.engines.settings import EngineSettings
from evolution.errors import EngineError
from memory.records import ChatMessage

EngineKind = Literal["transformers", "vllm"]


class Context:
    """As much of a run as the routes look at."""

    def __init__(self, engine: EngineKind) -> None:
        self.config = RunConfig(engine=EngineSettings(kind=engine))

    def render_question(self, instructions: str) -> list[ChatMessage]:
        return [ChatMessage(role="user", content=instructions)]


class Waiting(Collective):
    """Says what it was asked, when it is allowed to."""

    def __init__(self, context: Context) -> None:
        super().__init__(cast(RunContext, context), [], method_named("majority"), Aids())
        self.constrained: list[str | None] = []
        self.go = asyncio.Event()
        self.begun: list[str] = []
        self.cancelled: list[str] = []

    async def answer(
        self,
        question: str,
        chat: list[ChatMessage],
        manner: Manner,
        seed: int = 0,
        stop: Sequence[str] = (),
        tokens: bool = False,
        patience: float | None = None,
    ) -> CollectiveAnswer:
        self.begun.append(question)
        self.constrained.append(manner.json_schema)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.append(question)
            raise
        if question == "fail":
            raise EngineError("the engine is gone")
        said = CandidateAnswer("alpha", question, question, 1, tokens_in=1)
        return CollectiveAnswer(question, "alpha", 0, "majority", 1.0, (said,), (1.0,), (), 0.0)


class Place:
    """A server in this process."""

    def __init__(
        self,
        queue: int,
        token: str | None = None,
        texts: bool = False,
        engine: EngineKind = "transformers",
    ) -> None:
        context = Context(engine)
        self.voice = Waiting(context)
        self.seats = Seats(queue)
        roster = Roster({"acdc": self.voice}, {})
        meters = Meters(self.seats, lambda: 5)
        app = build_app(cast(RunContext, context), roster, self.seats, Manner(8), "run-7", meters)
        self.listener = listen("127.0.0.1", 0)
        self.ready = asyncio.Event()
        guarded = Guard(app, self.seats, token, 1000)
        config = uvicorn_config(Observed(guarded, meters, "run-7", texts))
        self.server = DrainingServer(config, self.seats, self.ready.set)
        self.url = url_of(self.listener)
        self.running = asyncio.create_task(self.server.serve([self.listener]))

    def ask(self, question: str = "one", **more: Any) -> asyncio.Task[httpx.Response]:
        return asyncio.create_task(self._ask(question, more))

    async def _ask(self, question: str, more: dict[str, Any]) -> httpx.Response:
        options = {name: more.pop(name) for name in ("headers", "timeout") if name in more}
        body = {"model": "acdc", "messages": [{"role": "user", "content": question}], **more}
        async with httpx.AsyncClient(timeout=30) as client:
            return await client.post(f"{self.url}/chat/completions", json=body, **options)

    async def until_begun(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.voice.begun) < count:
                await asyncio.sleep(0.005)

    async def until_empty(self) -> None:
        async with asyncio.timeout(30):
            while self.seats.taken:
                await asyncio.sleep(0.005)

    async def end(self) -> None:
        self.voice.go.set()
        self.server.should_exit = True
        await self.running
        self.listener.close()
