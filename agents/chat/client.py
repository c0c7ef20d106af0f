"""The one chat client of all agents: cached, budgeted, limited, and written down in full."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import cast
from weakref import WeakValueDictionary

import httpx

from agents.chat.attempts import Answered, Endpoint
from agents.chat.budget import Budget, CallsUnderWay
from agents.chat.check import EndpointCheck, check
from agents.chat.connection import Connections
from agents.chat.dialect import EndpointRequest
from agents.chat.endpoints import EndpointsSettings
from agents.chat.structured import Completion, T, completion_of, response_schema
from agents.errors import BudgetExhausted, ContextLengthError, EndpointError
from memory.records import Call, ChatMessage, Role
from memory.spans import OpenSpan, span
from memory.store import RunStore
from prompts import PromptLibrary, Rendered

log = logging.getLogger("acdc.chat")


@dataclass(frozen=True, slots=True)
class Place:
    """What a call is made for; it is found again by this and by all that is sent.

    Attributes:
        assignment: of a scientist, or what else the call belongs to.
        round: of the assignment.
        sample: number of the answer, where a question is asked several times.
        seed: for the server's sampling, where it takes one.
    """

    assignment: str | None
    round: int = 0
    sample: int = 0
    seed: int | None = None


class ChatClient:
    """Asks the models behind the agents' roles.

    Every call is recorded with its transcript in the run store and found again by everything that
    it depends on, so a resumed run repeats no call that has succeeded.
    """

    def __init__(
        self,
        settings: EndpointsSettings,
        store: RunStore,
        prompts: PromptLibrary | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Prepare the client; connections are opened at their first use.

        Args:
            settings: endpoints and budgets by role.
            store: the run store, for cache, transcripts and what the budgets have left.
            prompts: what models are asked; those of this package if None.
            transport: what answers for the roles whose base_url is "offline".
        """
        self._settings = settings
        self._store = store
        self.prompts = prompts or PromptLibrary()
        self._connections = Connections(transport)
        self._budgets: dict[Role, Budget] = {}
        self._under_way = CallsUnderWay()
        self._sent: set[str] = set()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def ask(
        self,
        prompt: str,
        place: Place,
        variables: Mapping[str, object],
        reply: type[T] | None = None,
        *,
        before: Sequence[ChatMessage] = (),
    ) -> Completion[T]:
        """Ask with a prompt of the library, which says whose model is asked.

        Args:
            prompt: its name.
            place: what the call is made for.
            variables: of the prompt.
            reply: the object that the prompt asks for; None for free text.
            before: the conversation that it goes on with.

        Raises:
            EndpointError, ContextLengthError, BudgetExhausted: as `complete`.
            PromptError: the prompt does not take these variables.
        """
        asked = self.prompts.prompt(prompt)
        wanted = reply.__name__ if reply is not None else None
        if wanted != asked.schema:
            raise AssertionError(f"prompt {prompt!r} asks for {asked.schema}, not for {wanted}")
        rendered = self.prompts.render(prompt, **variables)
        return await self.complete(
            cast(Role, self.prompts.role(prompt)),
            prompt,
            [*before, *messages_of(rendered)],
            reply,
            assignment=place.assignment,
            round=place.round,
            sample=place.sample,
            seed=place.seed,
            prompt_hash=rendered.hash,
        )

    async def complete(
        self,
        role: Role,
        purpose: str,
        messages: Sequence[ChatMessage],
        schema: type[T] | None,
        *,
        assignment: str | None,
        round: int = 0,
        sample: int = 0,
        seed: int | None = None,
        prompt_hash: str = "",
    ) -> Completion[T]:
        """Ask the model of a role; a call that was answered before is not sent again.

        Args:
            role: whose endpoint and budget.
            purpose: `propose`, `critique`, ...; part of the cache key.
            messages: the conversation.
            schema: the object that is wanted, None for free text.
            assignment: what the call is made for; part of the cache key, as are the next two.
            round: of the assignment.
            sample: number of the answer, where a question is asked several times.
            seed: for the server's sampling, where it takes one.
            prompt_hash: of the prompt file, kept with the transcript.

        Raises:
            EndpointError: if the endpoint fails or refuses.
            ContextLengthError: if the conversation is too long for the model.
            BudgetExhausted: if the role may not call any more.
        """
        request = self._request(role, messages, schema, seed)
        key = request.key(place=[role, purpose, assignment, round, sample])
        blank = Call(
            key=key,
            role=role,
            purpose=purpose,
            model=request.model,
            endpoint=self._settings.of(role).base_url,
            assignment=assignment,
            round=round,
            messages=request.messages,
            response=None,
            prompt_hash=prompt_hash,
        )
        async with self._locks.setdefault(key, asyncio.Lock()):
            call = self._store.call(key)
            if call is None:
                call = await self._run(blank, request)
                self._sent.add(key)
            else:
                with _span_of(blank, request, replayed=True):
                    self._store.count_cached(key)
        return completion_of(call, schema, replayed=key not in self._sent)

    def begin_session(self) -> None:
        """From here on, all that is on record counts as replayed, and servers are asked anew.

        A new client begins so, too.
        """
        self._sent.clear()
        self._connections.try_again()

    def model(self, role: Role) -> str:
        """The name of the model behind a role."""
        return self._settings.of(role).model

    async def check(self, role: Role) -> EndpointCheck:
        """Ask the role's endpoint for one token; not recorded, and outside the budget.

        Raises:
            EndpointError, ContextLengthError: as `complete`, but sooner.
        """
        with span("step", "endpoint check", role=role):
            return await check(role, self._settings.of(role), self._connections)

    async def raise_if_down(self, error: EndpointError) -> None:
        """Tell a server that is down from one that fails at a single conversation.

        The role's endpoint is asked for one token. If it gives it, that conversation is at fault
        and the caller may give it up; if not, nothing else would be answered either.

        Raises:
            EndpointError: the given one, if the endpoint does not answer now.
        """
        settings = self._settings.of(error.role)
        connection = self._connections.get(error.role, settings)
        # All attempts failed: whether it is down was found out then.
        refused = not error.transient and not await self._gives_a_token(error.role)
        if refused or connection.circuit.error is not None:
            raise error from None

    async def close(self) -> None:
        """Close all connections."""
        await self._connections.close()

    def _request(
        self,
        role: Role,
        messages: Sequence[ChatMessage],
        schema: type[T] | None,
        seed: int | None,
    ) -> EndpointRequest:
        settings = self._settings.of(role)
        wanted, strict = response_schema(schema) if schema is not None else (None, False)
        return EndpointRequest(
            model=settings.model,
            messages=tuple(messages),
            sampling=settings.sampling(),
            seed=seed if settings.send_seed else None,
            schema_name=schema.__name__ if schema is not None else "",
            schema=wanted,
            strict=strict,
        )

    async def _run(self, blank: Call, request: EndpointRequest) -> Call:
        """Make the call, within its budget and its endpoint's limit, and record it."""
        role, settings = blank.role, self._settings.of(blank.role)
        connection, budget = self._connections.get(role, settings), self._budget(role)
        endpoint = Endpoint(role, settings, connection, budget)
        async with connection.slots:
            endpoint.refuse_if_down()
            try:
                budget.admit()
                with self._under_way.one_more():
                    call = await self._send(endpoint, blank, request)
            except BudgetExhausted:
                # The caller cancels the other agents: what their calls cost would not be recorded.
                await self._under_way.ended()
                raise
            except EndpointError as error:
                # In its place among the calls, so that no other begins before this is known.
                await self._look(endpoint, error)
                raise
            connection.circuit.close()
            return call

    async def _look(self, endpoint: Endpoint, error: EndpointError) -> None:
        """Find out whether the server is down; calls that fail together find out once."""
        circuit = endpoint.connection.circuit
        async with circuit.looking:
            if circuit.error is not None:
                return
            circuit.failed(error)
            if error.transient and not await self._gives_a_token(error.role):
                circuit.open(error)

    async def _gives_a_token(self, role: Role) -> bool:
        try:
            await self.check(role)
        except (EndpointError, ContextLengthError):
            return False
        return True

    async def _send(self, endpoint: Endpoint, blank: Call, request: EndpointRequest) -> Call:
        begun = time.monotonic()
        try:
            answered = await _traced(endpoint, blank, request)
        except (EndpointError, ContextLengthError, BudgetExhausted) as error:
            self._record(self._failed(blank, error), time.monotonic() - begun)
            raise
        reply = answered.reply
        replied = {
            "response": reply.text,
            "reasoning": reply.reasoning,
            "finish_reason": reply.finish_reason,
            "tokens_in": reply.tokens_in,
            "tokens_out": reply.tokens_out,
            "attempts": answered.attempts,
            "refused": answered.refused,
        }
        return self._record(blank.model_copy(update=replied), time.monotonic() - begun)

    def _failed(
        self, blank: Call, error: EndpointError | ContextLengthError | BudgetExhausted
    ) -> Call:
        """Failures get keys of their own: the next run tries again, and each one is kept."""
        number = 1
        while self._store.call(f"{blank.key}-failed-{number}") is not None:
            number += 1
        failed = {
            "key": f"{blank.key}-failed-{number}",
            "error": str(error),
            "attempts": error.attempts,
        }
        return blank.model_copy(update=failed)

    def _record(self, call: Call, seconds: float) -> Call:
        call = call.model_copy(update={"seconds": seconds})
        self._store.put_call(call)
        self._budget(call.role).spend(call.tokens_in + call.tokens_out, seconds)
        log.info(
            "%s %s: %s, %d + %d tokens, %.1f s, %d attempts",
            call.role,
            call.purpose,
            call.finish_reason if call.error is None else "failed",
            call.tokens_in,
            call.tokens_out,
            seconds,
            call.attempts,
        )
        return call

    def _budget(self, role: Role) -> Budget:
        if role not in self._budgets:
            limits = self._settings.of(role).budget
            self._budgets[role] = Budget.resume(role, limits, self._store)
        return self._budgets[role]


async def _traced(endpoint: Endpoint, blank: Call, request: EndpointRequest) -> Answered:
    """Ask within a span that names the call."""
    asked = request.messages[-1].content if request.messages else None
    with _span_of(
        blank,
        request,
        parameters=dict(request.sampling),
        input=asked,
        input_messages=request.messages,
    ) as work:
        answered = await endpoint.ask(request)
        reply, refused = answered.reply, ", ".join(answered.refused)
        said = ChatMessage(role="assistant", content=reply.text)
        work.set(
            output=reply.text,
            output_messages=[said],
            tokens_in=reply.tokens_in,
            tokens_out=reply.tokens_out,
            tokens=reply.tokens_in + reply.tokens_out,
            cost=endpoint.settings.cost(reply.tokens_in, reply.tokens_out),
            attempts=answered.attempts,
            refused=refused or None,
        )
    return answered


def _span_of(
    blank: Call, request: EndpointRequest, **attributes: object
) -> AbstractContextManager[OpenSpan]:
    """The span of a call, also of one that is found on record: `replayed`, and no tokens."""
    return span(
        "llm",
        blank.purpose,
        model=request.model,
        role=blank.role,
        call=blank.key,
        assignment=blank.assignment,
        round=blank.round,
        **attributes,
    )


def messages_of(rendered: Rendered) -> list[ChatMessage]:
    """A rendered prompt as a conversation."""
    return [ChatMessage(role=role, content=content) for role, content in rendered.messages]
