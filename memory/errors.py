"""The errors that users can fix.

    AcdcError
    ├── StoreError            the run folder or its database cannot be used
    │   ├── RunLockedError    another process writes to this run
    │   ├── SchemaError       the database is newer than this program, or not ours
    │   ├── ConflictError     a key is recorded already, with other content
    │   └── DamagedError      a record is not what was written
    ├── MissingDependencyError  something has to be installed first
    ├── EmbeddingError        texts could not be embedded
    ├── NoveltyError          the novelty memory (Chroma) cannot be used
    └── TracingError          spans cannot be exported as configured

Other rooms hang their own trees under `AcdcError`. The message is always one line that says what is
wrong and what to do; the console prints it without a traceback.
"""

from __future__ import annotations

from memory.messages import line_ends_spelled


class AcdcError(Exception):
    """Root of every error that users can fix; one line, whatever names it quotes."""

    def __str__(self) -> str:
        return line_ends_spelled(super().__str__())


class StoreError(AcdcError):
    """The run folder or its database cannot be used."""


class RunLockedError(StoreError):
    """Another process is writing to this run."""


class SchemaError(StoreError):
    """The database is newer than this program, or is no run at all."""


class ConflictError(StoreError):
    """A key is recorded already, with other content."""


class DamagedError(StoreError):
    """A record of the database is not what was written."""


class MissingDependencyError(AcdcError):
    """Something has to be installed first."""


class EmbeddingError(AcdcError):
    """Texts could not be embedded."""


class NoveltyError(AcdcError):
    """The novelty memory cannot be used."""


class TracingError(AcdcError):
    """Spans cannot be exported as configured."""
