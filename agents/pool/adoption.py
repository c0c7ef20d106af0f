"""Families that a run begins with: folders written by people or by other runs.

They pass the same gates as a scientist's draft, but are not reviewed by the critic.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from agents.context import RunContext
from agents.errors import FamilyFolderError
from agents.families.folders import METADATA, PROGRAM, check_id, read_family, write_family
from agents.families.proposal import Proposal
from agents.judge.examiner import rater_of
from agents.progress import ProgressEvent
from agents.trial import run_gates
from memory.messages import first_problem
from memory.records import Family

STEP = "given-families"


async def adopt_given(context: RunContext) -> None:
    """Put the families of `pool.families` into the founding pool, once.

    Raises:
        FamilyFolderError: a folder contains no family, or one that fails a gate (named, with why).
        SandboxError: the sandbox itself failed.
    """
    if not context.config.pool.families or context.store.step_done(STEP, 0):
        return
    folders = family_folders(context.config.pool.families)
    # In sequence: the first failure ends it, with no other check still running.
    checked = [await _checked(context, read_family(folder), folder) for folder in folders]
    families = _without_repetitions(checked)
    with context.store.once(STEP, 0) as due:
        if due:
            for family in families:
                context.store.put_family(family)
    for family in families:
        write_family(context.folder / "tasks", family)
        context.novelty.add(family)
    repeated = len(checked) - len(families)
    context.progress(
        ProgressEvent(
            "line", f"pool.families: {len(families)} added, {repeated} duplicates skipped"
        )
    )


def family_folders(paths: Sequence[str]) -> list[Path]:
    """Family folders: each path is one, or a folder of some, as in `runs/quickstart/tasks`.

    Raises:
        FamilyFolderError: a path contains none.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if (path / METADATA).is_file():
            found.append(path)
            continue
        below = sorted(entry.parent for entry in path.glob(f"*/{METADATA}"))
        if not below and (path / PROGRAM).is_file():
            raise FamilyFolderError(f"pool.families: {path} has {PROGRAM} and no {METADATA}")
        if not below:
            raise FamilyFolderError(f"pool.families: {path} contains no family folder")
        found += below
    return found


async def _checked(context: RunContext, family: Family, folder: Path) -> Family:
    """The family as the run keeps it: what its program says holds, whatever its metadata says."""
    try:
        proposal = Proposal.of(family)
    except ValidationError as error:
        raise FamilyFolderError(f"{folder}: {first_problem(error)}") from error
    check_id(f"given-{family.id}")
    report = await run_gates(
        context.sandbox,
        proposal,
        context.config.gates,
        rater_of(context),
        level=family.level,
        seed=family.seed or 0,
    )
    if report.code is not None:
        raise FamilyFolderError(f"{folder} fails {report.code}: {report.detail}")
    if family.level > report.levels:
        raise FamilyFolderError(
            f"{folder} asks at level {family.level} of a program that has {report.levels}"
        )
    own = {"id": f"given-{family.id}", "generation": 0, "kind": "novel", "parents": ()}
    drawn = report.model_dump(include={"instructions", "levels", "level", "seed"})
    answers = {"reference_answers": report.references, "wrong_answers": report.wrong}
    return family.model_copy(update={**own, **drawn, **answers})


def _without_repetitions(families: Sequence[Family]) -> list[Family]:
    """The families without those that share id, name or program with an earlier one."""
    kept: list[Family] = []
    for family in families:
        if not any(_same(family, other) for other in kept):
            kept.append(family)
    return kept


def _same(one: Family, other: Family) -> bool:
    return (
        one.id == other.id
        or one.name == other.name
        or ((one.code_hash, one.level) == (other.code_hash, other.level))
    )
