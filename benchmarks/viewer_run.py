"""A run that nobody ran: made-up families, experts and answers in a real run.db, for `viewer`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agents.config import RunConfig
from agents.families.items import item_of
from evolution.genome import Genome
from memory.hashing import text_hash
from memory.records import (
    Answer,
    ArchiveEntry,
    Assignment,
    Call,
    ChatMessage,
    Critique,
    Draft,
    Expert,
    Family,
    GateReport,
    Grade,
    Instance,
    LevelRate,
    Outcome,
    Rejection,
    Reply,
    Skill,
    TrialAnswer,
)
from memory.store import RunStore, StoredSpan
from memory.store.journal import insert_spans

SEEDS = ("numbers", "words", "logic")
FIELDS = ("arithmetic", "word meaning", "logic and deduction", "geometry", "time", "spelling")
CAPABILITIES = [f"{verb} {what}" for verb in ("counting", "sorting", "naming") for what in FIELDS]
OPERATORS = ("slerp+spectral", "linear+spectral", "task_arithmetic+spectral", "regmean")
REASONS = ("too_hard", "leaked", "duplicate", "critic_reject", "malformed", "reference_fails")
GENERATION_SECONDS = 120.0
BEGUN = 1_790_000_000.0
INSTANCES = 4
PROGRAM = "def step(x):\n    return x + 1  # one more line of a program\n" * 40


@dataclass(frozen=True)
class Size:
    """How large a run is.

    Attributes:
        pool: families that grade at a time; each expert answers four instances of each.
        children: experts that are bred in a generation.
    """

    families: int
    experts: int
    pool: int
    children: int = 8
    archive: int = 24

    @property
    def generations(self) -> int:
        """How many there are, the founders' included."""
        return -(-self.experts // self.children)

    @property
    def answers(self) -> int:
        """How many there will be."""
        return self.experts * self.pool * INSTANCES

    def pool_of(self, generation: int) -> range:
        """The families that grade in a generation: a window that moves over all of them."""
        room = self.families - self.pool
        first = round(room * generation / max(self.generations - 1, 1))
        return range(first, first + self.pool)


def make_run(folder: Path, size: Size) -> None:
    """Write the run; it takes about a minute for 200,000 answers."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    config = {**RunConfig().model_dump(mode="json"), "generations": size.generations - 1}
    (folder / "config.json").write_text(json.dumps({"config": config, "versions": {}}))
    with RunStore.open(folder) as store, store.transaction():
        families = [_family(number, size) for number in range(size.families)]
        _put_families(store, families, size, rng)
        experts = [_expert(number, size, rng) for number in range(size.experts)]
        _put_experts(store, experts, rng)
        _put_answers(store, experts, families, size, rng)
        _put_archives(store, experts, size, rng)
        _put_finals(store, experts, families, rng)
        store.select("UPDATE archives SET at = ? + generation * ?", (BEGUN, GENERATION_SECONDS))
    with RunStore.open(folder) as store:
        insert_spans(store._connection, [*_spans(experts, size)])


def _family(number: int, size: Size) -> Family:
    born = number * size.generations // size.families
    code = f"# family {number}\n{PROGRAM}"
    return Family(
        id=f"g{born}-a{number:04}-family-{number}",
        generation=born,
        name=f"{CAPABILITIES[number % len(CAPABILITIES)]}, variant {number}",
        description="A made-up family, which asks for a number. " * 3,
        capability=CAPABILITIES[number % len(CAPABILITIES)],
        difficulty=1 + number % 5,
        code=code,
        code_hash=text_hash(code),
        levels=5,
        level=1 + number % 5,
        seed=number,
        curve=(LevelRate(level=1 + number % 5, asked=12, passed=number % 13),),
        field=FIELDS[number % len(FIELDS)],
        instructions={"1": f"What is {number} + 1?", "2": f"What is {number} + 2?"},
        reference_answers={"1": str(number + 1), "2": str(number + 2)},
        wrong_answers={"1": ["0"], "2": ["0"]},
        kind=("novel", "harder", "related", "easier")[number % 4],
        scientist=f"model-{number % 3}",
        generator=f"generator_{number % 40}",
    )


def _put_families(
    store: RunStore, families: list[Family], size: Size, rng: np.random.Generator
) -> None:
    active = set(size.pool_of(size.generations - 1))
    for number, family in enumerate(families):
        store.put_family(family)
        assignment = f"g{family.generation}-a{number:04}"
        _put_assignment(store, assignment, family.generation, number, family)
        store.finish_assignment(assignment, "accepted", family_id=family.id)
        store.put_instances([_instance(family, place) for place in range(INSTANCES)])
        if number not in active:
            store.set_family_status(family.id, "retired", "least discrimination")
    store.select(
        "UPDATE family_events SET at = ? + ? * (SELECT generation FROM families "
        "WHERE id = family) + IIF(status = 'retired', ?, -1)",
        (BEGUN, GENERATION_SECONDS, 4.5 * GENERATION_SECONDS),
    )
    for number in range(size.families // 4):
        name = f"g{number % size.generations}-r{number:04}"
        _put_assignment(store, name, number % size.generations, number, families[number])
        reason = REASONS[number % len(REASONS)]
        store.finish_assignment(name, "rejected", Rejection(reason=reason, detail="made up"))  # type: ignore[arg-type]
    vectors = rng.normal(size=(len(families), 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [text_hash(family.novelty_text()) for family in families]
    store.put_embeddings("minilm", dict(zip(texts, vectors, strict=True)))


def _put_assignment(
    store: RunStore, name: str, generation: int, number: int, family: Family
) -> None:
    store.put_assignment(
        Assignment(id=name, generation=generation, index=number, kind="novel", rng_seed=number)
    )
    tried = TrialAnswer(
        expert="numbers", instance="1", question="?", text="Answer: 4", extracted="4", passed=True
    )
    store.put_draft(
        Draft(
            assignment=name,
            round=0,
            proposal={"name": family.name, "code": family.code},
            gates=GateReport(code=None if number % 3 else "too_hard"),
            curve=family.curve,
            answers=(tried,) * 12,
            critique=Critique(verdict="accept", problems=["none to speak of"]),
        )
    )
    for role, purpose in (("scientist", "propose"), ("critic", "critique")):
        said = ChatMessage(role="user", content=f"{purpose} {name}. " + "Words of a prompt. " * 200)
        store.put_call(
            Call(
                key=text_hash(f"{role} {name}", 32),
                role=role,  # type: ignore[arg-type]
                purpose=purpose,
                model=f"model-{number % 3}",
                endpoint="http://localhost:8000/v1",
                assignment=name,
                round=0,
                messages=(said,),
                response="A reply. " * 200,
                tokens_in=900,
                tokens_out=600,
                seconds=2.0 + number % 7,
            )
        )


def _instance(family: Family, place: int) -> Instance:
    return Instance(
        family=family.id,
        period=family.generation,
        name=f"{1 + place % 2}@{family.level}.{place}",
        instructions=f"{family.example_instruction} ({place})",
        reference=str(place),
    )


def _expert(number: int, size: Size, rng: np.random.Generator) -> Expert:
    generation, birth = divmod(number, size.children)
    before = range(max(0, number - 3 * size.children), number - birth)
    parents = tuple(_name(int(n), size) for n in rng.choice(before, 2)) if generation else ()
    founders = ("base", *("seed",) * len(SEEDS))
    founded = founders[number] if number < len(founders) else OPERATORS[number % len(OPERATORS)]
    return Expert(
        id=_name(number, size),
        genome_id=text_hash(f"genome {number}", 32),
        generation=generation,
        birth=birth,
        operator=founded if not generation else OPERATORS[number % len(OPERATORS)],
        parents=parents,
    )


def _name(number: int, size: Size) -> str:
    first = ("base", *SEEDS)
    generation, birth = divmod(number, size.children)
    return first[number] if number < len(first) else f"g{generation}-{birth}"


def _put_experts(store: RunStore, experts: list[Expert], rng: np.random.Generator) -> None:
    for expert in experts:
        shape = (32, len(SEEDS))
        genome = Genome(
            rng.normal(0.5, 0.3, shape).astype(np.float32),
            {f"matrix.{n}": rng.normal(size=64).astype(np.float32) for n in range(210)},
        )
        store.put_genome(expert.genome_id, genome.to_bytes())
        store.put_expert(expert)


def _put_answers(
    store: RunStore,
    experts: list[Expert],
    families: list[Family],
    size: Size,
    rng: np.random.Generator,
) -> None:
    items = [
        [item_of(family, _instance(family, place)) for place in range(INSTANCES)]
        for family in families
    ]
    ability = rng.random((len(experts), 1)) * 0.6
    ease = rng.random(len(families))
    for number, expert in enumerate(experts):
        answers, grades = [], []
        for column in size.pool_of(expert.generation):
            family = families[column]
            right = rng.random(INSTANCES) < ability[number] * (1.6 * ease[column])
            for place, passed in enumerate(right.tolist()):
                key = f"{number:06x}{column:06x}{place:04x}"
                answers.append(_answer(key, expert, items[column][place].instance_hash, passed))
                grades.append(
                    Grade(
                        key=key, answer_key=key, code_hash=family.code_hash, vote=0, passed=passed
                    )
                )
            counts = Skill(passes=int(right.sum()), asked=INSTANCES)
            store.set_skill(expert.id, family.id, counts, family.generation)
        store.put_answers(answers)
        store.put_grades(grades)


def _answer(key: str, expert: Expert, instance_hash: str, passed: bool) -> Answer:
    text = "I add the numbers one by one, and then once more to be sure.\nAnswer: 42"
    return Answer(
        key=key,
        genome_id=expert.genome_id,
        instance_hash=instance_hash,
        sample=0,
        reply=Reply(text=text, tokens_in=60, tokens_out=24, finish_reason="stop", seconds=0.1),
        extracted="42" if passed else text,
        unmarked=not passed,
    )


def _put_archives(
    store: RunStore, experts: list[Expert], size: Size, rng: np.random.Generator
) -> None:
    for generation in range(size.generations):
        born = [e for e in experts if e.generation <= generation][-2 * size.archive :]
        chosen = rng.permutation(len(born))[: size.archive]
        fitness = np.sort(rng.random(len(chosen)))[::-1]
        entries = [
            ArchiveEntry(
                expert=born[int(place)].id,
                rank=rank,
                fitness=float(fitness[rank]),
                novelty=float(rng.random() * 50) if rank else 999.0,
            )
            for rank, place in enumerate(chosen)
        ]
        store.put_archive(generation, entries)


def _put_finals(
    store: RunStore, experts: list[Expert], families: list[Family], rng: np.random.Generator
) -> None:
    finalists, asked = experts[-12:], families[-40:]
    store.put_outcomes(
        [
            Outcome(
                expert=expert.id,
                temperature=temperature,
                family=family.id,
                instance=instance,
                passes=int(rng.integers(0, samples + 1)),
                asked=samples,
            )
            for expert in finalists
            for family in asked
            for instance in ("1@1.1", "2@1.1")
            for temperature, samples in ((0.0, 1), (0.7, 2))
        ]
    )
    force = [{"n": 1, "coverage": 0.5, "experts": [finalists[0].id], "temperatures": [0.0]}]
    coverage = {"archive": 0.5, "seeds": 0.3, "task_force": force, "experts": []}
    store.put_meta("summary", {"coverage": coverage, "families": 40, "instances": 80})  # type: ignore[dict-item]
    store.put_meta("finals", {"families": [family.id for family in asked]})
    store.put_meta("finished", True)


def _spans(experts: list[Expert], size: Size) -> Iterator[StoredSpan]:
    def span(kind: str, name: str, start: float, seconds: float, **attributes: int) -> StoredSpan:
        key = text_hash(f"{kind} {name} {start}")
        ended = int((start + seconds) * 1e9)
        return StoredSpan(
            id=key,
            trace="t",
            kind=kind,
            name=name,
            started_ns=int(start * 1e9),
            ended_ns=ended,
            attributes=dict(attributes),
        )

    for generation in range(size.generations):
        start = BEGUN + (generation - 1) * GENERATION_SECONDS
        for place, phase in enumerate(("draft", "admission", "evolution", "judge", "selection")):
            yield span("phase", phase, start + 20 * place, 20.0)
    for expert in experts:
        start = BEGUN + (expert.generation - 1) * GENERATION_SECONDS + 60 + expert.birth
        prompts = {"acdc.prompts": size.pool * INSTANCES}
        yield span("answer", f"examine {expert.id}", start, 1.0, **prompts)
