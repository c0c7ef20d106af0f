"""Answers and grades: found again by their keys, never made twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from memory.records import Answer, Grade
from memory.store.codec import Table, dump, dump_json
from memory.store.database import Database

AnyKeyed = TypeVar("AnyKeyed", Answer, Grade)

_ANSWERS = Table(
    "answers",
    Answer,
    {"key": "key", "genome_id": "genome_id", "instance_hash": "instance_hash"},
)
_GRADES = Table("grades", Grade, {"key": "key", "answer_key": "answer_key", "passed": "passed"})
_AMONG = "WHERE key IN (SELECT value FROM json_each(?))"
"""One parameter for any number of keys: SQLite limits how many a statement may have."""
_OF_GENOME = "WHERE answer_key IN (SELECT key FROM answers WHERE genome_id = ?)"


class AnswerTables(Database):
    """What experts answered and how it was graded."""

    def put_answers(self, answers: Sequence[Answer]) -> None:
        """Keep many answers in one transaction; the first under a key stays."""
        self._write_many(
            "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)",
            ((item.key, item.genome_id, item.instance_hash, dump(item)) for item in answers),
        )

    def answers(self, keys: Iterable[str]) -> dict[str, Answer]:
        """The answers among these keys that are recorded, in the order of the keys."""
        return self._found(_ANSWERS, keys)

    def answers_of(self, genome_id: str | None = None) -> list[Answer]:
        """All answers of one genome, or of all genomes, by instance and sample."""
        if genome_id is None:
            found = self._records(_ANSWERS)
        else:
            found = self._records(_ANSWERS, "WHERE genome_id = ?", (genome_id,))
        return sorted(found, key=lambda item: (item.instance_hash, item.sample, item.key))

    def answer_keys(self, beginning: str) -> list[str]:
        """The keys that begin so."""
        sql = "SELECT key FROM answers WHERE substr(key, 1, ?1) = ?2 ORDER BY key"
        return [str(row[0]) for row in self._all(sql, (len(beginning), beginning))]

    def answers_to(self, instance_hash: str) -> list[Answer]:
        """What everybody answered to one instance, by genome and sample."""
        found = self._records(_ANSWERS, "WHERE instance_hash = ?", (instance_hash,))
        return sorted(found, key=lambda item: (item.genome_id, item.sample, item.key))

    def answer_to(
        self, genome_id: str, instance_hash: str, sample: int | None = None
    ) -> Answer | None:
        """The sample of that number of a genome's answers to one instance, or the first there is.

        None if it never answered.
        """
        where = "WHERE genome_id = ? AND instance_hash = ?"
        every = self._records(_ANSWERS, where, (genome_id, instance_hash))
        found = [item for item in every if sample is None or item.sample == sample]
        return min(found, key=lambda item: (item.sample, item.key), default=None)

    def right_answer_to(
        self, genome_id: str, instance_hash: str, samples: int | None = None
    ) -> Answer | None:
        """The first of a genome's answers to one instance that most of its grades pass, or None.

        Args:
            genome_id: who answered.
            instance_hash: to what.
            samples: only answers of so many first numbers; None for all.
        """
        where = "WHERE genome_id = ? AND instance_hash = ?"
        found = self._records(_ANSWERS, where, (genome_id, instance_hash))
        ordered = sorted(found, key=lambda item: (item.sample, item.key))
        asked = (answer for answer in ordered if samples is None or answer.sample < samples)
        return next((answer for answer in asked if self.verdict(answer.key)), None)

    def verdict(self, answer_key: str) -> bool | None:
        """Whether most grades of an answer pass it; None if it has none."""
        grades = list(self._records(_GRADES, "WHERE answer_key = ?", (answer_key,)))
        return 2 * sum(grade.passed for grade in grades) > len(grades) if grades else None

    def verdicts(self, genome_id: str | None = None) -> dict[str, bool]:
        """The verdicts on the graded answers of one genome, or of all, by key, as of `verdict`."""
        where = "" if genome_id is None else _OF_GENOME
        sql = (
            f"SELECT answer_key, 2 * SUM(passed) > COUNT(*) FROM grades {where} GROUP BY answer_key"
        )
        found = self._all(sql, () if genome_id is None else (genome_id,))
        return {key: bool(passed) for key, passed in found}

    def grades_of(self, answer_key: str) -> list[Grade]:
        """The grades of one answer, by vote."""
        found = self._records(_GRADES, "WHERE answer_key = ?", (answer_key,))
        return sorted(found, key=lambda item: (item.code_hash, item.vote))

    def put_grades(self, grades: Sequence[Grade]) -> None:
        """Keep many grades in one transaction; the first under a key stays.

        The answers must be recorded already.
        """
        self._write_many(
            "INSERT OR IGNORE INTO grades VALUES (?, ?, ?, ?)",
            ((item.key, item.answer_key, int(item.passed), dump(item)) for item in grades),
        )

    def grades(self, keys: Iterable[str]) -> dict[str, Grade]:
        """The grades among these keys that are recorded, in the order of the keys."""
        return self._found(_GRADES, keys)

    def all_grades(self) -> list[Grade]:
        """Every grade, by answer and vote."""
        return sorted(self._records(_GRADES), key=lambda item: (item.answer_key, item.vote))

    def ratings(self) -> list[Grade]:
        """All votes of raters, by answer and vote."""
        # What is no JSON is not left out: to read it says so.
        where = (
            "WHERE CASE WHEN json_valid(record) THEN json_extract(record, '$.rater') <> '' "
            "ELSE 1 END"
        )
        return sorted(self._records(_GRADES, where), key=lambda item: (item.answer_key, item.vote))

    def _found(self, table: Table[AnyKeyed], keys: Iterable[str]) -> dict[str, AnyKeyed]:
        wanted = list(dict.fromkeys(keys))
        records = {item.key: item for item in self._records(table, _AMONG, (dump_json(wanted),))}
        return {key: records[key] for key in wanted if key in records}
