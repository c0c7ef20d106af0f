"""What a parser is for the fuzzer, the limits that it runs within, and the inputs that are kept.

A parser gets bytes that may be anything. It gives a value, or raises an error of ours whose message
is one line. Everything else is a failure: another exception, five seconds of computing, a gibibyte
of memory.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import resource
import signal
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import psutil
from hypothesis.strategies import SearchStrategy

from memory.errors import AcdcError

CORPUS = Path(__file__).parent / "corpus"
"""A folder for each parser, with inputs that it once failed on."""
ROOT = Path(__file__).resolve().parents[2]
SECONDS = 5.0
"""Of computing, however busy the machine is."""
MEMORY = 1 << 30


@dataclass(frozen=True)
class Parser:
    """What is fuzzed.

    Attributes:
        inputs: what it is given: mutations of valid samples, and what nobody meant.
        read: parses; gives a value, or raises an `AcdcError`.
        samples: inputs that it has to accept.
        examples: how many inputs are about a second's work.
    """

    inputs: SearchStrategy[bytes]
    read: Callable[[bytes], object]
    samples: tuple[bytes, ...]
    examples: int = 100


class Failure(AssertionError):
    """A parser did with an input what none may do.

    Attributes:
        kind: the exception and the line of ours that it came through, to tell failures apart.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class _Endless(BaseException):
    """Raised into a parser that goes on for too long; no `except Exception` stops it."""


def observe(parser: Parser, data: bytes) -> bool:
    """Let a parser read an input, within limits.

    Returns:
        Whether it was accepted; refused otherwise.

    Raises:
        Failure: it ended in another way.
    """
    try:
        with _limits():
            parser.read(data)
    except AcdcError as error:
        if len(str(error).splitlines()) != 1:
            raise Failure(f"{type(error).__name__} of several lines: {_place(error)}") from error
        return False
    except _Endless as error:
        raise Failure(f"no end after {SECONDS:g} s of computing: {_place(error)}") from None
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # panics of Rust are no `Exception`
        raise Failure(f"{type(error).__name__}: {_place(error)}") from error
    return True


def keep(name: str, data: bytes) -> Path:
    """Add an input to the corpus of a parser, under its hash."""
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / hashlib.sha256(data).hexdigest()[:16]
    file.write_bytes(data)
    return file


def kept(name: str) -> list[Path]:
    """The corpus of a parser."""
    return sorted((CORPUS / name).glob("*"))


@contextlib.contextmanager
def _limits() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        raise _Endless

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGPROF, end)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + MEMORY, hard))
    # Again and again: raised within a hook of the interpreter, it would be lost.
    signal.setitimer(signal.ITIMER_PROF, SECONDS, 0.5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGPROF, before)


def _place(error: BaseException) -> str:
    """The innermost line of this project that an exception came through."""
    places = [
        f"{Path(frame.filename).relative_to(ROOT)}:{frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(ROOT) and "/fuzz/" not in frame.filename
    ]
    gc.collect()
    return places[-1] if places else "the parser itself"
