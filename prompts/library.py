"""Loads prompt files, checks them, and renders them with exactly the variables they declare."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal, cast, get_args

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, meta
from jinja2.sandbox import SandboxedEnvironment

from prompts.errors import PromptFileError, PromptVariableError

MessageRole = Literal["system", "user", "assistant"]
Message = tuple[MessageRole, str]
"""One turn: who speaks, and the text."""

OWN_FOLDER = Path(__file__).resolve().parent
_EXAMPLES = OWN_FOLDER / "example"
HASH_DIGITS = 16
_FILLED = 4096
"""Rendered prompts that are kept: a generation asks fewer questions."""
_PARTS = re.compile(r"\A\+\+\+\n(?P<front>.*?)^\+\+\+\n(?P<body>.*)\Z", re.DOTALL | re.MULTILINE)
_SECTION = re.compile(r"^=== (\w+) ===\n", re.MULTILINE)
_FRONT_KEYS = {"role", "purpose", "variables", "schema"}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt file that was read and checked.

    Attributes:
        role: who is addressed: `scientist`, `critic`, `expert`, ...
        purpose: what the prompt is for, in words.
        variables: names that must be given to render it, no more and no fewer.
        schema: name of the model of its reply, None for free text.
        sections: role and Jinja2 source of each message.
        hash: content hash of the whole file.
    """

    name: str
    role: str
    purpose: str
    variables: frozenset[str]
    schema: str | None
    sections: tuple[Message, ...]
    hash: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt with its variables filled in.

    Attributes:
        hash: content hash of the prompt file, without the variables.
    """

    messages: tuple[Message, ...]
    hash: str
    role: str
    purpose: str


class PromptLibrary:
    """The prompts of this package, overridden file by file by those of a user's folder."""

    def __init__(self, user_folder: Path | None = None) -> None:
        """Look for `NAME.md` in `user_folder` first; files are read when they are first used.

        Raises:
            PromptFileError: the folder is named but does not exist.
        """
        if user_folder is not None and not user_folder.is_dir():
            raise PromptFileError(
                f"prompt folder {user_folder} does not exist: create it, or leave it out"
            )
        self._folders = [OWN_FOLDER] if user_folder is None else [user_folder, OWN_FOLDER]
        self._environment = _environment()
        # To compile a template takes longer than all else that is done for an answer.
        self._template = cache(self._environment.from_string)
        # Experts are asked the same questions, one expert after the other.
        self._filled = lru_cache(_FILLED)(self._fill)
        self._loaded: dict[str, Prompt] = {}
        self._own_ones: dict[str, Prompt | None] = {}

    def names(self) -> list[str]:
        """Names of all prompts, sorted."""
        return sorted({path.stem for folder in self._folders for path in folder.glob("*.md")})

    def prompt(self, name: str) -> Prompt:
        """The prompt of that name, read once.

        Raises:
            PromptFileError: there is none, or its file is not in the expected form.
        """
        if name not in self._loaded:
            self._loaded[name] = _parse(name, self._find(name), self._environment)
        return self._loaded[name]

    def render(self, name: str, **variables: object) -> Rendered:
        """Fill in the variables of a prompt; a user's file need not show all that ours does.

        Raises:
            PromptFileError: there is no such prompt, or its file is not in the expected form.
            PromptVariableError: the variables are not those that the prompt declares.
        """
        prompt = self.prompt(name)
        _check_variables(self._own(name) or prompt, variables)
        shown = tuple((key, variables[key]) for key in sorted(prompt.variables))
        plain = all(isinstance(value, str) for _, value in shown)
        try:
            messages = (self._filled if plain else self._fill)(name, shown)
        except TemplateError as error:
            raise PromptVariableError(f"prompt {name!r} cannot be rendered: {error}") from error
        return Rendered(messages, prompt.hash, prompt.role, prompt.purpose)

    def _fill(self, name: str, shown: tuple[tuple[str, object], ...]) -> tuple[Message, ...]:
        return tuple(
            (role, self._template(source).render(dict(shown)).strip("\n"))
            for role, source in self.prompt(name).sections
        )

    def check(self) -> None:
        """Read all prompts, so that a bad file is known before any work is done.

        Raises:
            PromptFileError: a file is not in the expected form, or it cannot stand for ours: its
                name is none of ours, or it takes variables or a schema that ours does not.
        """
        for name in self.names():
            prompt, own = self.prompt(name), self._own(name)
            if own is None:
                near = difflib.get_close_matches(name, _own_names(), n=1, cutoff=0.6)
                hint = f"did you mean {near[0]}.md?" if near else "rename or remove it"
                raise PromptFileError(
                    f"{self._find(name)} replaces no prompt (there are {', '.join(_own_names())}); "
                    f"{hint}"
                )
            if extra := sorted(prompt.variables - own.variables):
                raise PromptFileError(
                    f"{self._find(name)}: there is no variable {', '.join(extra)} in this prompt; "
                    f"there are {', '.join(sorted(own.variables))}"
                )
            if prompt.schema != own.schema:
                raise PromptFileError(
                    f"{self._find(name)}: schema must be {own.schema!r}, not {prompt.schema!r}"
                )

    def role(self, name: str) -> str:
        """Whose model a prompt is for: as this package has it, whatever a user's file says.

        Raises:
            PromptFileError: there is no such prompt.
        """
        return (self._own(name) or self.prompt(name)).role

    def _own(self, name: str) -> Prompt | None:
        """The prompt of this package that goes by a name."""
        if name not in self._own_ones:
            path = OWN_FOLDER / f"{name}.md"
            found = _parse(name, path, self._environment) if path.is_file() else None
            self._own_ones[name] = found
        return self._own_ones[name]

    def _find(self, name: str) -> Path:
        for folder in self._folders:
            path = folder / f"{name}.md"
            if path.is_file():
                return path
        raise PromptFileError(f"there is no prompt {name!r}; known are {', '.join(self.names())}")


def _own_names() -> list[str]:
    return sorted(path.stem for path in OWN_FOLDER.glob("*.md"))


def _environment() -> SandboxedEnvironment:
    """Jinja2 that cannot reach into Python, for prompt files that come from anywhere."""
    environment = SandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["json"] = _as_json
    environment.filters["fenced"] = _as_fenced
    return environment


def _as_json(value: object) -> str:
    """A fenced block of JSON; line breaks inside strings are escaped, so the fence is safe."""
    return _as_fenced(json.dumps(value, indent=2, ensure_ascii=False), "json")


def _as_fenced(text: str, language: str = "") -> str:
    """A fenced block whose fence is longer than every run of backticks inside."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _parse(name: str, path: Path, environment: SandboxedEnvironment) -> Prompt:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptFileError(f"{path} cannot be read: {error}") from error
    parts = _PARTS.match(text)
    if parts is None:
        raise PromptFileError(f"{path} must begin with TOML between two lines '+++'")
    front = _front_matter(path, parts["front"])
    variables: frozenset[str] = frozenset(front["variables"])
    sections = _sections(path, parts["body"])
    _check_templates(path, sections, variables, environment)
    schema = front.get("schema")
    return Prompt(
        name=name,
        role=str(front["role"]),
        purpose=str(front["purpose"]),
        variables=variables,
        schema=None if schema is None else str(schema),
        sections=sections,
        hash=hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS],
    )


def _front_matter(path: Path, text: str) -> dict[str, Any]:
    try:
        front = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PromptFileError(f"{path}: the front matter is not TOML: {error}") from error
    missing = _FRONT_KEYS - {"schema"} - front.keys()
    unknown = front.keys() - _FRONT_KEYS
    if missing or unknown:
        raise PromptFileError(
            f"{path}: front matter needs role, purpose, variables and may have schema; "
            f"missing {sorted(missing)}, unknown {sorted(unknown)}"
        )
    names = front["variables"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise PromptFileError(f"{path}: variables must be a list of names")
    return front


def _sections(path: Path, body: str) -> tuple[Message, ...]:
    """Split at the section lines of the file itself, before any variable is filled in."""
    pieces = _SECTION.split(body)
    roles, sources = pieces[1::2], pieces[2::2]
    unknown = [role for role in roles if role not in get_args(MessageRole)]
    if not roles or unknown or pieces[0].strip():
        raise PromptFileError(
            f"{path}: after the front matter, each message begins with a line '=== user ===' "
            "(or system, assistant), and nothing stands before the first"
        )
    return tuple(
        (cast(MessageRole, role), source) for role, source in zip(roles, sources, strict=True)
    )


def _check_templates(
    path: Path,
    sections: tuple[Message, ...],
    variables: frozenset[str],
    environment: SandboxedEnvironment,
) -> None:
    used: set[str] = set()
    for _, source in sections:
        try:
            used |= meta.find_undeclared_variables(environment.parse(source))
        except TemplateSyntaxError as error:
            line = f"template line {error.lineno}"
            raise PromptFileError(f"{path}: {error.message} ({line})") from error
    if used != variables:
        raise PromptFileError(
            f"{path}: declared variables {sorted(variables)} differ from used {sorted(used)}"
        )


def _check_variables(prompt: Prompt, variables: Mapping[str, object]) -> None:
    missing = sorted(prompt.variables - variables.keys())
    unknown = sorted(variables.keys() - prompt.variables)
    if missing or unknown:
        raise PromptVariableError(
            f"prompt {prompt.name!r} takes {sorted(prompt.variables)}: "
            f"missing {missing}, not declared {unknown}"
        )


def worked_example() -> dict[str, Any]:
    """The proposal that `propose` shows: the family folder `prompts/example`, as one object."""
    metadata = (_EXAMPLES / "task.json").read_text(encoding="utf-8")
    example: dict[str, Any] = json.loads(metadata)
    code = example_programs()["task"]
    ordered = ["name", "description", "capability", "difficulty"]
    return {key: example.pop(key) for key in ordered} | {"code": code} | example


def example_programs() -> dict[str, str]:
    """The worked example's program, `task`, and others that a population is first tried on."""
    files = sorted(_EXAMPLES.glob("*.py"))
    return {path.stem: path.read_text(encoding="utf-8") for path in files}
