"""What a checkpoint lets others compute, tried in a process of its own, within limits.

Patterns of adapters and chat templates are programs that came with a download: they may never end,
or fill the memory. This file is the process, too: it is started by its path, and imports nothing of
this project.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal

SECONDS = 10
"""Of computing: a machine that is busy with other things is no reason to refuse."""
_PATIENCE = 30
"""Of waiting, for each of those seconds."""
_MEMORY = 1 << 30
_LONGEST = 100_000
"""Characters of a short conversation."""


class LimitError(ValueError):
    """It does not end, takes too much, or fails."""


def within_limits(work: Literal["match", "encode", "render"], given: Mapping[str, Any]) -> Any:
    """Do something risky in another process.

    Args:
        work: `match` tells which of `names` each of `patterns` matches, as `re.match` does;
            `encode` reads the tokenizer in `file`, and tells how many tokens it makes of `text`;
            `render` lets a chat `template` render `chats` with `names` of tokens: for each it tells
            the number of characters, or why the template refuses it.
        given: what it is done with, in JSON.

    Raises:
        LimitError: one line that says what became of it.
    """
    command = [sys.executable, "-P", __file__, work, str(SECONDS)]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(given),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_PATIENCE * SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LimitError(f"it does not end within {_PATIENCE * SECONDS} s") from None
    if done.returncode < 0:
        raise LimitError(f"it does not end within {SECONDS} s of computing, or crashes")
    if done.returncode:
        raise LimitError((done.stderr.strip().splitlines() or ["it fails"])[-1])
    return json.loads(done.stdout)


def _limit(seconds: int) -> None:
    """From now on; what was imported counts for neither time nor memory."""
    import resource
    import time

    import psutil

    used = math.ceil(time.process_time())
    limits = {
        resource.RLIMIT_CPU: used + seconds,
        resource.RLIMIT_AS: psutil.Process().memory_info().vms + _MEMORY,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        # Not every system limits everything.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))


def matching(given: Mapping[str, Any]) -> list[list[bool]]:
    """Which of `names` each of `patterns` matches: for patterns that cannot take long."""
    compiled = [re.compile(pattern) for pattern in given["patterns"]]
    return [[pattern.match(name) is not None for name in given["names"]] for pattern in compiled]


def _match(given: Mapping[str, Any], seconds: int) -> list[list[bool]]:
    _limit(seconds)
    return matching(given)


def _encode(given: Mapping[str, Any], seconds: int) -> int:
    from tokenizers import Tokenizer

    _limit(seconds)
    return len(Tokenizer.from_file(given["file"]).encode(given["text"]).ids)


def _render(given: Mapping[str, Any], seconds: int) -> list[int | str]:
    from jinja2 import TemplateError
    from transformers.utils.chat_template_utils import render_jinja_template

    _limit(seconds)
    found: list[int | str] = []
    for chat in given["chats"]:
        try:
            rendered = render_jinja_template(
                conversations=[chat],
                chat_template=given["template"],
                add_generation_prompt=True,
                **given["names"],
            )
        except TemplateError as error:
            found.append(str(error) or type(error).__name__)
            continue
        length = len(rendered[0][0])
        if length > _LONGEST:
            raise ValueError(f"it makes {length} characters of a short conversation")
        found.append(length)
    return found


if __name__ == "__main__":
    works: dict[str, Callable[[Mapping[str, Any], int], Any]] = {
        "match": _match,
        "encode": _encode,
        "render": _render,
    }
    print(json.dumps(works[sys.argv[1]](json.load(sys.stdin), int(sys.argv[2]))))
