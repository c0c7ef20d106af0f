"""The errors of prompt files and of their use.

    PromptError
    ├── PromptFileError       a prompt file is missing, unreadable or not in the expected form
    └── PromptVariableError   a prompt was rendered with too few, too many or other variables

This room imports none of the others, so the tree stands for itself; the console prints its messages
like those of `memory.errors.AcdcError`.
"""

from __future__ import annotations


class PromptError(Exception):
    """Root of the errors of this room."""


class PromptFileError(PromptError):
    """A prompt file is missing, unreadable or not in the expected form."""


class PromptVariableError(PromptError):
    """A prompt was rendered with too few, too many or other variables."""
