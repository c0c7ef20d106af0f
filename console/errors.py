"""Usage and configuration errors, which end with exit code 2."""

from __future__ import annotations

from memory.errors import AcdcError


class UsageError(AcdcError):
    """The command cannot be carried out as given; nothing was changed."""


class NotFoundError(UsageError):
    """An address names a page, a run or a part of one that is not there."""


class RequestError(UsageError):
    """A parameter of an address, or a field of a form, has a value that it cannot have."""


class NotPermittedError(UsageError):
    """A run folder asks for something that its user has not permitted on this machine."""


class ConfigError(UsageError):
    """The configuration is wrong or does not fit the run folder."""
