"""What nodes and commands work with: one handle per room, passed in and never reached for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agents.chat.client import ChatClient
from agents.config import RunConfig
from agents.progress import DraftProgress, Progress, silent
from agents.sandbox import Sandbox
from agents.sandbox.known_scores import KnownScores
from evolution.genome.genome import Genome
from evolution.population import Population
from evolution.selection import Candidate
from memory.novelty.memory import NoveltyMemory
from memory.records import ChatMessage, Expert, Skill
from memory.store import RunStore
from prompts import PromptLibrary


@dataclass(slots=True, kw_only=True)
class ReadContext:
    """What it takes to read a run and to let its experts answer; nothing here writes to the run.

    Attributes:
        folder: the run folder; every stored path is relative to it.
        config: the run's configuration.
        store: the run store; read-only for commands that read.
        chat: how models behind an endpoint are asked.
        population: the bank, and the engine in which experts answer.
        progress: where events are reported.
    """

    folder: Path
    config: RunConfig
    store: RunStore
    chat: ChatClient
    prompts: PromptLibrary
    population: Population
    progress: Progress = silent

    @property
    def has_rater(self) -> bool:
        """Whether an LLM can grade by a rubric; the offline model cannot."""
        return self.config.endpoints.is_live("rater")

    @property
    def has_chooser(self) -> bool:
        """Whether an LLM can choose among answers; the offline model cannot."""
        return self.config.endpoints.is_live("chooser")

    def render_question(self, instructions: str) -> list[ChatMessage]:
        """The conversation in which an expert is asked."""
        rendered = self.prompts.render("answer", instructions=instructions)
        return [ChatMessage(role=role, content=content) for role, content in rendered.messages]

    def period_of(self, generation: int) -> int:
        """The adaptation period of a generation: in each, experts are asked fresh instances."""
        return generation // self.config.pool.adapt_every

    def genome(self, expert: Expert) -> Genome:
        """The genome of a stored expert."""
        return self.population.decode(expert.genome_id, self.store.genome(expert.genome_id))


@dataclass(slots=True, kw_only=True)
class RunContext(ReadContext):
    """Everything that a run needs beside its LangGraph state, which holds ids and counters only.

    Attributes:
        novelty: the embeddings of the pool.
        sandbox: where the code of families runs.
        shared_answers: answers that the runs of a study share; None for a run by itself.
        known_scores: scores of equal answers, which are computed once.
        drafts: reports where the scientists stand.
    """

    novelty: NoveltyMemory
    sandbox: Sandbox
    shared_answers: RunStore | None = None
    known_scores: KnownScores = field(default_factory=KnownScores)
    drafts: DraftProgress = field(init=False)

    def __post_init__(self) -> None:
        """Progress of drafts goes where all progress goes."""
        self.drafts = DraftProgress(self.progress)

    def archive_skills(self) -> dict[str, dict[str, Skill]]:
        """Skill vectors of the archive's experts on the active pool, when it was selected."""
        latest = self.store.latest_archive()
        names = [expert.id for expert in self.store.archive_experts()]
        return self._active_skills(names, self.period_of(latest[0]) if latest else 0)

    def candidates(self, experts: Sequence[Expert], period: int) -> list[Candidate]:
        """What selection needs to know of experts: skills on the active pool, and age.

        Args:
            experts: who is compared.
            period: on whose instances.
        """
        vectors = self._active_skills([expert.id for expert in experts], period)
        return [
            Candidate(
                id=expert.id,
                skills=vectors[expert.id],
                generation=expert.generation,
                birth=expert.birth,
            )
            for expert in experts
        ]

    def chances(self) -> dict[str, float]:
        """What guessing passes of each active family that is generative."""
        active = self.store.families("active")
        return {family.id: family.chance for family in active if family.generative}

    def _active_skills(self, experts: Sequence[str], period: int) -> dict[str, dict[str, Skill]]:
        active = [family.id for family in self.store.families("active")]
        return self.store.skill_counts_of(experts, active, period)
