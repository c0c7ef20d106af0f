"""Usage and configuration errors, which end with exit code 2."""

from __future__ import annotations

from memory.errors import AcdcError


class UsageError(AcdcError):
    """The command cannot be carried out as given; nothing was changed."""


class ConfigError(UsageError):
    """The configuration is wrong or does not fit the run folder."""
