"""What can go wrong among the agents.

AcdcError
└── AgentError
    ├── SandboxError              the sandbox itself failed; says nothing about the family
    │   └── SandboxUnavailable    no sandbox that is safe enough works on this machine
    ├── FamilyFault               a family's own code is at fault
    ├── FamilyFolderError         a family folder cannot be written or read
    ├── ChatError                 an LLM call came to nothing
    │   ├── EndpointError         a chat endpoint does not answer, or refuses
    │   ├── ContextLengthError    a conversation does not fit the model's context
    │   └── BudgetExhausted       a role has used up its budget: the run ends cleanly
    ├── CurationError             a family cannot change its status in this way
    ├── JudgingError              too many answers stayed ungraded to go on
    ├── AnsweringError            the collective cannot answer
    │   └── UnknownModelError     nobody answers under that name
    └── TaskFileError             a file of tasks or sample logs cannot be read
"""

from __future__ import annotations

from memory.errors import AcdcError
from memory.records import GateCode, Role


class AgentError(AcdcError):
    """Root of the errors of this room."""


class SandboxError(AgentError):
    """The sandbox itself failed: what was asked for stays unknown, and no family is to blame."""


class SandboxUnavailable(SandboxError):
    """No sandbox that is safe enough for the code at hand works on this machine."""


class FamilyFault(AgentError):
    """A family's own code is at fault, twice in a row.

    Attributes:
        code: reason code.
        detail: one line for the scientist.
    """

    def __init__(self, code: GateCode, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class FamilyFolderError(AgentError):
    """A family folder cannot be written or read."""


class CurationError(AgentError):
    """A family cannot change its status in this way."""


class JudgingError(AgentError):
    """So many answers stayed ungraded that going on would be a guess."""


class AnsweringError(AgentError):
    """The collective cannot answer a question."""


class UnknownModelError(AnsweringError):
    """Nobody of the collective answers under that name."""


class TaskFileError(AgentError):
    """A file of tasks or of sample logs cannot be read; names file and line."""


class ChatError(AgentError):
    """An LLM call came to nothing."""


class EndpointError(ChatError):
    """A chat endpoint does not answer, or refuses.

    Attributes:
        role, url, model: whose call went where.
        detail: what went wrong last.
        attempts: how often it was tried.
        transient: whether all attempts failed in ways that may pass; false for a refusal.
    """

    def __init__(
        self,
        role: Role,
        url: str,
        model: str,
        detail: str,
        advice: str,
        attempts: int = 1,
        *,
        transient: bool = False,
    ) -> None:
        tried = "" if attempts == 1 else f" ({attempts} attempts)"
        super().__init__(f"{role}: {model} at {url}: {detail}{tried}; {advice}")
        self.role = role
        self.url = url
        self.model = model
        self.detail = detail
        self.attempts = attempts
        self.transient = transient


class ContextLengthError(ChatError):
    """A conversation and its answer do not fit the model's context.

    Attributes:
        role, url, model: whose call went where.
        detail: the server's words.
        attempts: how often it was tried.
    """

    def __init__(self, role: Role, url: str, model: str, detail: str, attempts: int = 1) -> None:
        super().__init__(
            f"{role}: {model} at {url}: {detail}; lower endpoints.{role}.max_tokens or serve the "
            "model with a longer context"
        )
        self.role = role
        self.url = url
        self.model = model
        self.detail = detail
        self.attempts = attempts


class BudgetExhausted(ChatError):
    """A role has used up its budget.

    Attributes:
        role: whose budget.
        which: `calls`, `tokens` or `seconds`.
        limit: the configured limit that was reached.
        attempts: of the call that it ended; 0 where none was begun.
    """

    def __init__(self, role: Role, which: str, limit: float, attempts: int = 0) -> None:
        super().__init__(
            f"the {role}'s budget of {limit:g} {which} is used up; raise "
            f"endpoints.{role}.budget.{which} and run the same command to go on"
        )
        self.role = role
        self.which = which
        self.limit = limit
        self.attempts = attempts
