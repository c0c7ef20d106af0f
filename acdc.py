"""AC/DC from Python: what the `acdc` command does, in a few typed lines.

    import acdc

    run = acdc.coevolve("runs/mine", {"generations": 2})    # or go on with it
    run = acdc.Run("runs/quickstart")                       # one that is there, live or finished

    for expert in run.archive():
        print(expert.id, expert.operator, expert.fitness)
    for family in run.families("active"):
        print(family.name, family.instructions["1"])

    with run.collective(size=3) as collective:              # loads the models once
        reply = collective.ask("What is 12 + 30?")
        print(reply.answer, reply.agreement, [a.text for a in reply.answers])

    weights = run.expert("g5-2").weights()                  # name -> torch.Tensor
    run.expert("g5-2").export("out/")                       # a Hugging Face folder

Reading a run takes no lock and changes none of its files. What fails raises `acdc.AcdcError`, with
the line that the command would have printed. Nothing heavy is loaded before it is needed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from anyio.from_thread import BlockingPortal, start_blocking_portal

from agents.config import RunConfig
from agents.progress import Progress, ProgressEvent, silent
from console.commands.frame import METHOD
from console.errors import UsageError
from console.run.config import resolve
from console.run.folder import RunFolder
from console.run.unborn import undone_if_unborn
from memory.errors import AcdcError
from memory.records import Answer, Expert, Family, FamilyStatus, Role

if TYPE_CHECKING:
    import pandas
    import pyarrow
    from torch import Tensor

    from agents.evaluation.tasks import Task
    from agents.task_force.collective import Collective, CollectiveAnswer
    from console.commands.doctor import Finding
    from evolution.exporting import Exported
    from memory.store import RunStore

__all__ = [
    "AcdcError",
    "CollectiveSession",
    "Progress",
    "ProgressEvent",
    "Run",
    "RunConfig",
    "RunExpert",
    "coevolve",
    "doctor",
    "frame",
    "study",
]

Configuration = RunConfig | Mapping[str, Any] | str | Path | None
"""A configuration, a tree of what differs from the defaults, a TOML file, or None: all defaults."""


def coevolve(
    folder: str | Path,
    config: Configuration = None,
    *,
    progress: Progress = silent,
    track: Sequence[str] = (),
) -> Run:
    """Run a coevolution to its end, or go on with one that was interrupted.

    Args:
        folder: the run folder, made if it is missing.
        config: of a new run; of one that goes on, what may change (None: nothing).
        progress: called with what happens, from another thread.
        track: tools that draw its curves: "tensorboard", "mlflow", "wandb".

    Raises:
        AcdcError: see the message; the same call goes on where the run stands. A new folder is
            removed again if nothing was achieved in it.
    """
    from console.run.coevolution import coevolve as run_to_its_end
    from console.run.tracking import tracked

    place = RunFolder(Path(folder))
    settings = _resolved(place, config)
    with undone_if_unborn(place), start_blocking_portal() as portal:
        begun = place.begin_as(settings)
        with tracked(progress, track, place, begun) as everywhere:
            portal.call(run_to_its_end, place, begun, everywhere)
    return Run(folder)


def doctor(config: Configuration = None) -> list[Finding]:
    """What a run with this configuration would find on this machine."""
    from console.commands.doctor import examine

    with start_blocking_portal() as portal:
        findings: list[Finding] = portal.call(examine, _resolved(None, config))
    return findings


def study(file: str | Path, *, progress: Progress = silent) -> dict[str, Any]:
    """Run a grid of seeds and variants as `acdc study` does; the object that its `--json` prints.

    Raises:
        AcdcError: a bad file, or a run that failed; the same call goes on where the study stands.
    """
    from console.commands.study import conduct
    from console.commands.study_file import read_study

    with start_blocking_portal() as portal:
        found: dict[str, Any] = portal.call(conduct, read_study(Path(file)), progress)
    return found


def frame(name: str, *runs: Run | str | Path) -> pandas.DataFrame:
    """One table of one run or several as a pandas DataFrame, with missing values as such.

    Args:
        name: of the table, see `Run.table`.
        runs: the runs, or their folders.

    Raises:
        AcdcError: as `Run.table`, or pandas is not installed.
    """
    if not runs:
        raise UsageError("a frame is of one run or more")
    tables = [(run if isinstance(run, Run) else Run(run)).table(name) for run in runs]
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise UsageError("frames need pandas: pip install -e '.[tables]'") from error
    import pyarrow

    # Numbers and truth values that may be missing stay numbers and truth values.
    found: pandas.DataFrame = pyarrow.concat_tables(tables).to_pandas(
        types_mapper=pandas.ArrowDtype
    )
    return found


class Run:
    """A run on disk, which may be live in another process.

    Args:
        folder: the run folder.

    Raises:
        AcdcError: there is no run, or its config.json is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self._place = RunFolder(Path(folder))
        self._place.manifest()

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """The run folder."""
        return self._place.path

    @cached_property
    def config(self) -> RunConfig:
        """The configuration that the run was begun with."""
        return self._place.config()

    @contextlib.contextmanager
    def store(self) -> Iterator[RunStore]:
        """The run store, read-only: genomes, answers, grades, calls, events, spans."""
        from memory.store import RunStore

        with RunStore.open(self.path, read_only=True) as store:
            yield store

    def status(self) -> dict[str, Any]:
        """Where the run stands: the object that `acdc status --json` prints."""
        from console.commands.status import collect

        return collect(self._place)

    def trace(
        self,
        *,
        family: str | None = None,
        expert: str | None = None,
        role: Role | None = None,
        rejected: bool = False,
    ) -> dict[str, list[dict[str, Any]]]:
        """What the agents said: the object that `acdc trace --json` prints.

        Raises:
            AcdcError: there is no such family, expert or role.
        """
        from console.commands.trace import collect, role_named

        return collect(self._place, family, expert, role_named(role), rejected)

    def audit(self, against: Iterable[str | Path] = ()) -> dict[str, Any]:
        """Leakage, diversity and open-endedness: the object that `acdc audit --json` prints."""
        from console.commands.audit import AuditLimits, collect

        return collect(self._place, [Path(file) for file in against], AuditLimits())

    def table(self, name: str) -> pyarrow.Table:
        """Everything of one kind in the run, as a table; docs/python.md lists them.

        Raises:
            AcdcError: there is no such table, or pyarrow is not installed.
        """
        from console.tables import read_table

        return read_table(self._place, name)

    def inspect_logs(self, out: str | Path) -> list[Path]:
        """Write what the archive and the seeds answered as logs that `inspect view` opens.

        Args:
            out: the folder, made if it is missing.

        Returns:
            The files, one for each voice.

        Raises:
            AcdcError: the run or the folder cannot be used, or inspect_ai is not installed.
        """
        from console.inspect_logs.judged import judge_logs
        from console.inspect_logs.writing import write_logs

        return write_logs(judge_logs(self._place), Path(out))

    def experts(self, generation: int | None = None) -> list[RunExpert]:
        """Every expert that was ever kept, the oldest first; or those born in one generation."""
        with self.store() as store:
            return self._with_skills(store, store.experts(generation))

    def archive(self) -> list[RunExpert]:
        """The experts of the latest archive by rank, or the founders while there is none."""
        with self.store() as store:
            return self._with_skills(store, store.archive_experts())

    def expert(self, name: str) -> RunExpert:
        """One expert.

        Raises:
            AcdcError: there is none of that name.
        """
        with self.store() as store:
            return self._with_skills(store, [store.expert(name)])[0]

    def families(self, status: FamilyStatus | None = None) -> list[Family]:
        """The task families that were ever accepted, or those of one status.

        Raises:
            AcdcError: there is no such status.
        """
        if status is not None and status not in get_args(FamilyStatus):
            raise UsageError(
                f"unknown status {status!r}; there are {', '.join(get_args(FamilyStatus))}"
            )
        with self.store() as store:
            return store.families(status)

    @contextlib.contextmanager
    def collective(
        self,
        size: int = 3,
        select: str = METHOD,
        *,
        greedy: bool = False,
        progress: Progress = silent,
    ) -> Iterator[CollectiveSession]:
        """The task force of the run, with its models loaded until the block ends.

        Args:
            size: N voices, chosen for Coverage in the finals.
            select: how one of the N answers is chosen, as `acdc ask --select`.
            greedy: whether N different experts answer greedily, in place of N voices.
            progress: called with what happens while models load.

        Raises:
            AcdcError: nobody is graded yet, the size is below 1, or the method is unknown or lacks
                something.
        """
        from agents.task_force.collective import Collective
        from agents.task_force.methods import method_named
        from console.run.reading import open_reading

        method_named(select)
        _at_least("size", size, 1)
        with (
            start_blocking_portal() as portal,
            portal.wrap_async_context_manager(
                open_reading(self._place, self.config, progress)
            ) as context,
        ):
            opening = partial(Collective.open, alone=greedy)
            force = portal.call(opening, context, size, select)
            session = CollectiveSession(force, self.config.judge.max_tokens, portal)
            try:
                yield session
            finally:
                session.close()

    def ask(
        self,
        question: str,
        size: int = 3,
        select: str = METHOD,
        *,
        greedy: bool = False,
        until_agree: int | None = None,
    ) -> CollectiveAnswer:
        """One question to the task force; `collective` keeps the models for several.

        Raises:
            AcdcError: as `collective` and its `ask`.
        """
        with self.collective(size, select, greedy=greedy) as collective:
            return collective.ask(question, until_agree=until_agree)

    def suggestion(self, size: int = 3) -> str:
        """A question of the run's own history that a force of this size solves.

        Raises:
            AcdcError: there is none that is known.
        """
        from agents.task_force.suggestion import suggested_question

        with self.store() as store:
            question = suggested_question(store, size)
        if question is None:
            raise UsageError(f"the force of {self.path} solves nothing that is known")
        return question

    def evaluate(
        self,
        tasks: str | Path | Sequence[Task],
        sizes: Sequence[int] = (1, 3, 8),
        *,
        baselines: bool = False,
        greedy: bool = False,
        select: Sequence[str] = (),
        max_tokens: int | None = None,
        inspect: str | Path | None = None,
        until_agree: int | None = None,
        allow_unsafe_sandbox: bool = False,
        progress: Progress = silent,
    ) -> dict[str, Any]:
        """Coverage and best-of-N on held-out tasks: what `acdc evaluate --json` prints.

        Args:
            tasks: a JSONL file of tasks, or tasks.
            sizes: values of N.
            baselines: whether baselines of equal budget are measured too.
            greedy: whether N different experts, each greedily, are measured too.
            select: methods of best-of-N that need a judge, besides those that do not.
            max_tokens: of one answer; the run's own limit if None.
            inspect: a folder for the answers as logs that `inspect view` opens; None for none.
            until_agree: as many answers have to agree, and best-of-N hears no more; None hears all.
            allow_unsafe_sandbox: whether code that an LLM wrote may run without isolation.
            progress: called with what happens.

        Raises:
            AcdcError: see the message; answers are kept, so the same call goes on.
        """
        from agents.evaluation.run import Plan
        from agents.evaluation.tasks import read_tasks
        from console.commands.evaluate import drawn_folder, evaluate
        from console.commands.measured import report
        from console.inspect_logs.measured import evaluation_logs
        from console.inspect_logs.writing import require_inspect, write_logs

        if isinstance(tasks, str | Path):
            given = read_tasks([Path(tasks)], drawn_folder())
        else:
            given = list(tasks)
        if not given or not sizes:
            raise UsageError("nothing to evaluate: tasks and sizes must not be empty")
        for size in sizes:
            _at_least("sizes", size, 1)
        _at_least("max_tokens", max_tokens, 1)
        if inspect is not None:
            require_inspect()
        plan = Plan(
            given, list(sizes), baselines, select, max_tokens, alone=greedy, until_agree=until_agree
        )
        work = partial(evaluate, unsafe=allow_unsafe_sandbox)
        with start_blocking_portal() as portal:
            rows = portal.call(work, [self._place], plan, progress)
        if inspect is not None:
            write_logs(evaluation_logs(rows, given, max_tokens), Path(inspect))
        return report(rows, max_tokens, given)

    def distil(
        self,
        out: str | Path,
        *,
        size: int = 3,
        select: str = METHOD,
        instances: int = 8,
        steps: int = 60,
        force: bool = False,
        shard_gb: float = 5.0,
        progress: Progress = silent,
    ) -> Exported:
        """Write one expert that has learnt what the task force chooses, as a Hugging Face folder.

        Args:
            out: the folder.
            size: N of the task force.
            select: how one of its N answers is chosen.
            instances: fresh questions to it, of each family that draws.
            steps: gradient steps of the lesson.
            force: whether a model that is in `out` may be replaced.
            shard_gb: largest weight file, in gigabytes.
            progress: called with what happens.

        Raises:
            AcdcError: as `collective`; the place is taken, or the force is right nowhere.
        """
        from console.commands.export import Distilling, distilled

        for name, value in (("size", size), ("instances", instances), ("steps", steps)):
            _at_least(name, value, 1)
        plan = Distilling(size, select, instances, steps)
        with start_blocking_portal() as portal:
            return portal.call(distilled, self._place, Path(out), plan, force, shard_gb, progress)

    def serve(
        self, port: int = 8100, size: int = 3, select: str = METHOD, *, greedy: bool = False
    ) -> None:
        """Serve the task force as an OpenAI-compatible endpoint until it is interrupted.

        Raises:
            AcdcError: the port is taken, or an event loop runs in this thread (as in a notebook).
        """
        import asyncio

        from console.serving.server import ServeSettings, serve

        settings = ServeSettings(size, select, port=port, alone=greedy)
        if _in_event_loop():
            raise UsageError("serve blocks, and an event loop runs here: call it in another thread")
        asyncio.run(serve(self._place, settings, lambda *_: None))

    def _with_skills(self, store: RunStore, experts: Sequence[Expert]) -> list[RunExpert]:
        from console.tables import last_fitness

        fitness, found = last_fitness(store), list[RunExpert]()
        for expert in experts:
            skills = {name: skill.rate for name, skill in store.skill_counts(expert.id).items()}
            found.append(RunExpert(self, expert, skills, fitness.get(expert.id)))
        return found


@dataclass(frozen=True)
class RunExpert:
    """An expert of a run, with its grades.

    Attributes:
        run: where it lives.
        record: its id, genome id, parents, operator, parameters and RNG seed.
        skills: family -> share of its latest instances that it passes; families that are absent are
            not graded.
        fitness: by which it was selected, as `acdc status` shows it: that of the last archive that
            held it, None for one that never was in an archive.
    """

    run: Run
    record: Expert
    skills: dict[str, float]
    fitness: float | None

    def __hash__(self) -> int:
        return hash(self.record.id)

    @property
    def id(self) -> str:
        """Its name in the run."""
        return self.record.id

    @property
    def operator(self) -> str:
        """What made it: seed, base, or the names of crossover and mutations."""
        return self.record.operator

    @property
    def parents(self) -> tuple[str, ...]:
        """The experts that it was bred from."""
        return self.record.parents

    @property
    def pass_rate(self) -> float:
        """Mean pass rate over the families on which it is graded, which differ between experts."""
        return sum(self.skills.values()) / max(len(self.skills), 1)

    def answers(self) -> list[Answer]:
        """Everything that it answered in the run."""
        with self.run.store() as store:
            return store.answers_of(self.record.genome_id)

    def weights(self) -> dict[str, Tensor]:
        """Its weights in the number format of the run's models, by Hugging Face name.

        Raises:
            AcdcError: a seed of the run is not there any more, or is another one.
        """
        from console.commands.export import open_bank
        from evolution.genome.genome import Genome
        from evolution.materialise.weights import rounded

        with self.run.store() as store:
            known = self.record.genome_id
            genome = Genome.stored(known, store.genome(known))
            bank = open_bank(RunFolder(self.run.path), self.run.config, store)
        bank.check_genome(known, genome)
        return dict(rounded(bank, genome))

    def export(self, out: str | Path, *, force: bool = False, shard_gb: float = 5.0) -> Exported:
        """Write it as a Hugging Face folder, with recipe and model card.

        Args:
            out: an empty or new folder.
            force: whether a model that is there is replaced.
            shard_gb: largest weight file, in gigabytes.

        Raises:
            AcdcError: the place is taken, or cannot be written to.
        """
        from console.commands.export import export

        _at_least("shard_gb", shard_gb, 0.001)
        return export(RunFolder(self.run.path), self.id, Path(out), force, shard_gb)


class CollectiveSession:
    """A task force with its models loaded; made by `Run.collective`."""

    def __init__(self, force: Collective, max_tokens: int, portal: BlockingPortal) -> None:
        self._force = force
        self._max_tokens = max_tokens
        self._portal: BlockingPortal | None = portal

    def close(self) -> None:
        """End the session; `Run.collective` does it at the end of its block."""
        self._portal = None

    @property
    def members(self) -> list[str]:
        """The experts that answer, the fittest first; one that is sampled may be there twice."""
        return [member.expert.id for member in self._force.members]

    def ask(
        self,
        question: str,
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        until_agree: int | None = None,
    ) -> CollectiveAnswer:
        """Let every member answer, and choose one answer.

        Args:
            question: what to ask.
            max_tokens: of each answer; by default as when the experts were graded.
            temperature: of all members, 0 is greedy; by default every voice answers at its own.
            until_agree: as many members have to agree, and no more are asked; by default all are.

        Raises:
            AcdcError: the question is empty, the block that opened the session has ended, a value
                is out of its range, or an endpoint fails.
        """
        from agents.task_force.collective import Manner

        if self._portal is None:
            raise UsageError("this collective is closed: ask inside its `with` block")
        _at_least("max_tokens", max_tokens, 1)
        _at_least("temperature", temperature, 0)
        limit = self._max_tokens if max_tokens is None else max_tokens
        manner = Manner(limit, temperature, until_agree=until_agree)
        return self._portal.call(self._force.ask, question, manner)


def _in_event_loop() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _at_least(name: str, value: float | None, least: float) -> None:
    """Refuse a value that the command would not accept; None stands for a default."""
    if value is not None and not least <= value < float("inf"):
        raise UsageError(f"{name} = {value}: it must be at least {least}, and finite")


def _resolved(place: RunFolder | None, config: Configuration) -> RunConfig:
    """The configuration that a call means, on the ground of the run's where there is one."""
    if isinstance(config, RunConfig):
        return config
    file = Path(config) if isinstance(config, str | Path) else None
    settings = config if isinstance(config, Mapping) else {}
    if place is None:
        return resolve(file, (), settings=settings)
    return place.wanted(file, (), settings)
