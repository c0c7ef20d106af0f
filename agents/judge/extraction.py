r"""Reading the answer out of an expert's reply.

The rules, in this order:

1. `<think>` blocks are cut. A block that never ends is cut to the end of the reply; a `</think>`
   that never began (some templates open it in the prompt) ends a thought that began with the reply.
2. A *marker* is `Answer:` or `Final answer:` at the start of a line, in any case, with or without
   Markdown around it (`**Answer:** 4`, `> Answer: 4`, `## Answer: 4`). It is followed by what is
   left of its line; if nothing is, by the text after it up to a blank line; a fenced block of code
   that begins there counts as a whole, fences included. A marker with nothing after it, as at the
   end of a truncated reply, does not count while another one has an answer.
3. A *box* is `\boxed{...}` with balanced braces, nested ones included.
4. The last marker and the last box are compared: the one that starts later in the reply counts,
   unless it is empty and the other is not.
5. Without either, the whole reply is the answer, and it is noted as unmarked.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_THOUGHT = re.compile(r"<(/?)think>", re.IGNORECASE)
_MARKER = re.compile(
    r"^[ \t>#_-]*+(?P<before>\*{0,3}+)[ \t_]*+(?:final[ \t]++)?answer"
    r"[ \t_]*+(?P<inner>\*{0,3}+)[ \t_]*+:",
    re.IGNORECASE | re.MULTILINE,
)
"""The quantifiers are possessive, so that a hostile reply cannot make the search quadratic."""
_BOX = re.compile(r"\\boxed[ \t]*\{|\\.|[{}]", re.DOTALL)
_FENCE = re.compile(r"[ \t]*(?P<fence>`{3,}|~{3,})[^`\n]*\n")
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")


class Extracted(NamedTuple):
    """The answer that is graded; `unmarked` if it is the whole reply for want of a marker."""

    answer: str
    unmarked: bool


class _Found(NamedTuple):
    start: int
    answer: str


def extract(text: str) -> Extracted:
    """The answer in a reply; see the module's docstring for the rules. Never raises."""
    visible = without_thoughts(text)
    found = [item for item in (_last_marked(visible), _last_boxed(visible)) if item is not None]
    if not found:
        return Extracted(visible.strip(), unmarked=True)
    best = max(found, key=lambda item: (bool(item.answer), item.start))
    return Extracted(best.answer, unmarked=False)


def without_thoughts(text: str) -> str:
    """The reply without its `<think>` blocks."""
    kept: list[str] = []
    position, thinking = 0, False
    for tag in _THOUGHT.finditer(text):
        closing = bool(tag[1])
        if closing and not thinking:
            kept.clear()
        elif not closing and not thinking:
            kept.append(text[position : tag.start()])
        thinking = not closing
        position = tag.end()
    if not thinking:
        kept.append(text[position:])
    return "".join(kept)


def _last_marked(text: str) -> _Found | None:
    """The last marker that has an answer, else the last one, else None."""
    markers = list(_MARKER.finditer(text))
    end = len(text)
    for marker in reversed(markers):
        answer = _after_marker(text[marker.end() : end], marker["before"], marker["inner"])
        if answer:
            return _Found(marker.start(), answer)
        end = marker.start()
    return _Found(markers[-1].start(), "") if markers else None


def _after_marker(text: str, before: str, inner: str) -> str:
    """The answer that follows a marker, up to the next one.

    Args:
        text: all between the marker's colon and the next marker.
        before: asterisks that stand before the word, as in `**Answer: 4**`.
        inner: asterisks between the word and its colon, as in `**Answer**: 4`.
    """
    line, _, rest = text.partition("\n")
    emphasis = "" if inner else before
    if emphasis and line.lstrip().startswith(emphasis):  # **Answer:** 4
        line, emphasis = line.lstrip().removeprefix(emphasis), ""
    fenced = _fenced(f"{line}\n{rest}" if line.strip() else rest.lstrip())
    if fenced:
        return fenced
    if line.strip():
        return _plain(line.strip().removesuffix(emphasis))
    return _plain(_BLANK_LINE.split(rest.strip(), maxsplit=1)[0].removesuffix(emphasis))


def _fenced(text: str) -> str:
    """The fenced block that the text begins with, to the end if it is cut off, or ""."""
    opening = _FENCE.match(text)
    if opening is None:
        return ""
    closing = re.compile(rf"^[ \t]*{opening['fence']}[`~]*[ \t]*$", re.MULTILINE)
    end = closing.search(text, opening.end())
    return text[: end.end() if end else len(text)].strip()


def _plain(answer: str) -> str:
    """The answer without emphasis around the whole of it."""
    answer = answer.strip()
    for mark in ("***", "**", "*"):
        inside = answer[len(mark) : -len(mark)]
        if answer.startswith(mark) and answer.endswith(mark) and inside.strip("* "):
            return answer if "*" in inside else inside.strip()
    return answer


def _last_boxed(text: str) -> _Found | None:
    r"""The box that starts last among those whose braces are balanced.

    One pass over braces and boxes, with a stack of those still open; `\{` is no brace.
    """
    still_open: list[re.Match[str] | None] = []
    last: tuple[int, int, int] | None = None
    for token in _BOX.finditer(text):
        if token[0] == "}":
            opening = still_open.pop() if still_open else None
            if opening is not None and (last is None or opening.start() > last[0]):
                last = opening.start(), opening.end(), token.start()
        elif token[0] == "{":
            still_open.append(None)
        elif token[0].startswith("\\boxed"):
            still_open.append(token)
    return None if last is None else _Found(last[0], text[last[1] : last[2]].strip())
