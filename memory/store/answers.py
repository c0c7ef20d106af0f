"""Answers and grades: found again by their keys, never made twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memory.records import Answer, Grade
from memory.store.codec import dump, dump_json, load
from memory.store.database import Database


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
        return {key: load(Answer, text) for key, text in self._found("answers", keys)}

    def answers_of(self, genome_id: str) -> list[Answer]:
        """All answers of one genome, by instance and sample."""
        sql = "SELECT record FROM answers WHERE genome_id = ?"
        found = [load(Answer, row[0]) for row in self._all(sql, (genome_id,))]
        return sorted(found, key=lambda item: (item.instance_hash, item.sample, item.key))

    def answer_to(self, genome_id: str, instance_hash: str) -> Answer | None:
        """The first sample of a genome's answers to one instance, None if it never answered."""
        sql = "SELECT record FROM answers WHERE genome_id = ? AND instance_hash = ?"
        found = [load(Answer, row[0]) for row in self._all(sql, (genome_id, instance_hash))]
        return min(found, key=lambda item: (item.sample, item.key), default=None)

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
        return {key: load(Grade, text) for key, text in self._found("grades", keys)}

    def ratings(self) -> list[Grade]:
        """All votes of raters, by answer and vote."""
        sql = (
            "SELECT record FROM grades WHERE json_extract(record, '$.rater') <> '' "
            "ORDER BY answer_key, json_extract(record, '$.vote')"
        )
        return [load(Grade, row[0]) for row in self._all(sql)]

    def _found(self, table: str, keys: Iterable[str]) -> list[tuple[str, str]]:
        wanted = list(dict.fromkeys(keys))
        # One parameter for any number of keys: SQLite limits how many a statement may have.
        sql = f"SELECT key, record FROM {table} WHERE key IN (SELECT value FROM json_each(?))"
        records: dict[str, str] = dict(self._all(sql, (dump_json(wanted),)))
        return [(key, records[key]) for key in wanted if key in records]
