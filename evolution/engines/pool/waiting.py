"""Prompts that wait for a worker, by expert: whose are the most, found without looking at all."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from evolution.engines.base import Ask, Manner
from evolution.genome.genome import Genome
from memory.records import Reply

_Rank = tuple[bool, int, int, str]


@dataclass(eq=False)
class Request:
    """What one caller asked, and the future that it awaits."""

    genome_id: str
    genome: Genome
    ask: Ask
    replies: asyncio.Future[list[Reply]]
    _found: dict[int, Reply] = field(default_factory=dict)

    def answered(self, place: int, reply: Reply) -> None:
        """Take the reply to one prompt; the first counts."""
        self._found.setdefault(place, reply)
        if len(self._found) == len(self.ask.prompts) and not self.replies.done():
            self.replies.set_result([self._found[each] for each in range(len(self._found))])

    def failed(self, error: BaseException) -> None:
        """Fail as a whole, unless it is done."""
        if not self.replies.done():
            self.replies.set_exception(error)


class Place(NamedTuple):
    """A prompt: of whose request, and which."""

    request: Request
    number: int


@dataclass(eq=False)
class _Line:
    """What waits for one expert.

    Attributes:
        arrival: number of the first request: of experts for whom equally much waits, the one who
            was asked first comes first.
        size: prompts.
        places: by manner, in the order in which they were asked.
    """

    arrival: int
    size: int = 0
    places: dict[Manner, deque[Place]] = field(default_factory=dict)

    @property
    def manner(self) -> Manner:
        """Of what is to be answered first."""
        return next((manner for manner in self.places if manner[0]), next(iter(self.places)))


class WaitingPrompts:
    """What waits, and how many chunks of each expert are being answered.

    Each step takes as long as the logarithm of how many experts wait: a thousand workers can share
    one queue.
    """

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._arrivals = itertools.count()
        self._served = Counter[str]()
        # Heaps of (not urgent, -prompts, arrival, expert), for experts that are served and that are
        # not. What is out of date stays in them until it comes to the top.
        self._longest: dict[bool, list[_Rank]] = {False: [], True: []}
        self._unwanted = False

    def __contains__(self, expert: str | None) -> bool:
        """Whether prompts wait for an expert."""
        return expert in self._lines

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._lines)

    def __iter__(self) -> Iterator[Place]:
        """All that waits."""
        for line in self._lines.values():
            for places in line.places.values():
                yield from places

    def put(self, request: Request) -> None:
        """Let a request wait."""
        line = self._lines.setdefault(request.genome_id, _Line(next(self._arrivals)))
        places = [Place(request, number) for number in range(len(request.ask.prompts))]
        line.places.setdefault(request.ask.manner, deque()).extend(places)
        line.size += len(places)
        self._rank(request.genome_id)
        request.replies.add_done_callback(self._note_unwanted)

    def cut(self, expert: str, size: int) -> list[Place]:
        """Take the first prompts of an expert, of one manner, and at most so many; urgent first."""
        line = self._lines[expert]
        manner = line.manner
        places = line.places[manner]
        cut = [places.popleft() for _ in range(min(size, len(places)))]
        line.size -= len(cut)
        if not places:
            del line.places[manner]
        self._rank(expert)
        return cut

    def serve(self, expert: str, more: int) -> None:
        """Count chunks of an expert that begin to be answered, or end (-1)."""
        before = self._served[expert]
        self._served[expert] += more
        if not self._served[expert]:
            del self._served[expert]
        if bool(before) is not (expert in self._served):
            self._rank(expert)

    def longest(self, *, served: bool, besides: str | None = None) -> str | None:
        """The expert for whom the most waits, of those that are served, or of the others.

        One for whom something urgent waits goes before all others.
        """
        heap, passed, found = self._longest[served], None, None
        while heap and found is None:
            entry = heap[0]
            if not self._is_so(entry, served):
                heapq.heappop(heap)
            elif entry[-1] == besides:
                passed = heapq.heappop(heap)
            else:
                found = entry[-1]
        if passed is not None:
            heapq.heappush(heap, passed)
        return found

    def drop_unwanted(self) -> None:
        """Forget what no caller waits for any more."""
        if not self._unwanted:
            return
        self._unwanted = False
        for expert, line in list(self._lines.items()):
            for manner, places in list(line.places.items()):
                line.places[manner] = deque(p for p in places if not p.request.replies.done())
                line.size += len(line.places[manner]) - len(places)
                if not line.places[manner]:
                    del line.places[manner]
            self._rank(expert)

    def clear(self) -> None:
        """Forget everything."""
        self._lines.clear()
        self._served.clear()

    def _rank(self, expert: str) -> None:
        """Enter an expert with what waits for it now; forget one for whom nothing does."""
        line = self._lines.get(expert)
        if line is None:
            return
        if not line.size:
            del self._lines[expert]
            return
        entry = (not line.manner[0], -line.size, line.arrival, expert)
        heapq.heappush(self._longest[expert in self._served], entry)

    def _is_so(self, entry: _Rank, served: bool) -> bool:
        *rank, expert = entry
        line = self._lines.get(expert)
        if line is None or (expert in self._served) is not served:
            return False
        return [not line.manner[0], -line.size, line.arrival] == rank

    def _note_unwanted(self, replies: asyncio.Future[list[Reply]]) -> None:
        """What was not answered as a whole may still wait in part."""
        if replies.cancelled() or replies.exception() is not None:
            self._unwanted = True
