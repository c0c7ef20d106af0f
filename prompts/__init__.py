"""What is said: one file per prompt, and the library that loads and renders them.

A prompt file is TOML between two lines `+++` (role, purpose, variables, optionally the name of the
schema of its reply), then one section per message, each begun by a line such as `=== user ===`.
Sections are Jinja2 templates. A file of the same name in the user's folder replaces ours.
"""

from prompts.errors import PromptError, PromptFileError, PromptVariableError
from prompts.library import (
    Message,
    Prompt,
    PromptLibrary,
    Rendered,
    example_programs,
    worked_example,
)

__all__ = [
    "Message",
    "Prompt",
    "PromptError",
    "PromptFileError",
    "PromptLibrary",
    "PromptVariableError",
    "Rendered",
    "example_programs",
    "worked_example",
]
