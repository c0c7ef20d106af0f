"""The errors of this room that users can fix.

    AcdcError
    └── EvolutionError
        ├── BankError                the bank cannot be loaded
        │   ├── CheckpointError      a base or seed cannot be found, read or downloaded
        │   └── IncompatibleError    it can be read, but does not belong to this family of models
        ├── GenomeError              a genome does not fit the bank, or its bytes are damaged
        ├── OperatorError            an unknown operator, or parameters that it does not take
        ├── MergeError               mergekit refuses or fails to merge
        ├── TutorError               an expert cannot be taught
        ├── ExportError              an expert cannot be written where it was asked for
        ├── NoWorkerError            all workers of a pool are lost: nothing can be answered
        └── EngineError              an engine cannot be started, or cannot continue
            ├── PromptTooLongError   a prompt and its answer do not fit the model's context
            ├── SchemaError          replies cannot be constrained to a JSON schema
            └── WorkerLostError      the worker is gone that was asked; another one may answer

The message is always one line that says what is wrong and what to do.
"""

from __future__ import annotations

from memory.errors import AcdcError


class EvolutionError(AcdcError):
    """Root of the errors of this room."""


class BankError(EvolutionError):
    """The bank of base, seeds and spectral bases cannot be loaded."""


class CheckpointError(BankError):
    """A base or seed checkpoint cannot be found, read or downloaded."""


class IncompatibleError(BankError):
    """A checkpoint has another architecture, other tensors or another vocabulary than the base."""


class GenomeError(EvolutionError):
    """A genome does not fit the bank, or its stored bytes are damaged."""


class OperatorError(EvolutionError):
    """An unknown operator, or parameters that an operator does not take."""


class MergeError(EvolutionError):
    """Mergekit refuses or fails to merge, or does not know the method."""


class TutorError(EvolutionError):
    """An expert cannot be taught: nothing to learn, no room, or another kind of architecture."""


class ExportError(EvolutionError):
    """An expert cannot be written where it was asked for."""


class EngineError(EvolutionError):
    """An engine cannot be started, or cannot continue."""


class PromptTooLongError(EngineError):
    """A prompt and the answer that is asked for do not fit the model's context."""

    def __init__(self, prompt: int, reply: int, context: int) -> None:
        super().__init__(
            f"the prompt has {prompt} tokens; with {reply} for the answer it exceeds the model's "
            f"context of {context}: shorten it, or lower max_tokens"
        )
        self.prompt, self.reply, self.context = prompt, reply, context

    def __reduce__(self) -> tuple[type[PromptTooLongError], tuple[int, int, int]]:
        """Comes out of another process as what it was."""
        return PromptTooLongError, (self.prompt, self.reply, self.context)


class SchemaError(EngineError):
    """An engine cannot constrain replies to a JSON schema: to this one, or to any."""


class WorkerLostError(EngineError):
    """A worker has ended or hangs; nothing is wrong with what it was asked."""


class NoWorkerError(EvolutionError):
    """All workers are lost, so that nothing can be answered: this ends a run, which may go on."""
