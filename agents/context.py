"""What the nodes of the graph work with: one handle per room, passed in and never reached for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agents.chat import ChatClient
from agents.judge.examiner import Examiner
from agents.judge.grader import KnownScores
from agents.judge.rater import Rater
from agents.progress import DraftProgress, Progress, silent
from agents.sandbox import Sandbox
from agents.settings import (
    AnsweringSettings,
    GateSettings,
    JudgeSettings,
    PoolSettings,
    PopulationSettings,
    ScientistSettings,
)
from evolution.breeding.settings import BreedingSettings
from evolution.genome.genome import Genome
from evolution.population import Population
from evolution.selection import Candidate
from evolution.selection.settings import SelectionSettings
from memory.novelty.memory import NoveltyMemory
from memory.records import ChatMessage, Expert
from memory.settings import NoveltySettings
from memory.store.shared import SharedBook
from memory.store.store import RunStore
from prompts import PromptLibrary


@dataclass(slots=True)
class RunContext:
    """Everything that a run needs beside its LangGraph state, which holds ids and counters only.

    Attributes:
        folder: the run folder; every stored path is relative to it.
        seed: the run seed, the root of all random streams.
        generations: how many generations follow the founders.
        has_rater: whether an LLM can judge what cheap statistics leave open.
        has_chooser: whether an LLM can choose among answers.
        shelf: answers that the runs of a study share.
        drafts: tells where the scientists stand.
        known_scores: scores of equal answers, which are computed once.
    """

    folder: Path
    seed: int
    generations: int
    store: RunStore
    novelty: NoveltyMemory
    chat: ChatClient
    prompts: PromptLibrary
    sandbox: Sandbox
    population: Population
    gates: GateSettings
    judge: JudgeSettings
    pool: PoolSettings
    sizes: PopulationSettings
    scientist: ScientistSettings
    breeding: BreedingSettings
    selection: SelectionSettings
    novelty_settings: NoveltySettings
    answering: AnsweringSettings
    has_rater: bool = False
    has_chooser: bool = False
    shelf: RunStore | None = None
    known_scores: KnownScores = field(default_factory=KnownScores)
    progress: Progress = silent
    drafts: DraftProgress = field(init=False)

    def __post_init__(self) -> None:
        """Progress of drafts goes where all progress goes."""
        self.drafts = DraftProgress(self.progress)

    async def examiner(self) -> Examiner:
        """An examiner in front of the engine."""
        return Examiner(
            store=self.store if self.shelf is None else SharedBook(self.store, self.shelf),
            broker=await self.population.broker(),
            sandbox=self.sandbox,
            render=self.render_question,
            settings=self.judge,
            rater=self.rater(),
            known=self.known_scores,
        )

    def rater(self) -> Rater | None:
        """Who grades rated families; None while only the offline model could, which cannot."""
        if not self.has_rater:
            return None
        return Rater(self.chat, self.prompts, self.judge.votes, self.seed)

    def render_question(self, instructions: str) -> list[ChatMessage]:
        """The conversation in which an expert is asked."""
        rendered = self.prompts.render("answer", instructions=instructions)
        return [ChatMessage(role=role, content=content) for role, content in rendered.messages]

    def genome(self, expert: Expert) -> Genome:
        """The genome of a stored expert."""
        return self.population.decode(expert.genome_id, self.store.genome(expert.genome_id))

    def archive_experts(self) -> list[Expert]:
        """The experts of the latest archive by rank, or the founders while there is none."""
        return archive_of(self.store)

    def archive_skills(self) -> dict[str, dict[str, bool]]:
        """Skill vectors of the archive's experts on the active pool."""
        active = {family.id for family in self.store.families("active")}
        return {
            expert.id: {
                family: passed
                for family, passed in self.store.skills(expert.id).items()
                if family in active
            }
            for expert in self.archive_experts()
        }

    def candidates(self, experts: Sequence[Expert]) -> list[Candidate]:
        """What selection needs to know of experts: skills on the active pool, and age."""
        active = {family.id for family in self.store.families("active")}
        return [
            Candidate(
                id=expert.id,
                skills={f: p for f, p in self.store.skills(expert.id).items() if f in active},
                generation=expert.generation,
                birth=expert.birth,
            )
            for expert in experts
        ]


def archive_of(store: RunStore) -> list[Expert]:
    """The experts of the latest archive by rank, or the founders while there is none."""
    latest = store.latest_archive()
    if latest is None:
        return store.experts(0)
    return [store.expert(entry.expert) for entry in latest[1]]
