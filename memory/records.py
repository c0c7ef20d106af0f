"""The typed records that rooms exchange, and nothing else.

Every record is an immutable pydantic model: it validates at the boundary, compares by value and
serialises to JSON. Identifiers are plain strings that read well in a terminal:

- expert: `base`, `numbers`, ... for seeds, `g3-1` for the second child of generation 3;
- assignment: `g2-a05`; the family that grows out of it: `g2-a05-spell-backward`;
- genome, answer, grade, call, message: a hexadecimal content hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

Json = JsonValue
Skills = Mapping[str, bool]
"""Skill vector of one expert: family id -> passed. An absent family is *missing*, not failed."""
SkillCounts = Mapping[str, "Skill | bool"]
"""Skill vector as counts, likewise; a verdict alone is one instance, as of a closed family."""

AssignmentKind = Literal["novel", "related", "harder", "easier"]
EventKind = Literal[
    "founding_wave",
    "founding_in_vain",
    "missing",
    "gibberish",
    "graft",
    "graft refused",
    "eliminated",
    "waiting",
]
AssignmentStatus = Literal["open", "candidate", "accepted", "rejected"]
FamilyStatus = Literal["active", "held", "retired"]
FinishReason = Literal["stop", "length"]
Role = Literal["scientist", "critic", "rater", "chooser"]
Verdict = Literal["accept", "refine", "reject"]


class Record(BaseModel):
    """Base of all records: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Skill(Record):
    """How many instances of a family an expert passes, of those that it was graded on.

    A closed family counts as one instance, which is passed if both of its own are.
    """

    passes: int = Field(ge=0)
    asked: int = Field(ge=1)

    @model_validator(mode="after")
    def _no_more_than_asked(self) -> Self:
        if self.passes > self.asked:
            raise ValueError(f"{self.passes} passes of {self.asked} instances")
        return self

    @property
    def rate(self) -> float:
        """Share of the instances that are passed."""
        return self.passes / self.asked

    @property
    def passed(self) -> bool:
        """The verdict in one word: more than half are passed; of a closed family, all."""
        return 2 * self.passes > self.asked


def rate_of(skill: Skill | float) -> float:
    """The pass rate that a skill, a rate or a verdict stands for."""
    return skill.rate if isinstance(skill, Skill) else float(skill)


class ChatMessage(Record):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Sampling(Record):
    """How tokens are drawn. Temperature 0 is greedy."""

    temperature: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    max_tokens: int = Field(default=32, ge=1)


class Token(NamedTuple):
    """One token of a reply.

    Attributes:
        text: what it adds to the text: nothing, if it is special or ends within a character.
        logprob: its log-probability at temperature 1.
    """

    text: str
    logprob: float


class Reply(Record):
    """What an engine returns for one prompt.

    Attributes:
        text: decoded completion without special tokens.
        tokens_in: prompt tokens, padding not counted.
        tokens_out: completion tokens, the end token included.
        finish_reason: `stop` if the model ended by itself, `length` at the token limit.
        seconds: wall-clock share of this reply in its batch.
        logprob: mean log-probability of the completion tokens, where asked for.
        certainty: self-certainty of the completion, where log-probabilities are asked for and the
            engine sees whole distributions.
        tokens: the text token by token, where asked for; joined, they are the text. The end token
            is not among them. They are for the caller only, and never stored.
    """

    text: str
    tokens_in: int
    tokens_out: int
    finish_reason: FinishReason
    seconds: float
    logprob: float | None = None
    certainty: float | None = None
    tokens: tuple[Token, ...] | None = Field(default=None, exclude=True)


class Expert(Record):
    """One member of the population; its genome is stored apart, under `genome_id`.

    Attributes:
        generation: 0 for founders.
        birth: index within the generation, the tie-breaker of age.
        operator: `base`, `seed`, `merge` (of seeds, before the run), `graft` (of experts, during
            it), `tutor` (taught), `cma` (of an emitter), or crossover and mutations joined by
            `+`, as in `linear+spectral`.
        parameters: what the operators drew (weights, strength, ...).
        rng_seed: the seed of the stream that bred it; None for the base and the seeds.
    """

    id: str
    genome_id: str
    generation: int
    birth: int
    operator: str
    parents: tuple[str, ...] = ()
    parameters: dict[str, Json] = Field(default_factory=dict)
    rng_seed: int | None = None

    @property
    def is_seed(self) -> bool:
        """Whether this expert is the base or a seed, not bred."""
        return self.operator in ("base", "seed")

    @property
    def is_merge(self) -> bool:
        """Whether this expert is a whole merge, whose columns joined the bank as anchors."""
        return self.operator in ("merge", "graft", "regmean")


class Graft(Record):
    """An anchor that a run made itself, with all that is needed to have it again.

    Attributes:
        anchor: its name in the bank.
        content_hash: of the checkpoint that it stands for.
        path: of its difference from the base, relative to the run folder.
        parents: experts that were merged, or the one that was taught.
        method: of mergekit, `regmean` or `tutor`; `parameters` are its own.
    """

    kind: ClassVar[EventKind] = "graft"
    anchor: str
    content_hash: str
    path: str
    parents: tuple[str, ...]
    method: str
    parameters: dict[str, Json] = Field(default_factory=dict)


class Emitter(Record):
    """A search of coefficients that learns from its children (see `evolution.breeding.search`).

    Attributes:
        id: names the generation and number of its first child.
        generation: in which it began.
        parent: expert at which it began.
        columns: of the parent's coefficients, those that it varies.
        sigma: standard deviation of its first children, in coefficients.
        weights: family -> what the task force lacked of it when the search began, 0 to 1.
        ended: why no more children are asked for; None while it goes on.
    """

    id: str
    generation: int
    parent: str
    columns: tuple[int, ...]
    sigma: float
    weights: dict[str, float]
    ended: str | None = None


class Emission(Record):
    """A child that an emitter asked for.

    Attributes:
        expert: id of the child.
        emitter: id of the emitter.
        vector: where the child lies from the parent, in the coordinates of the search.
        value: what it gains the task force; None before it is graded.
    """

    expert: str
    emitter: str
    vector: tuple[float, ...]
    value: float | None = None


FIXED = -1
"""The period of the two instances of a closed family, which never change."""
OWN = -2
"""The period of the instances with which a generative family was written: nobody is ranked on
them."""
FINALS = 1_000_000
"""The period of the finals: later than any in which experts were selected."""
LEARNING = -3
"""The period of what the lesson of generation 0 learns from; see `learning`."""


def learning(generation: int) -> int:
    """The period of what the lesson of a generation learns from: nobody is ranked on it."""
    return LEARNING - generation


def is_learning(period: int) -> bool:
    """Whether the instances of a period are learnt from."""
    return period <= LEARNING


def drawn(number: str, level: int, seed: int) -> str:
    """The name of an instance of a generative family, as in `1@3.17`: level 3, seed 17.

    An instance of a closed family is called by its number alone, "1" or "2".
    """
    return f"{number}@{level}.{seed}"


class Instance(Record):
    """A fresh instance of a generative family, drawn for one adaptation period or for the finals.

    Attributes:
        family: id of the family.
        period: number of the adaptation period, from 0, or `FINALS`; or what `learning` gives.
        name: in the sandbox, as `drawn` writes it.
        instructions: what is asked.
        reference: an answer that passes.
        wrong: answers that fail.
    """

    family: str
    period: int
    name: str
    instructions: str
    reference: str
    wrong: tuple[str, ...] = ()


class Outcome(Record):
    """What came of one instance in the finals.

    Attributes:
        expert: who answered.
        temperature: at which it answered; 0 is greedy.
        family: id of the family.
        instance: its name.
        passes: answers that pass.
        asked: answers that are graded.
    """

    expert: str
    temperature: float
    family: str
    instance: str
    passes: int = Field(ge=0)
    asked: int = Field(ge=1)

    @property
    def voice(self) -> Voice:
        """Who answered, and how."""
        return Voice(self.expert, self.temperature)


class Voice(NamedTuple):
    """An expert at a temperature: what answers in a task force.

    Attributes:
        expert: id of the expert.
        temperature: at which it answers; 0 is greedy.
    """

    expert: str
    temperature: float = 0.0

    @property
    def greedy(self) -> bool:
        """Whether it always gives the same answer."""
        return self.temperature == 0.0

    @property
    def label(self) -> str:
        """How a person reads it: `g3-1`, or `g3-1 at 0.7`."""
        return self.expert if self.greedy else f"{self.expert} at {self.temperature:g}"


class LevelRate(Record):
    """What the trial panel answered at one level of a drafted family.

    Attributes:
        level: counted from 1, the easiest.
        asked: answers given, over all experts and instances.
        passed: those of them that were right.
        chance: share of instances of this level that the best constant answer passes.
    """

    level: int = Field(ge=1)
    asked: int
    passed: int
    chance: float = 0.0

    @property
    def rate(self) -> float:
        """Share of right answers in excess of chance: 0 is guessing, 1 all; below 0 worse."""
        return (self.passed / self.asked - self.chance) / (1 - self.chance) if self.asked else 0.0


class Family(Record):
    """A task family: a program with `get_tasks`, `get_instructions`, `score`, and its metadata.

    A *generative* family draws its instances from a seed at one of several levels; a *closed* one
    has two fixed instances.

    Attributes:
        code: the text of `task.py`.
        levels: how many levels the program has; 1 for a closed family.
        level: the level at which the family asks, from 1.
        seed: of its own two instances; None for a closed family.
        curve: what the trial panel passed at the levels that it was asked, the easiest first.
        field: the field that the assignment named; "" if it named none.
        instructions: instance number ("1", "2") -> instruction text, computed once in the sandbox,
            so that every expert is asked the same.
        reference_answers: instance -> an answer that scores 1.
        wrong_answers: instance -> answers that score 0.
        rated: True if graded by a rater with `rubric` and not by code alone.
        generator: which procedural generators stand behind it, for offline families; else "".
        code_hash: content hash of `code`; part of the key of grades.
    """

    id: str
    generation: int
    name: str
    description: str
    capability: str
    difficulty: int = Field(ge=1, le=5)
    code: str
    code_hash: str
    levels: int = Field(default=1, ge=1)
    level: int = Field(default=1, ge=1)
    seed: int | None = None
    curve: tuple[LevelRate, ...] = ()
    field: str = ""
    instructions: dict[str, str]
    reference_answers: dict[str, str]
    wrong_answers: dict[str, list[str]]
    rated: bool = False
    rubric: str | None = None
    parents: tuple[str, ...] = ()
    kind: AssignmentKind
    scientist: str
    generator: str = ""
    prompt_hashes: dict[str, str] = Field(default_factory=dict)
    revisions: int = 0

    @property
    def generative(self) -> bool:
        """Whether the family draws instances from seeds."""
        return self.seed is not None

    @property
    def chance(self) -> float:
        """Share of instances that the best constant answer passes, at the family's level."""
        return next((rate.chance for rate in self.curve if rate.level == self.level), 0.0)

    @property
    def example_instruction(self) -> str:
        """The instruction of the first instance."""
        return self.instructions["1"]

    def novelty_text(self) -> str:
        """The text that the novelty memory embeds, the same for storing and for querying."""
        return novelty_text(self.name, self.description, self.capability, self.example_instruction)


def novelty_text(name: str, description: str, capability: str, example: str) -> str:
    """What is embedded of a family: its name, what it is about, and its first instruction."""
    return f"{name}: {description}\nCapability: {capability}\nExample: {example}"


class Said(Record):
    """What one expert answered to a question, as it was graded."""

    expert: str
    answer: str
    passed: bool


class Exchange(Record):
    """A question of a family, an answer that is right, and what experts answered."""

    question: str
    reference: str
    replies: tuple[Said, ...]


class Habit(Record):
    """What experts do in place of solving a question.

    Attributes:
        what: in words, beginning with what is counted.
        share: of the answers that are counted.
        of: how many those are.
    """

    what: str
    share: float
    of: int


class Audience(Record):
    """Whom a scientist writes for: the population when the assignment was written.

    Attributes:
        parameters: of the model of one expert.
        experts: how many the archive holds.
        max_tokens: of one answer.
        exchanges: a few real questions with replies and verdicts.
        habits: computed from all answers that were at hand.
    """

    parameters: int
    experts: int
    max_tokens: int
    exchanges: tuple[Exchange, ...] = ()
    habits: tuple[Habit, ...] = ()


class Assignment(Record):
    """What a scientist is asked for.

    Attributes:
        parent: the family to start from (required but for `novel`).
        inspirations: up to three families of the pool, shown for contrast.
        weak_spots: capabilities that about half of the archive has, in words.
        lately_rejected: short lines, `name: reason`, so that mistakes are not repeated.
        taken_names: names of families that there are, so that they are not written again.
        field: a field that the pool has few families of; "" if none is named.
        audience: who answers; None where that is not known.
        panel: experts that answer its trials; None before there is an archive: the seeds.
        rng_seed: seeds the sampling of all calls for this assignment.
    """

    id: str
    generation: int
    index: int
    kind: AssignmentKind
    parent: str | None = None
    inspirations: tuple[str, ...] = ()
    weak_spots: tuple[str, ...] = ()
    lately_rejected: tuple[str, ...] = ()
    taken_names: tuple[str, ...] = ()
    field: str = ""
    audience: Audience | None = None
    panel: tuple[str, ...] | None = None
    rng_seed: int


GateCode = Literal[
    "rubric_missing",
    "no_rater",
    "length_tells",
    "rater_undecided",
    "instance_count",
    "instruction_empty",
    "instruction_malformed",
    "instruction_unstable",
    "leaked",
    "executes_submission",
    "import_error",
    "timeout",
    "memory",
    "crash",
    "judge_limit",
    "prompt_too_long",
    "skipped",
    "score_range",
    "score_unstable",
    "time_bomb",
    "reference_fails",
    "wrong_passes",
    "empty_passes",
    "echo_passes",
    "constant_answer",
    "answers_missing",
    "levels_malformed",
    "instances_repeat",
    "choice_place",
    "levels_disordered",
    "levels_gap",
    "too_hard",
    "too_easy",
    "equal_scores",
    "constant_passes",
    "duplicate",
    "not_novel",
]
"""Why a draft did not pass the gates, could not grade an expert's answer, or did not separate the
experts that answered it."""

RejectionReason = (
    GateCode
    | Literal[
        "malformed",
        "rounds_exhausted",
        "critic_reject",
        "context_length",
        "endpoint",
    ]
)
"""Why an assignment came to nothing: its draft, the critic, the novelty memory, or the endpoint."""


class FoundingWave(Record):
    """Assignments were written to fill the founding pool; waves are numbered from 0."""

    kind: ClassVar[EventKind] = "founding_wave"
    wave: int
    assignments: int


class FoundingInVain(Record):
    """All founding waves ended without a family."""

    kind: ClassVar[EventKind] = "founding_in_vain"
    waves: int


class GraftRefused(Record):
    """A graft or a lesson was due, and came to nothing."""

    kind: ClassVar[EventKind] = "graft refused"
    reason: str
    lesson: bool = False


class MissingGrade(Record):
    """An expert could not be graded on a family."""

    kind: ClassVar[EventKind] = "missing"
    expert: str
    family: str
    reason: str


class GibberishFound(Record):
    """The replies of a bred expert are gibberish."""

    kind: ClassVar[EventKind] = "gibberish"
    expert: str
    reason: str


class Eliminated(Record):
    """A child left the race: after some of its answers it could hardly survive any more.

    Attributes:
        expert: who is not asked the rest.
        survival: share of the simulated ends of the race in which it survives.
        asked: instances that it was graded on.
    """

    kind: ClassVar[EventKind] = "eliminated"
    expert: str
    survival: float
    asked: int


class LongWait(Record):
    """Something was waited for for long; it has ended if there is a span of that id.

    Attributes:
        span: id of the span that was open.
        what: in words.
        seconds: by then.
    """

    kind: ClassVar[EventKind] = "waiting"
    span: str
    what: str
    seconds: float


Happened = (
    FoundingWave
    | FoundingInVain
    | MissingGrade
    | GibberishFound
    | Graft
    | GraftRefused
    | Eliminated
    | LongWait
)
"""What a run records besides the tables, in the order in which it happened."""


class GateReport(Record):
    """Outcome of the gates for one draft.

    Attributes:
        code: reason code of the first gate that failed, None if all passed.
        detail: for the scientist: what was expected and found, for which instance, in all gates
            that failed. It is sent to the model, so rewording it changes the keys of calls.
        instructions: instance ("1", "2") -> text, as far as the sandbox got.
        references: instance -> an answer that scores 1; stated or computed.
        wrong: instance -> answers that score 0.
        levels: how many levels the program has.
        level: the level of these two instances.
        seed: of these two instances; None for a closed family.
        chances: per level, the share of instances that the best constant answer passes.
    """

    code: GateCode | None
    detail: str = ""
    instructions: dict[str, str] = Field(default_factory=dict)
    references: dict[str, str] = Field(default_factory=dict)
    wrong: dict[str, list[str]] = Field(default_factory=dict)
    levels: int = 1
    level: int = 1
    seed: int | None = None
    chances: tuple[float, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every gate was passed."""
        return self.code is None


class TrialAnswer(Record):
    """A real answer of a current expert to a drafted instance, shown to scientist and critic."""

    expert: str
    level: int = 1
    instance: str
    question: str = ""
    reference: str = ""
    text: str
    extracted: str
    passed: bool | None


class Critique(Record):
    """A critic's judgement of a draft."""

    verdict: Verdict
    problems: list[str] = Field(default_factory=list)


class Draft(Record):
    """One round of a scientist's work: the proposal and all that happened to it.

    Attributes:
        round: 0 for the proposal, 1.. for its refinements.
        proposal: as parsed (fields of `agents.families.proposal.Proposal`), None if unparsable.
        problem: why the reply could not be parsed, as shown to the scientist; None if it could.
        gates: what the gates found, and after them the calibration by the trial panel.
        curve: what the panel passed at the levels that it was asked, the easiest first.
        answers: of the panel.
    """

    assignment: str
    round: int
    proposal: dict[str, Json] | None
    problem: str | None = None
    gates: GateReport | None = None
    curve: tuple[LevelRate, ...] = ()
    answers: tuple[TrialAnswer, ...] = ()
    critique: Critique | None = None


class Rejection(Record):
    """Why an assignment came to nothing. `reason` is a code that is counted, `detail` one line."""

    reason: RejectionReason
    detail: str = ""


class Answer(Record):
    """One stored answer of one genome. `key` covers all that could change the text."""

    key: str
    genome_id: str
    instance_hash: str
    sample: int
    reply: Reply
    extracted: str
    unmarked: bool


class Grade(Record):
    """One stored grade, by a family's code or by one vote of a rater.

    Attributes:
        code_hash: content hash of what graded: the code, or the rubric with all that goes with it.
        vote: 0 for code, which votes once; the index of a rater's vote.
        detail: the rater's reason.
        rater: the rater's model; "" for code.
    """

    key: str
    answer_key: str
    code_hash: str
    vote: int
    passed: bool
    detail: str = ""
    rater: str = ""


class Call(Record):
    """One LLM call with its whole transcript (messages are stored by content).

    Attributes:
        key: hash of everything that was sent, plus assignment, round and sample index.
        purpose: `propose`, `refine`, `critique`, `novelty`, ...
        response: visible text; None if the call failed.
        reasoning: what stood in `<think>` blocks or in a reasoning field.
        finish_reason: how the server reports that it ended: `stop`, `length`, `refusal`, ...
        refused: what was asked for and the endpoint does not take, so that the reply was made
            without: `temperature`, `json_schema`, ...; `max_tokens` went as
            `max_completion_tokens`.
        error: one line, for a failed call.
        cached: how often the stored response was used again.
    """

    key: str
    role: Role
    purpose: str
    model: str
    endpoint: str
    assignment: str | None
    round: int
    messages: tuple[ChatMessage, ...]
    response: str | None
    reasoning: str = ""
    finish_reason: str = "stop"
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    attempts: int = 1
    refused: tuple[str, ...] = ()
    error: str | None = None
    cached: int = 0
    prompt_hash: str = ""


class ArchiveEntry(Record):
    """Membership of one expert in the archive of one generation."""

    expert: str
    rank: int
    fitness: float
    novelty: float
