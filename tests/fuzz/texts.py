"""Parsers of texts: replies of models, families, tasks, configuration, records, the sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from agents.chat.structured import parse_object
from agents.critic.critique import CritiqueReply
from agents.critic.novelty import NoveltyReply
from agents.evaluation.sample_logs import is_log, read_logs
from agents.evaluation.scoring import read_decision, same_answer, same_number
from agents.evaluation.tasks import read_tasks
from agents.families.folders import METADATA, PROGRAM, read_family, write_family
from agents.families.proposal import Proposal
from agents.judge.consult import ConsultingReply
from agents.judge.extraction import extract
from agents.judge.gibberish import assess_reply
from agents.judge.rater import RatingReply
from agents.sandbox.decoding import (
    description_told,
    fault_told,
    judge_question,
    parsed,
    program_step,
    values_told,
)
from agents.task_force.chooser import read_verdict
from console.commands.audit_questions import read_questions
from console.commands.study_file import read_study
from console.run.config import given_tree, resolve
from console.run.folder import RunFolder
from memory.records import Answer, Expert, Family, Record, Reply
from memory.store.codec import dump, load, reading
from tests.fuzz.harness import Parser
from tests.fuzz.mutations import JSON_PIECES, TOML_PIECES, mutated, noise

PROPOSED = {
    "name": "sums of two",
    "description": "Adds two numbers that are given in words.",
    "capability": "arithmetic",
    "difficulty": 2,
    "code": "class TaskFamily:\n    def get_tasks(self): return {}\n",
    "reference_answers": {"1": "4", "2": "6"},
    "wrong_answers": {"1": ["5"], "2": ["7", ""]},
    "rated": False,
    "rubric": None,
}
REPLIES: tuple[bytes, ...] = (
    json.dumps(PROPOSED).encode(),
    b"Here it is:\n```json\n" + json.dumps(PROPOSED, indent=1).encode() + b"\n```\nDone.",
    b'<think>Is it?</think>\n{"verdict": "refine", "problems": ["too easy", "leaks"]}',
    b'{"decision": "new", "reason": "asks for another skill"}',
    b'{"reason": "both agree", "A": "pass", "B": "fail", "C": "pass"}',
    b'{"reason": "it does", "verdict": "pass"}',
)
ANSWERS: tuple[bytes, ...] = (
    b"Let me see.\nAnswer: 1,234.50",
    b"<think>\nAnswer: 3</think>**Final answer:** 4\n\nmore",
    b"So it is \\boxed{\\frac{1}{2}} and ## Answer:\n```python\nprint(1)\n```\n",
    b"**Decision**: right\nChoice: 2\nScore: 7.5\n",
)
PROSE: tuple[bytes, ...] = (
    *(
        b"\n" * 20_000,
        b" " * 20_000,
        b"*" * 20_000,
        b"{" * 20_000,
        b"```json\n" * 3_000,
        b"`" * 20_000,
    ),
    *(
        b"Answer:" * 3_000,
        b"\nanswer:\n" * 3_000,
        b"\\boxed{" * 3_000,
        b"<think>" * 3_000,
        b"\n> " * 9_000,
    ),
    *(
        b"decision" * 3_000,
        b"\ndecision !" * 3_000,
        b"choice " * 3_000,
        b"9" * 20_000,
        b"1,111" * 5_000,
    ),
    *(
        b"score: ",
        b"Decision: wrong",
        b"</think>",
        b"1e999",
        b"\xed\xa0\x80",
        b"\x00",
        b"-" * 20_000,
        b"9.9" * 7_000,
    ),
)


def text_of(data: bytes) -> str:
    """What a model may have written: JSON can spell half of a surrogate pair."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape")


def replies(scratch: Path) -> Parser:
    """JSON in the replies of scientists, critics and raters."""

    def read(data: bytes) -> None:
        text = text_of(data)
        for kind in (Proposal, CritiqueReply, NoveltyReply, RatingReply, ConsultingReply):
            for truncated in (False, True):
                found, problem = parse_object(text, kind, truncated=truncated)
                assert (found is None) != (problem is None)
                if found is not None:
                    found.model_dump_json().encode()

    return Parser(mutated(REPLIES, JSON_PIECES) | noise(), read, REPLIES, 80)


def answers(scratch: Path) -> Parser:
    """Answers of experts, verdicts of judges in prose."""

    def read(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        answer = extract(text).answer
        same_answer(answer, "4")
        same_number(answer, "4")
        assess_reply(text)
        read_decision(text)
        read_verdict(text)

    return Parser(mutated(ANSWERS, PROSE) | noise(), read, ANSWERS, 60)


def family_metadata(scratch: Path) -> Parser:
    """task.json of a family folder; what is accepted can be written, and is read again."""
    sample = {**PROPOSED, "example_instruction": "Two and two?", "kind": "novel", "generation": 0}
    sample.pop("code")
    whole = {**sample, "instructions": {"1": "2 + 2?", "2": "3 + 3?"}, "field": "sums"}
    program, out = str(PROPOSED["code"]).encode(), scratch / "tasks"

    def read(data: bytes) -> None:
        family = _family_of(scratch / "given", program, data)
        if "1" in family.instructions:
            assert read_family(write_family(out, family)) == family

    samples = (json.dumps(sample).encode(), json.dumps(whole, indent=2).encode())
    return Parser(mutated(samples, JSON_PIECES) | noise(), read, samples, 60)


def family_program(scratch: Path) -> Parser:
    """task.py of a family folder: read as text, never run here."""
    stated = {key: PROPOSED[key] for key in ("name", "description", "capability", "difficulty")}
    metadata = json.dumps({**stated, "instructions": {"1": "?", "2": "?"}}).encode()
    program = str(PROPOSED["code"]).encode() + b"# field: sums\r\n"

    def read(data: bytes) -> None:
        family = _family_of(scratch / "given", data, metadata)
        assert read_family(write_family(scratch / "tasks", family)).code == family.code

    return Parser(mutated((program,), PROSE) | noise(), read, (program,), 60)


def _family_of(folder: Path, program: bytes, metadata: bytes) -> Family:
    folder.mkdir(exist_ok=True)
    (folder / PROGRAM).write_bytes(program)
    (folder / METADATA).write_bytes(metadata)
    return read_family(folder)


def tasks(scratch: Path) -> Parser:
    """Held-out tasks in JSON lines.

    Lines that stand for a dataset are left out: what they ask reasoning-gym for is the user's own.
    """
    entry = {"question": "2 + 2?", "answer": "4", "metadata": {"n": [2, 2]}}
    lines = (
        {"id": "a", "instructions": "2 + 2?", "answer": "4", "score": "number", "field": "sums"},
        {"id": "b", "instructions": "Who?", "answer": "Ada", "score": "rated", "generator": "g"},
        {
            "id": "c",
            "instructions": "2 + 2?",
            "answer": "",
            "score": {"reasoning_gym": "x", "entry": entry},
        },
    )
    sample = "".join(json.dumps(line) + "\n" for line in lines).encode()

    def read(data: bytes) -> None:
        for task in read_tasks([_file(scratch / "tasks.jsonl", data)]):
            task.item()
            _ = task.cluster

    return Parser(mutated((sample,), JSON_PIECES) | noise(), read, (sample,))


def sample_logs(scratch: Path) -> Parser:
    """Sample logs of lm-evaluation-harness."""
    line = {
        "doc_id": 0,
        "doc": {"question": "2 + 2?"},
        "arguments": {"gen_args_0": {"arg_0": "2 + 2?"}},
        "resps": [["4"]],
        "filtered_resps": ["4"],
        "filter": "none",
        "exact_match": 1.0,
        "metrics": ["exact_match"],
    }
    sample = (json.dumps(line) + "\n" + json.dumps({**line, "doc_id": 1}) + "\n").encode()

    def read(data: bytes) -> None:
        file = _file(scratch / "samples_sums.jsonl", data)
        is_log(file)
        read_logs([file])

    return Parser(mutated((sample,), JSON_PIECES) | noise(), read, (sample,))


def questions(scratch: Path) -> Parser:
    """Benchmark questions for `acdc audit`: JSON lines, arrays, plain texts."""
    samples = (
        b'{"id": 1, "question": "2 + 2?"}\n{"doc": {"question": "Who?"}, "doc_id": 4}\n',
        b'["2 + 2?", {"prompt": "Who?", "task_id": "b"}]',
        b"What is it?\n\nAnd what is\nthat?\n",
    )

    def read(data: bytes) -> None:
        read_questions([_file(scratch / "questions.jsonl", data)])

    return Parser(mutated(samples, JSON_PIECES) | noise(), read, samples)


CONFIG = b"""\
generations = 3
[models]
base = "base"
dtype = "float32"
seeds = [{ name = "a", path = "a" }, { name = "b", path = "b" }]
[breeding]
mutation_rate = 0.5
crossovers = { slerp = 1.0, linear = 0.5 }
[breeding.mutations.spectral]
strength = 0.02
[pool]
capacity = 12
[endpoints.scientist]
base_url = "http://localhost:8000/v1"
model = "m"
max_tokens = "unset"
[endpoints.critic]
temperature = 0.1
"""


def config(scratch: Path) -> Parser:
    """The TOML file of `--config`; whatever is accepted can be kept in config.json."""

    def read(data: bytes) -> None:
        resolve(_file(scratch / "acdc.toml", data), ()).model_dump_json().encode()

    return Parser(mutated((CONFIG,), TOML_PIECES) | noise(), read, (CONFIG,), 40)


def overrides(scratch: Path) -> Parser:
    """`--set KEY=VALUE`."""
    samples = (
        b"pool.capacity=12",
        b"breeding.crossovers={slerp = 1.0}",
        b"models.base=a/b",
        b"seed=3",
    )

    def read(data: bytes) -> None:
        given_tree(None, [data.decode("utf-8", "surrogateescape")])

    return Parser(mutated(samples, TOML_PIECES) | noise(), read, samples)


def study(scratch: Path) -> Parser:
    """The TOML file of `acdc study`."""
    sample = (
        b'seeds = [1, 2]\ntasks = ["held.jsonl"]\nn = [1, 3]\nvariants = ["no_mutation", "mine"]\n'
        b'[define.mine]\n"pool.capacity" = 4\n[run]\ngenerations = 2\n[run.pool]\nadaptations = 1\n'
    )

    def read(data: bytes) -> None:
        read_study(_file(scratch / "study.toml", data))

    return Parser(mutated((sample,), TOML_PIECES) | noise(), read, (sample,), 40)


def manifest(scratch: Path) -> Parser:
    """config.json of a run folder, which may come from elsewhere."""
    stored = resolve(None, ()).model_dump(mode="json")
    sample = json.dumps({"config": stored, "versions": {"torch": "2"}, "bank": {"a": "b"}}).encode()
    folder = RunFolder(scratch / "run")
    folder.path.mkdir()

    def read(data: bytes) -> None:
        folder.config_file.write_bytes(data)
        folder.manifest()
        folder.config()

    return Parser(mutated((sample,), JSON_PIECES) | noise(), read, (sample,), 40)


def records(scratch: Path) -> Parser:
    """Records of run.db, as whoever can write to a run folder may leave them."""
    reply = Reply(
        text="4", tokens_in=3, tokens_out=1, finish_reason="stop", seconds=0.5, logprob=-0.1
    )
    expert = Expert(
        id="e", genome_id="g", generation=0, birth=1, operator="base", parameters={"w": [1]}
    )
    answer = Answer(
        key="k",
        genome_id="g",
        instance_hash="i",
        sample=0,
        reply=reply,
        extracted="4",
        unmarked=False,
    )
    kinds: dict[bytes, type[Record]] = {b"E": Expert, b"A": Answer, b"F": Family}
    samples = (b"E" + dump(expert).encode(), b"A" + dump(answer).encode())

    def read(data: bytes) -> None:
        kind = kinds.get(data[:1], Family)
        with reading(scratch / "run.db", kind.__name__, "k"):
            found = load(kind, data[1:].decode("utf-8", "replace"))
        # Records may hold NaN, which equals nothing.
        assert dump(load(kind, dump(found))) == dump(found)

    return Parser(mutated(samples, JSON_PIECES) | noise(), read, samples)


def frames(scratch: Path) -> Parser:
    """What the code of a family writes to the host out of its sandbox."""
    samples = (
        b'{"values": [1.0, 0.0]}',
        b'{"fault": "timeout", "detail": "took too long"}',
        b'{"levels": 2, "tasks": {"1": {}}, "instructions": {"1": "?"}, "references": {"1": "4"}, '
        b'"wrong": {"1": []}}',
        b'{"instructions": "?", "submission": "4", "criteria": ["is 4"]}',
        b'{"code": "print()", "stdin": "", "arguments": ["a"], "timeout": 1.5}',
    )

    def read(data: bytes) -> None:
        found = parsed(data)
        json.dumps(found, ensure_ascii=False).encode()
        for told in (fault_told, judge_question, program_step):
            told(found)
        values_told(data, 2)
        description_told(data)

    return Parser(mutated(samples, JSON_PIECES) | noise(), read, samples)


def _file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


TEXTS: dict[str, Callable[[Path], Parser]] = {
    "answers": answers,
    "config": config,
    "family-metadata": family_metadata,
    "family-program": family_program,
    "frames": frames,
    "manifest": manifest,
    "overrides": overrides,
    "questions": questions,
    "records": records,
    "replies": replies,
    "sample-logs": sample_logs,
    "study": study,
    "tasks": tasks,
}
