"""One question to an endpoint: attempts, plainer requests, at last an error with advice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_exponential_jitter,
)

from agents.chat.budget import Budget
from agents.chat.connection import Connection
from agents.chat.dialect import Dialect, EndpointRequest
from agents.chat.endpoints import EndpointSettings
from agents.chat.failures import RefusedRequest, TransientFailure
from agents.chat.replies import CUT_OFF, ModelReply
from agents.errors import ChatError, ContextLengthError, EndpointError
from memory.records import Role

log = logging.getLogger("acdc.chat")

_SHOWN_MODELS = 10


@dataclass(frozen=True, slots=True)
class Answered:
    """What an endpoint said in the end.

    Attributes:
        attempts: how many it took; what is asked more plainly at once is the same attempt.
        refused: what of the request the server does not take, so that it was asked without.
    """

    reply: ModelReply
    attempts: int
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A role's way to its model: the shared connection and the role's own settings.

    Attributes:
        budget: that attempts beyond the first are counted in; None counts none.
    """

    role: Role
    settings: EndpointSettings
    connection: Connection
    budget: Budget | None = None

    def refuse_if_down(self) -> None:
        """Send nothing to a server that is known to be down.

        Raises:
            EndpointError: it is.
        """
        error = self.connection.circuit.error
        if error is not None:
            raise self._error(
                f"{error.detail}; it is down, and not asked again",
                "check that the server is up and that base_url is right, then run again",
                error.attempts,
                transient=True,
            )

    async def ask(self, request: EndpointRequest) -> Answered:
        """Ask until there is a reply.

        Raises:
            EndpointError: if the server refuses, or fails in all attempts.
            ContextLengthError: if the conversation is too long for the model.
            BudgetExhausted: if the budget leaves no other attempt.
        """
        retrying = self._retrying()
        try:
            return await self._answer(request, retrying)
        except RefusedRequest as refused:
            raise await self._refusal(refused, _attempts(retrying)) from None

    async def probe(self, request: EndpointRequest) -> None:
        """Ask for next to nothing; a server that says that this is too little is there, too.

        Raises:
            EndpointError, ContextLengthError: as `ask`.
        """
        retrying = self._retrying()
        try:
            await self._answer(request, retrying)
        except RefusedRequest as refused:
            if refused.status not in (400, 422) or refused.parameters[:1] != ("max_tokens",):
                raise await self._refusal(refused, _attempts(retrying)) from None

    def _retrying(self) -> AsyncRetrying:
        return AsyncRetrying(
            stop=self._is_over,
            sleep=self.connection.circuit.pause,
            wait=_pause(self.settings),
            retry=retry_if_exception_type(TransientFailure),
            before_sleep=self._log_failure,
            reraise=True,
        )

    def _is_over(self, state: RetryCallState) -> bool:
        """Whether no attempt is left, or the server is known to be down."""
        down = self.connection.circuit.error is not None
        return down or state.attempt_number >= self.settings.attempts

    async def _answer(self, request: EndpointRequest, retrying: AsyncRetrying) -> Answered:
        """Ask in the server's dialect; when it refuses, more plainly, and remember what it took.

        Raises:
            EndpointError: the server failed in all attempts.
            RefusedRequest: no plainer request helps.
            BudgetExhausted: as `ask`.
        """
        dialect, sent = self.connection.dialect, 0

        async def negotiate() -> ModelReply:
            nonlocal dialect, sent
            if (error := self.connection.circuit.error) is not None:
                raise TransientFailure(error.detail)
            if sent and self.budget is not None:
                self.budget.admit(sent)
            sent += 1
            while True:
                payload = dialect.payload(request)
                try:
                    return await self.connection.send(payload, self.settings.timeout)
                except RefusedRequest as refused:
                    if refused.is_output_limit:
                        return CUT_OFF
                    plainer = dialect.plainer(request, refused)
                    if plainer is None:
                        raise
                    dialect = plainer

        try:
            reply: ModelReply = await retrying(negotiate)
        except TransientFailure as failure:
            advice = "check that the server is up and that base_url is right, then run again"
            raise self._error(failure.detail, advice, sent, transient=True) from None
        self._remember(dialect)
        return Answered(reply, sent, dialect.changed(request))

    def _remember(self, dialect: Dialect) -> None:
        """Ask all that comes in this dialect, beside what other calls found out meanwhile."""
        if new := dialect.refused - self.connection.dialect.refused:
            self.connection.dialect = Dialect(dialect.refused | self.connection.dialect.refused)
            names = ", ".join(sorted(new))
            log.warning("%s: %s is asked without: %s", self.role, self.settings.model, names)

    async def _refusal(self, refused: RefusedRequest, attempts: int) -> ChatError:
        settings = self.settings
        if refused.is_context_length:
            message = self.connection.conceal(refused.message)
            return ContextLengthError(
                self.role, settings.base_url, settings.model, message, attempts
            )
        if refused.status in (401, 403):
            advice = (
                f"check the key in the environment variable {settings.api_key_env}"
                if settings.api_key_env
                else f"name the variable that holds the key in endpoints.{self.role}.api_key_env"
            )
        elif refused.is_unknown_model:
            advice = await self._offered_models()
        elif refused.parameters[:1] == ("max_tokens",):
            advice = f'set endpoints.{self.role}.max_tokens to what it takes, or to "unset"'
        else:
            advice = f"check endpoints.{self.role}"
        return self._error(str(refused), advice, attempts)

    async def _offered_models(self) -> str:
        try:
            models = await self.connection.models()
        except (TransientFailure, RefusedRequest):
            models = ()
        if not models:
            return "check that base_url ends as the server wants it (mostly /v1), and the model"
        more = f" and {len(models) - _SHOWN_MODELS} more" if len(models) > _SHOWN_MODELS else ""
        return f"the server offers {', '.join(models[:_SHOWN_MODELS])}{more}"

    def _error(
        self, problem: str, advice: str, attempts: int, *, transient: bool = False
    ) -> EndpointError:
        settings, problem = self.settings, self.connection.conceal(problem)
        return EndpointError(
            self.role,
            settings.base_url,
            settings.model,
            problem,
            advice,
            attempts,
            transient=transient,
        )

    def _log_failure(self, state: RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        log.warning(
            "%s: attempt %d of %d failed, next in %.1f s: %s",
            self.role,
            state.attempt_number,
            self.settings.attempts,
            pause,
            self.connection.conceal(str(failure)),
        )


def _attempts(retrying: AsyncRetrying) -> int:
    return int(retrying.statistics["attempt_number"])


def _pause(settings: EndpointSettings) -> Callable[[RetryCallState], float]:
    """What the server asks for, capped; else exponential with jitter."""
    growing = wait_exponential_jitter(
        initial=settings.backoff, max=settings.longest_pause, jitter=settings.backoff
    )

    def wait(state: RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome else None
        if isinstance(failure, TransientFailure) and failure.retry_after is not None:
            return min(failure.retry_after, settings.longest_pause)
        return growing(state)

    return wait
