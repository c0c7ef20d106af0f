"""What stands between a command and the shell: one clear line and an exit code."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from agents.errors import BudgetExhausted, JudgingError
from memory.errors import AcdcError
from prompts import PromptError

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_BUDGET, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


def supervise(action: Callable[[], None], errors: Console, debug: bool) -> int:
    """Carry out a command and turn what went wrong into one clear line and an exit code.

    This is the only place that catches everything: behind it there is only the shell.
    """
    try:
        action()
    except KeyboardInterrupt:
        errors.print("interrupted; everything is kept, the same command goes on")
        return EXIT_INTERRUPTED
    except Exception as error:
        if debug:
            errors.print_exception()
        return _explain(error, errors)
    return EXIT_DONE


def _explain(error: Exception, errors: Console) -> int:
    if isinstance(error, BudgetExhausted):
        errors.print(f"{error}; everything is kept", markup=False, highlight=False, soft_wrap=True)
        return EXIT_BUDGET
    if isinstance(error, AcdcError | PromptError):
        errors.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return EXIT_FAILED if isinstance(error, JudgingError) else EXIT_USAGE
    errors.print(
        f"error: {type(error).__name__}: {error} (this is a fault of AC/DC; --debug shows where)",
        style="red",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return EXIT_FAILED
