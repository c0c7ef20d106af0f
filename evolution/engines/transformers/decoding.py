"""The decode loop: many prompts through a limited number of rows.

Prompts are read side by side, and then take a free row of a slot cache. All rows that hold a reply
step together; a row whose reply has ended is taken over by the next prompt. Both kinds of passes
have sizes that were shown to give the same bits (`passes`): a reply comes out the same whatever
else is asked.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from evolution.engines.base import Ask
from evolution.engines.encoding import EncodedPrompt
from evolution.engines.held import Stopped
from evolution.engines.transformers.attention import score
from evolution.engines.transformers.passes import PassSizes
from evolution.engines.transformers.reading import Reader
from evolution.engines.transformers.sampling import choose, log_probabilities, self_certainty
from evolution.engines.transformers.slots import Slots, Span


@dataclass(eq=False)
class DecodingTask:
    """A prompt, and the reply so far.

    Attributes:
        stream: where its random numbers come from; None if greedy.
        tokens: the reply, its end token included.
        ended: the last token is an end token.
        logprob: sum over the tokens, where asked for; `certainty` likewise.
        logprobs: of each token, where asked for.
        seconds: its share of the time that its batches took.
    """

    prompt: EncodedPrompt
    stream: torch.Generator | None = None
    tokens: list[int] = field(default_factory=list)
    ended: bool = False
    logprob: float = 0.0
    certainty: float = 0.0
    logprobs: list[float] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class Ready:
    """A task whose prompt was read: it waits for a row with the keys and values of its prompt."""

    task: DecodingTask
    spans: Sequence[Sequence[Span]]


class Decoder:
    """Runs one model.

    Args:
        model: a transformers causal language model; its weights may change between calls. It has
            gone through `use_grouped_attention` and `use_plain_head`.
        rows: replies side by side, at most.
        sizes: of passes.
        end_tokens: tokens that end a reply.
        side_by_side: whether prompts are read together, see `attends_by_segments`.
    """

    def __init__(
        self,
        model: Any,
        rows: int,
        sizes: PassSizes,
        end_tokens: frozenset[int],
        side_by_side: bool,
    ) -> None:
        self._model = model
        # Not more than fit a size that was shown to be right.
        self._rows = min(rows, sizes.rows[-1])
        self._sizes = sizes
        self._end_tokens = end_tokens
        self._reader = Reader(model, sizes, side_by_side)
        self._slots: Slots | None = None

    def forget(self) -> None:
        """Drop what was computed with the weights before: to be called after each change."""
        self._reader.forget()

    @torch.inference_mode()
    def run(self, tasks: Sequence[DecodingTask], ask: Ask, stop: threading.Event) -> None:
        """Complete all tasks, in place.

        Raises:
            Stopped: `stop` was set.
        """

        def slots(task: DecodingTask) -> int:
            return task.prompt.cache_length(ask.sampling.max_tokens)

        for length, group in groupby(sorted(tasks, key=slots), key=slots):
            batches = self._reader.batches([(task, task.prompt) for task in group])
            self._run_pool(deque(batches), length, ask, stop)

    def _run_pool(
        self, waiting: deque[list[DecodingTask]], length: int, ask: Ask, stop: threading.Event
    ) -> None:
        """Complete tasks whose replies need the same number of slots.

        A batch is read when a row is free and no reply is ready to take it: no row idles while
        there is work, and at most one batch waits with all its keys and values.
        """
        ready: deque[Ready] = deque()
        rows: list[DecodingTask | None] = [None] * self._rows
        while waiting or ready or any(rows):
            if stop.is_set():
                raise Stopped
            if None in rows and ready:
                self._admit(ready.popleft(), rows, length)
            elif None in rows and waiting:
                ready.extend(self._read(waiting.popleft(), ask))
            else:
                self._step(rows, ask)

    def _read(self, batch: list[DecodingTask], ask: Ask) -> list[Ready]:
        """Read a batch of prompts and choose the first token of each reply."""
        start = time.perf_counter()
        read = self._reader.read([task.prompt for task in batch])
        padding = [None] * (len(read.logits) - len(batch))
        self._extend_replies([*batch, *padding], read.logits, ask)
        _share(time.perf_counter() - start, batch)
        return [
            Ready(task, read.spans_of(place, task.prompt))
            for place, task in enumerate(batch)
            if not self._complete(task, ask)
        ]

    def _admit(self, ready: Ready, rows: list[DecodingTask | None], length: int) -> None:
        """Give a free row to a prompt that was read."""
        if self._slots is None or self._slots.length != length:
            # One cache is kept at a time; the old one goes before the new one comes.
            self._slots = None
            self._slots = Slots(ready.spans[0], self._sizes.rows_for(self._rows), length)
        row = rows.index(None)
        rows[row] = ready.task
        self._slots.install(row, ready.spans)

    def _step(self, rows: list[DecodingTask | None], ask: Ask) -> None:
        """One more token for every reply, in a pass that is no larger than they need."""
        assert self._slots is not None
        start = time.perf_counter()
        size = self._sizes.rows_for(sum(1 for task in rows if task))
        _close_up(rows, size, self._slots)
        stepping = [*rows[:size], *[None] * (size - len(rows))]
        places = [len(t.prompt) + len(t.tokens) - 1 if t else 0 for t in stepping]
        positions = torch.tensor(places, device=self._model.device)
        last = torch.tensor([t.tokens[-1] if t else 0 for t in stepping], device=positions.device)
        seen = self._sizes.slots_for(max(places) + 1, self._slots.length)
        slot = torch.arange(seen, device=positions.device)
        logits = score(
            self._model,
            last[:, None],
            (slot <= positions[:, None])[:, None, None, :],
            positions[:, None],
            self._slots.layers(positions, seen),
        )
        self._extend_replies(stepping, logits, ask)
        _share(time.perf_counter() - start, [task for task in rows if task])
        rows[:] = [task if task and not self._complete(task, ask) else None for task in rows]

    def _extend_replies(
        self,
        rows: Sequence[DecodingTask | None],
        logits: Float[Tensor, "rows vocabulary"],
        ask: Ask,
    ) -> None:
        """Append the next token to the reply of each row."""
        tokens = choose(logits, ask.sampling, [task.stream if task else None for task in rows])
        for task, token in zip(rows, tokens.tolist(), strict=True):
            if task:
                task.tokens.append(token)
                task.ended = token in self._end_tokens
        if ask.tokens:
            for task, logprob in zip(rows, log_probabilities(logits, tokens).tolist(), strict=True):
                if task:
                    task.logprobs.append(logprob)
        if ask.logprobs:
            logprobs, certainties = log_probabilities(logits, tokens), self_certainty(logits)
            for place, task in enumerate(rows):
                if task:
                    task.logprob += float(logprobs[place])
                    task.certainty += float(certainties[place])

    def _complete(self, task: DecodingTask, ask: Ask) -> bool:
        return task.ended or len(task.tokens) >= ask.sampling.max_tokens


def _close_up(rows: list[DecodingTask | None], size: int, slots: Slots) -> None:
    """Bring all replies into the first rows."""
    free = iter([row for row, task in enumerate(rows[:size]) if task is None])
    for row in range(size, len(rows)):
        if rows[row] is not None:
            place = next(free)
            slots.move(row, place)
            rows[place], rows[row] = rows[row], None


def _share(seconds: float, tasks: Collection[DecodingTask]) -> None:
    for task in tasks:
        task.seconds += seconds / len(tasks)
