"""From a request to the collective's choices."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from agents.context import ReadContext
from agents.errors import AnsweringError
from agents.task_force.agreement import check_until_agree
from agents.task_force.ballot import CandidateAnswer
from agents.task_force.collective import Collective, CollectiveAnswer, Manner
from console.serving.failures import invalid
from console.serving.protocol import AnswerRequest, CompletionRequest
from console.serving.turns import Turn
from memory.records import ChatMessage, Token

EXPERT_HEADER, METHOD_HEADER = "x-acdc-expert", "x-acdc-method"
_SEEDS = 1 << 62
"""Seeds of clients are folded into this range, so that every choice can have its own."""


@dataclass(frozen=True)
class ServedQuestion:
    """One conversation that waits for an answer.

    Attributes:
        text: the question as judges and router see it.
        chat: what the experts see.
    """

    text: str
    chat: list[ChatMessage]


@dataclass(frozen=True)
class Chosen:
    """One choice of a reply: the answer, and its place among the choices."""

    index: int
    answer: CollectiveAnswer

    @property
    def text(self) -> str:
        """The whole reply of the chosen expert."""
        return self._winner.text

    @property
    def finish_reason(self) -> str:
        """Why the chosen expert ended."""
        return self._winner.finish_reason

    @property
    def tokens(self) -> tuple[Token, ...]:
        """The reply token by token; to be read only where that was asked for."""
        spelled = self._winner.spelled
        assert spelled is not None, "every engine returns tokens that were asked for"
        return spelled

    @property
    def _winner(self) -> CandidateAnswer:
        return self.answer.answers[self.answer.winner]


def question_of_chat(context: ReadContext, turns: Sequence[Turn]) -> ServedQuestion:
    """A conversation as the experts see it.

    Where it has no system message of its own, it gets the one with which the experts were bred.
    """
    chat = [ChatMessage(role=_role(turn), content=turn.text) for turn in turns]
    if not any(message.role == "system" for message in chat):
        asked = context.render_question(chat[-1].content)
        chat = [*asked[:-1], *chat[:-1], asked[-1]]
    spoken = [turn for turn in turns if turn.role in ("user", "assistant")]
    if len(spoken) == 1:
        return ServedQuestion(spoken[0].text, chat)
    return ServedQuestion("\n\n".join(f"{turn.role}: {turn.text}" for turn in spoken), chat)


async def questions_of_prompts(
    context: ReadContext, request: CompletionRequest
) -> list[ServedQuestion]:
    """Each prompt as a question, as `acdc ask` puts it: the experts are chat models.

    Raises:
        HttpRefusal: the tokenizer of the base has no such token, or the tokens say nothing.
    """
    texts = [
        prompt if isinstance(prompt, str) else await _text_of(context, prompt)
        for prompt in request.prompts
    ]
    return [ServedQuestion(text, context.render_question(text)) for text in texts]


async def _text_of(context: ReadContext, tokens: list[int]) -> str:
    """What the base's tokenizer reads in token ids."""
    tokenizer = (await context.population.bank()).tokenizer
    pieces = tokenizer.convert_ids_to_tokens(tokens)
    if None in pieces:
        raise invalid(
            f"token id {tokens[pieces.index(None)]} is not in the vocabulary of the base, which "
            f"has {len(tokenizer)} tokens",
            "prompt",
        )
    text: str = tokenizer.decode(tokens, clean_up_tokenization_spaces=False)
    if not text.strip():
        raise invalid("prompt must not be empty", "prompt")
    return text


class Work:
    """The choices of one request in the making; all of them start at once.

    Args:
        model: who answers.
        questions: what is asked; choices are numbered question by question.
        request: n, sampling, stops.
        usual: how it is answered where the request does not say it.
        heard: called with every answer as it is made.

    Raises:
        HttpRefusal: the model has fewer voices than have to agree.
    """

    def __init__(
        self,
        model: Collective,
        questions: Sequence[ServedQuestion],
        request: AnswerRequest,
        usual: Manner,
        heard: Callable[[CollectiveAnswer], None] = lambda _: None,
    ) -> None:
        manner = Manner(
            max_tokens=request.longest or usual.max_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            until_agree=_until_agree(request, model, usual),
            json_schema=request.json_schema,
        )
        seed = _seed_of(request)
        n = request.copies
        # Greedy choices are all the same: they are made once.
        self._copies = n if model.always_the_same(manner) else 1
        self._model = model

        async def answered(question: ServedQuestion, number: int) -> CollectiveAnswer:
            own = seed + number * len(model.members)
            answer = await model.answer(
                question.text, question.chat, manner, own, request.stops, request.spelled
            )
            heard(answer)
            return answer

        self._tasks = [
            asyncio.create_task(answered(question, number))
            for question in questions
            for number in range(n // self._copies)
        ]

    def headers(self) -> dict[str, str]:
        """Who answers and how, as far as it is settled by now, as headers of the response.

        One name for all choices that have it, else one for each, in their order.
        """
        made: list[CollectiveAnswer] = []
        if all(task.done() and task.exception() is None for task in self._tasks):
            made = [task.result() for task in self._tasks for _ in range(self._copies)]
        experts = [answer.chosen for answer in made]
        if len({member.expert.id for member in self._model.members}) == 1:
            experts = [self._model.members[0].expert.id]
        methods = [answer.method for answer in made if answer.voices > 1]
        named = {EXPERT_HEADER: experts, METHOD_HEADER: methods}
        return {
            name: ", ".join(values if len(set(values)) > 1 else values[:1])
            for name, values in named.items()
            if values
        }

    async def first(self, patience: float) -> None:
        """Wait until a choice is there, or patience ends.

        Raises:
            AcdcError: a choice came to nothing.
        """
        done, _ = await asyncio.wait(
            self._tasks, timeout=patience, return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
            task.result()

    async def choices(self, pulse: float) -> AsyncIterator[Chosen | None]:
        """Choices as they are made; None whenever that many seconds went by without one.

        Raises:
            AcdcError: a choice came to nothing.
        """
        places = {task: place * self._copies for place, task in enumerate(self._tasks)}
        pending = set(self._tasks)
        while pending:
            done, pending = await asyncio.wait(
                pending, timeout=pulse, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                yield None
            for task in sorted(done, key=places.__getitem__):
                for copy in range(self._copies):
                    yield Chosen(places[task] + copy, task.result())

    async def all(self) -> list[Chosen]:
        """Every choice, in order.

        Raises:
            AcdcError: a choice came to nothing; the others are stopped.
        """
        answers = await asyncio.gather(*self._tasks)
        return [
            Chosen(place * self._copies + copy, answer)
            for place, answer in enumerate(answers)
            for copy in range(self._copies)
        ]

    def stop(self) -> None:
        """Nobody waits any more: what has not begun never will."""
        for task in self._tasks:
            task.cancel()
            task.add_done_callback(_read)


def _until_agree(request: AnswerRequest, model: Collective, usual: Manner) -> int | None:
    """What the client says, or what is usual where the model has so many voices."""
    voices, wanted = len(model.members), request.acdc.until_agree
    if wanted is None:
        return usual.until_agree if voices >= (usual.until_agree or 0) else None
    try:
        check_until_agree(wanted, voices)
    except AnsweringError as error:
        raise invalid(str(error), "acdc.until_agree") from None
    return wanted


def _seed_of(request: AnswerRequest) -> int:
    """The client's seed, or one that nobody knows; of a force as it is, always the same."""
    if request.drawn_from is not None:
        return request.drawn_from % _SEEDS
    return 0 if request.temperature is None else secrets.randbelow(_SEEDS)


def _read(task: asyncio.Task[CollectiveAnswer]) -> None:
    """Log an error that no client waits for any more."""
    if not task.cancelled():
        task.exception()


def _role(turn: Turn) -> Literal["system", "user", "assistant"]:
    return "system" if turn.role == "developer" else turn.role
