"""Genomes, experts, their skill vectors, and the archives of the generations."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence

from memory.errors import ConflictError, StoreError
from memory.messages import did_you_mean
from memory.records import FIXED, ArchiveEntry, Expert, Outcome, Skill
from memory.store import schema
from memory.store.codec import Table, dump, dump_json
from memory.store.database import Database, SqlRow, matching

_FINALS = Table(
    "finals",
    Outcome,
    {
        "expert": "expert",
        "temperature": "temperature",
        "family": "family",
        "instance": "instance",
        "passes": "passes",
        "asked": "asked",
    },
    key=4,
)
_EXPERTS = Table(
    "experts",
    Expert,
    {"id": "id", "genome_id": "genome_id", "generation": "generation", "birth": "birth"},
)
_CHILD = re.compile(r"g(\d{1,9})-\d+", re.ASCII)
_NAMED = 12
"""Experts of a generation that a message names at most."""


class PopulationTables(Database):
    """What evolution writes: who was bred, what they can do, who was kept."""

    def put_genome(self, genome_id: str, payload: bytes) -> None:
        """Keep a genome under its content id.

        Raises:
            ConflictError: if the id stands for other bytes already.
        """
        if self._write("INSERT OR IGNORE INTO genomes VALUES (?, ?)", (genome_id, payload)):
            return
        if self.genome(genome_id) != payload:
            raise ConflictError(f"genome {genome_id} is recorded with other content")

    def genome(self, genome_id: str) -> bytes:
        """The bytes of a genome.

        Raises:
            StoreError: if it is not recorded.
        """
        row = self._one("SELECT payload FROM genomes WHERE id = ?", (genome_id,))
        if row is None:
            raise StoreError(f"genome {genome_id} is not recorded in {self.path}")
        with self._reading("genomes", genome_id):
            if not isinstance(row[0], bytes):
                raise ValueError("no bytes")
        return row[0]

    def put_expert(self, expert: Expert) -> None:
        """Keep an expert; its genome must be recorded already.

        Raises:
            ConflictError: if the id stands for another expert already.
        """
        record = dump(expert)
        row = (expert.id, expert.genome_id, expert.generation, expert.birth, record)
        if self._write("INSERT OR IGNORE INTO experts VALUES (?, ?, ?, ?, ?)", row):
            return
        stored = self._one("SELECT record FROM experts WHERE id = ?", (expert.id,))
        if stored != (record,):
            raise ConflictError(f"expert {expert.id} is recorded with other content")

    def expert(self, expert_id: str) -> Expert:
        """One expert.

        Raises:
            StoreError: it is not recorded; with those of the generation that it names, or the name
                most like it.
        """
        found = self._record(_EXPERTS, "WHERE id = ?", (expert_id,))
        if found is None:
            raise StoreError(f"no expert {expert_id!r} in {self.folder}{self._near(expert_id)}")
        return found

    def _near(self, expert_id: str) -> str:
        """Who may be meant by an unknown id, as the end of a message."""
        named = _CHILD.fullmatch(expert_id)
        born = self.experts(int(named[1])) if named else []
        if not born:
            known = [expert.id for expert in self.experts()]
            return did_you_mean(expert_id, known, cutoff=0.5)
        names = [expert.id for expert in born[:_NAMED]]
        more = f" and {len(born) - _NAMED} more" if len(born) > _NAMED else ""
        return f": born in generation {born[0].generation} were {', '.join(names)}{more}"

    def experts(self, generation: int | None = None) -> list[Expert]:
        """All experts ever kept, or those born in one generation, the oldest first."""
        where, values = matching(generation=generation)
        return self._records(_EXPERTS, where + "ORDER BY generation, birth, id", values)

    def experts_named(self, expert_ids: Sequence[str]) -> list[Expert]:
        """These experts, in this order.

        Raises:
            StoreError: as `expert`, if one is not recorded.
        """
        where, wanted = "WHERE id IN (SELECT value FROM json_each(?))", dump_json(list(expert_ids))
        found = {each.id: each for each in self._records(_EXPERTS, where, (wanted,))}
        return [found.get(name) or self.expert(name) for name in expert_ids]

    def set_skill(
        self, expert_id: str, family_id: str, skill: Skill | bool, period: int = FIXED
    ) -> None:
        """Record what an expert passes of a family; it replaces what was recorded before.

        Args:
            expert_id: of the expert.
            family_id: of the family.
            skill: counts of instances, or the verdict on a closed family.
            period: in which the instances were drawn; `FIXED` for those that never change.
        """
        counts = Skill(passes=skill, asked=1) if isinstance(skill, bool) else skill
        self._write(
            "INSERT INTO skills (expert, family, period, passes, asked) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET passes = excluded.passes, asked = excluded.asked",
            (expert_id, family_id, period, counts.passes, counts.asked),
        )

    def skills(self, expert_id: str) -> dict[str, bool]:
        """The latest verdicts on one expert; families that are absent are missing, not failed."""
        return _verdicts(self.skill_counts(expert_id))

    def skill_counts(self, expert_id: str, period: int | None = None) -> dict[str, Skill]:
        """The counts of one expert; families that are absent are missing, not failed.

        Args:
            expert_id: of the expert.
            period: whose instances count, and those that never change; None for the latest of each
                family.
        """
        return {
            family: self._skill(expert, family, passes, asked)
            for family, expert, passes, asked, _ in self._skills("expert = ?2", period, expert_id)
        }

    def skill_periods(self, expert_id: str) -> dict[str, int]:
        """Family -> the period on whose instances the latest counts of one expert are."""
        return {row[0]: row[4] for row in self._skills("expert = ?2", None, expert_id)}

    def skill_counts_of(
        self, expert_ids: Sequence[str], family_ids: Sequence[str], period: int | None = None
    ) -> dict[str, dict[str, Skill]]:
        """The counts of these experts on these families, as `skill_counts`.

        It takes time by how many these are, not by how many there are.
        """
        vectors: dict[str, dict[str, Skill]] = {expert: {} for expert in expert_ids}
        wanted, asked_for = dump_json(list(vectors)), set(family_ids)
        chosen = "expert IN (SELECT value FROM json_each(?2))"
        for family, expert, passes, asked, _ in self._skills(chosen, period, wanted):
            if family in asked_for:
                vectors[expert][family] = self._skill(expert, family, passes, asked)
        return vectors

    def all_skills(self, family_ids: Sequence[str] | None = None) -> dict[str, dict[str, bool]]:
        """The verdicts on every expert, on all families or on the given ones only.

        Experts without a grade are there too, with an empty vector.
        """
        counts = self.all_skill_counts(family_ids)
        return {expert: _verdicts(vector) for expert, vector in counts.items()}

    def all_skill_counts(
        self, family_ids: Sequence[str] | None = None
    ) -> dict[str, dict[str, Skill]]:
        """The latest counts of every expert, as `all_skills` and `skill_counts`."""
        vectors: dict[str, dict[str, Skill]] = {
            row[0]: {} for row in self._all("SELECT id FROM experts ORDER BY generation, birth, id")
        }
        chosen = "?2 IS NULL OR family IN (SELECT value FROM json_each(?2))"
        wanted = None if family_ids is None else dump_json(list(family_ids))
        for family, expert, passes, asked, _ in self._skills(chosen, None, wanted):
            skill = self._skill(expert, family, passes, asked)
            with self._reading("skills", f"{expert} {family}"):
                if expert not in vectors:
                    raise ValueError("there is no such expert")
            vectors[expert][family] = skill
        return vectors

    def _skills(self, where: str, period: int | None, value: str | None) -> list[SqlRow]:
        """(family, expert, passes, asked, period) of the latest of the periods that count."""
        table = "skills"
        if self.schema_version < schema.WITH_PERIODS:
            # Viewers have a temporary view of that name, in its present form.
            old = "main.skills"
            table = f"(SELECT expert, family, {FIXED} period, passed passes, 1 asked FROM {old})"
        # With a single MAX, SQLite takes the other columns from the row of the maximum.
        sql = (
            f"SELECT family, expert, passes, asked, MAX(period) FROM {table} "
            f"WHERE (?1 IS NULL OR period IN (?1, {FIXED})) AND ({where}) "
            "GROUP BY expert, family ORDER BY expert, family"
        )
        return self._all(sql, (period, value))

    def _skill(self, expert: object, family: object, passes: object, asked: object) -> Skill:
        with self._reading("skills", f"{expert} {family}"):
            if not isinstance(family, str):
                raise ValueError(f"family is {family!r}")
            return Skill.model_validate({"passes": passes, "asked": asked}, strict=True)

    def put_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Record what came of the finals, in place of what was recorded of the same instances."""
        with self.transaction():
            for outcome in outcomes:
                self._write(
                    "INSERT OR REPLACE INTO finals VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        outcome.expert,
                        outcome.temperature,
                        outcome.family,
                        outcome.instance,
                        outcome.passes,
                        outcome.asked,
                        dump(outcome),
                    ),
                )

    def outcomes(self) -> list[Outcome]:
        """What came of the finals; nothing before they were held."""
        if self.schema_version < schema.WITH_PERIODS:
            return []
        return self._records(_FINALS, "ORDER BY expert, temperature, family, instance")

    def put_archive(self, generation: int, entries: Sequence[ArchiveEntry]) -> None:
        """Record the archive of one generation, in place of an earlier one."""
        sql = "INSERT INTO archive_entries VALUES (?, ?, ?, ?, ?)"
        with self.transaction():
            self._write("INSERT OR IGNORE INTO archives VALUES (?, ?)", (generation, time.time()))
            self._write("DELETE FROM archive_entries WHERE generation = ?", (generation,))
            for entry in entries:
                row = (generation, entry.expert, entry.rank, entry.fitness, entry.novelty)
                self._write(sql, row)

    def archive(self, generation: int) -> list[ArchiveEntry]:
        """The archive of one generation, best rank first; empty before its selection."""
        sql = (
            "SELECT expert, rank, fitness, novelty FROM archive_entries "
            "WHERE generation = ? ORDER BY rank, expert"
        )
        found = []
        for expert, rank, fitness, novelty in self._all(sql, (generation,)):
            with self._reading("archive_entries", f"{generation} {expert}"):
                entry = ArchiveEntry(expert=expert, rank=rank, fitness=fitness, novelty=novelty)
            found.append(entry)
        return found

    def latest_archive(self) -> tuple[int, list[ArchiveEntry]] | None:
        """The newest archive with its generation, None before the first selection."""
        row = self._one("SELECT MAX(generation) FROM archives")
        if row is None or row[0] is None:
            return None
        return row[0], self.archive(row[0])

    def archive_experts(self) -> list[Expert]:
        """The experts of the latest archive by rank, or the founders before the first selection."""
        latest = self.latest_archive()
        if latest is None:
            return self.experts(0)
        return self.experts_named([entry.expert for entry in latest[1]])


def _verdicts(counts: Mapping[str, Skill]) -> dict[str, bool]:
    return {family: skill.passed for family, skill in counts.items()}
