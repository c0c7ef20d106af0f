"""What foreign code can do wrong, as its caller sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Fault(Exception):
    """The family broke a rule of the format; `code` is the reason code."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def attempt(foreign: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """The result of foreign code, or what it raised.

    Foreign code may raise anything, SystemExit and classes of its own included, and to the process
    that exists to run it all of that is a result.
    """
    try:
        return foreign(), None
    except BaseException as raised:
        return None, raised
