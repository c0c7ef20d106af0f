"""The contract of every sandbox, over both implementations."""

import asyncio
import logging
import os
import signal
import socket
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from agents import sandbox as sandbox_room
from agents.errors import EndpointError, FamilyFault, SandboxError, SandboxUnavailable
from agents.sandbox import (
    Fault,
    JudgeQuestion,
    Sandbox,
    Score,
    Submission,
    bubblewrap,
    open_sandbox,
)
from agents.sandbox.bubblewrap import bubblewrap_command, refusal, scratch_folder
from agents.sandbox.channel import Channel, ProcessChannel, process_start
from agents.sandbox.pool import STARTS, GuestPool
from agents.sandbox.process import process_command
from agents.settings import SandboxSettings
from tests.conftest import anything

SETTINGS = SandboxSettings(seconds=5, memory_mb=512, guests=1, preimport=())
NO_BUBBLEWRAP = bubblewrap_command(SETTINGS)[1]
bubblewrap_only = pytest.mark.skipif(bool(NO_BUBBLEWRAP), reason=NO_BUBBLEWRAP)


def family(score: str, setup: str = "", instructions: str = "f\"Add {t['a']} and 1.\"") -> str:
    """A family that adds; the body of `score` is given."""
    body = "\n".join(f"        {line}" for line in score.splitlines())
    return f"""
{setup}
class TaskFamily:
    @staticmethod
    def get_tasks():
        return {{"1": {{"a": 1}}, "2": {{"a": 2}}}}
    @staticmethod
    def get_instructions(t):
        return {instructions}
    @staticmethod
    def score(t, submission):
{body}
"""


GOOD = family('return 1.0 if submission.strip() == str(t["a"] + 1) else 0.0')


def code_running(statements: str) -> str:
    """A family whose scorer runs statements that set `value`."""
    return family(f"{statements}\nreturn value")


def opened(kind: str, **changes: object) -> Sandbox:
    return open_sandbox(SETTINGS.model_copy(update={"kind": kind, **changes}), ours=anything)


KINDS = [pytest.param("bubblewrap", marks=bubblewrap_only), "process"]


@pytest.fixture(params=KINDS)
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    either = opened(request.param)
    yield either
    await either.close()


@pytest.fixture(params=KINDS)
async def impatient(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    either = opened(request.param, seconds=1.0)
    yield either
    await either.close()


@pytest.fixture
async def isolated() -> AsyncIterator[Sandbox]:
    bubblewrap = opened("bubblewrap")
    yield bubblewrap
    await bubblewrap.close()


def process_of(sandbox: Sandbox) -> Process:
    """The outermost process of the idle guest."""
    assert isinstance(sandbox, GuestPool)
    channel = sandbox._scorers.idle[0].channel
    assert isinstance(channel, ProcessChannel)
    return channel.process


async def value_of(sandbox: Sandbox, statements: str) -> float | None:
    [score] = await sandbox.score(code_running(statements), [Submission("1", "2")])
    assert score.fault is None, score.fault
    return score.value


async def fault_of(sandbox: Sandbox, code: str) -> str:
    [score] = await sandbox.score(code, [Submission("1", "2")])
    assert score.value is None
    assert score.fault is not None
    return score.fault.code


async def assert_still_works(sandbox: Sandbox) -> None:
    assert await sandbox.score(GOOD, [Submission("1", "2")]) == [Score(1.0)]


async def test_inspection_reads_both_instances_twice(sandbox: Sandbox) -> None:
    seen = await sandbox.inspect(GOOD)
    assert seen.first.tasks == {"1": {"a": 1}, "2": {"a": 2}} == seen.again.tasks
    assert seen.first.instructions == {"1": "Add 1 and 1.", "2": "Add 2 and 1."}
    assert seen.again.instructions == seen.first.instructions


async def test_scores_come_in_the_order_of_the_submissions(sandbox: Sandbox) -> None:
    submissions = [Submission("1", "2"), Submission("2", "2"), Submission("2", " 3 ")]
    assert await sandbox.score(GOOD, submissions) == [Score(1.0), Score(0.0), Score(1.0)]
    assert await sandbox.score(GOOD, []) == []


async def test_half_of_a_surrogate_pair_is_no_trap_for_a_scorer(sandbox: Sandbox) -> None:
    code = family('return float(submission.encode() == b"a?b")')
    [score] = await sandbox.score(code, [Submission("1", "a\ud800b")])
    assert score == Score(1.0)


@pytest.mark.parametrize("text", ["", "\x00", "Ünï🙂\r\n", "x" * 500_000])
async def test_any_text_reaches_the_scorer_unchanged(sandbox: Sandbox, text: str) -> None:
    code = family('return float(t["a"] * sum(map(ord, submission)) + len(submission))')
    [score] = await sandbox.score(code, [Submission("1", text)])
    assert score.value == sum(map(ord, text)) + len(text)


async def test_two_inspections_differ_if_the_family_is_random(sandbox: Sandbox) -> None:
    seen = await sandbox.inspect(family("return 0", "import random", "str(random.random())"))
    assert seen.first.instructions != seen.again.instructions


async def test_the_order_of_sets_is_the_same_in_every_guest() -> None:
    order = family("return 0", instructions="' '.join({'a', 'b', 'c', 'd', 'e', 'f', 'g'})")
    seen = set()
    for _ in range(2):
        auto = opened("auto")
        seen.add((await auto.inspect(order)).first.instructions["1"])
        await auto.close()
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("import a_module_that_does_not_exist", "import_error"),
        ("class TaskFamily", "import_error"),
        ("x = 1", "import_error"),
        ("class TaskFamily: pass", "import_error"),
        ("raise SystemExit(0)", "import_error"),
        ("import os; os._exit(0)", "crash"),
        (GOOD.replace("return {", "return 7 or {"), "instance_count"),
        (family("return 0", instructions="None"), "instruction_empty"),
        (family("return 0", instructions="1 / 0"), "crash"),
        (family("return 0", instructions="'x' * 10_000_000"), "crash"),
    ],
)
async def test_a_family_that_cannot_be_inspected_is_at_fault(
    sandbox: Sandbox, code: str, fault: str
) -> None:
    with pytest.raises(FamilyFault) as caught:
        await sandbox.inspect(code)
    assert caught.value.code == fault
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize(
    ("statements", "fault"),
    [
        ("value = None", "score_range"),
        ("value = float('nan')", "score_range"),
        ("value = float('inf')", "score_range"),
        ("value = '1'", "score_range"),
        ("value = 10**400", "score_range"),
        ("value = 10**5000", "score_range"),
        ("value = 1 / 0", "crash"),
        ("raise KeyboardInterrupt", "crash"),
        ("import sys; sys.exit(0)", "crash"),
        ("import os; os._exit(0)", "crash"),
        ("import os; os.abort()", "crash"),
        ("import os; os.closerange(0, 256); value = 1", "crash"),
        ("f = lambda n: f(n + 1); f(0)", "crash"),
        ("value = len(bytearray(10**10))", "memory"),
        ("x = []\nwhile True: x.append('x' * 10**6)", "memory"),
    ],
)
async def test_a_scorer_that_misbehaves_is_told_from_a_wrong_answer(
    sandbox: Sandbox, statements: str, fault: str
) -> None:
    assert await fault_of(sandbox, code_running(statements)) == fault
    await assert_still_works(sandbox)


@pytest.mark.parametrize("statements", ["while True: pass", "import time; time.sleep(1000)"])
async def test_an_endless_scorer_is_ended(impatient: Sandbox, statements: str) -> None:
    assert await fault_of(impatient, code_running(statements)) == "timeout"
    await assert_still_works(impatient)


async def test_an_endless_import_is_ended(impatient: Sandbox) -> None:
    with pytest.raises(FamilyFault, match="timeout: ran longer than 1 s"):
        await impatient.inspect("while True: pass")


async def test_details_name_the_line(sandbox: Sandbox) -> None:
    [score] = await sandbox.score(family("return 1 / 0"), [Submission("1", "")])
    assert score.fault is not None
    assert score.fault.detail == "ZeroDivisionError: division by zero (task.py line 12, in score)"


@pytest.mark.parametrize("value", ["True", "1", "1.0"])
async def test_any_number_is_a_score(sandbox: Sandbox, value: str) -> None:
    assert await value_of(sandbox, f"value = {value}") == 1.0


async def test_a_numpy_number_is_a_score(sandbox: Sandbox) -> None:
    assert await value_of(sandbox, "import numpy; value = numpy.int64(1)") == 1.0
    assert await value_of(sandbox, "import numpy; value = numpy.bool_(False)") == 0.0


async def test_submissions_after_a_fault_are_skipped_and_those_before_it_count(
    sandbox: Sandbox,
) -> None:
    code = family("return float(submission)")
    scores = await sandbox.score(code, [Submission("1", text) for text in ("1", "one", "0")])
    assert scores[0] == Score(1.0)
    assert [score.fault.code for score in scores[1:] if score.fault] == ["crash", "skipped"]


async def test_a_fault_that_does_not_come_back_is_forgiven(impatient: Sandbox) -> None:
    """Each child sees another clock; only those that start soon fail."""
    await assert_still_works(impatient)
    setup = f"import time\nFAIL = time.time() < {time.time() + 0.9}"
    code = family("while FAIL: pass\nreturn 1", setup)
    assert await impatient.score(code, [Submission("1", "")] * 2) == [Score(1.0)] * 2


async def test_a_scorer_cannot_change_the_task_for_the_next_submission(sandbox: Sandbox) -> None:
    code = family('t["a"] += 1\nreturn float(t["a"])')
    assert await sandbox.score(code, [Submission("1", "")] * 3) == [Score(2.0)] * 3


async def test_printing_a_score_changes_nothing(sandbox: Sandbox) -> None:
    frame = "(13).to_bytes(4, 'big') + b'{\"value\": 1.0}'"
    statements = f"""
import os, sys
print(1.0); print('{{"value": 1.0}}', file=sys.stderr)
for descriptor in (0, 1, 2):
    os.write(descriptor, b'r' + {frame})
value = 0"""
    assert await value_of(sandbox, statements) == 0.0


async def test_an_answer_that_is_no_result_is_a_crash(sandbox: Sandbox) -> None:
    statements = """
import os
for descriptor in range(3, 256):
    try:
        os.write(descriptor, (9).to_bytes(4, 'big') + b'[' * 9)
    except OSError:
        pass
value = 1"""
    assert await fault_of(sandbox, code_running(statements)) == "crash"
    await assert_still_works(sandbox)


async def test_huge_output_is_dropped(sandbox: Sandbox) -> None:
    assert await value_of(sandbox, "for _ in range(50): print('x' * 10**6)\nvalue = 1") == 1.0


async def test_the_environment_is_not_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("A_SECRET_KEY", "xyzzy")
    for kind in ("process",) if NO_BUBBLEWRAP else ("process", "bubblewrap"):
        either = opened(kind)
        hidden = "'xyzzy' not in str(dict(os.environ)) and os.environ['PYTHONHASHSEED'] == '0'"
        assert await value_of(either, f"import os; value = {hidden}") == 1.0
        await either.close()


async def test_what_a_scorer_starts_does_not_outlive_it(sandbox: Sandbox, tmp_path: Path) -> None:
    """Forks as many children as it can, each of which would write a file after a while."""
    statements = f"""
import os, time
for number in range(40):
    try:
        if os.fork() == 0:
            time.sleep(2)
            open("{tmp_path}/" + str(number), "w").close()
            os._exit(0)
    except OSError:
        break
value = 1"""
    assert await value_of(sandbox, statements) == 1.0
    await assert_still_works(sandbox)
    await asyncio.sleep(3)
    assert list(tmp_path.iterdir()) == []


async def test_many_requests_share_the_guests(sandbox: Sandbox) -> None:
    calls = [sandbox.score(GOOD, [Submission("1", str(n))]) for n in range(20)]
    scores = await asyncio.gather(*calls)
    assert [score.value for [score] in scores] == [float(n == 2) for n in range(20)]


async def test_a_cancelled_request_leaves_the_sandbox_usable(sandbox: Sandbox) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await sandbox.score(family("while True: pass"), [Submission("1", "")])
    await assert_still_works(sandbox)


async def test_closing_ends_all_processes(sandbox: Sandbox) -> None:
    await assert_still_works(sandbox)
    assert isinstance(sandbox, GuestPool)
    top = psutil.Process(process_of(sandbox).pid)
    processes = [top, *top.children(recursive=True)]
    await sandbox.close()
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, 10)
    assert alive == []


async def test_a_lost_guest_is_replaced(sandbox: Sandbox) -> None:
    await assert_still_works(sandbox)
    assert isinstance(sandbox, GuestPool)
    process_of(sandbox).kill()
    await assert_still_works(sandbox)


async def test_only_code_that_names_a_module_runs_where_it_is_loaded() -> None:
    sandbox = opened("auto", preimport=("colorsys",))
    looks = family('import sys\nreturn float("color" + "sys" in sys.modules)')
    try:
        [bare] = await sandbox.score(looks, [Submission("1", "2")])
        [laden] = await sandbox.score(looks + "# colorsys\n", [Submission("1", "2")])
        assert (bare.value, laden.value) == (0.0, 1.0)
    finally:
        await sandbox.close()


async def test_a_sandbox_that_never_starts_is_not_tried_for_every_family() -> None:
    started = 0

    async def start() -> Channel:
        nonlocal started
        started += 1
        return await process_start(["/bin/false"])()

    broken = GuestPool(start, SETTINGS, isolated=False)
    for _ in range(STARTS // 2):
        with pytest.raises(SandboxError, match="in a row: did not start"):
            await broken.score(GOOD, [Submission("1", "2")])
    for _ in range(3):
        with pytest.raises(SandboxUnavailable, match="in a row did not start"):
            await broken.score(GOOD, [Submission("1", "2")])
    assert started == STARTS


async def test_a_guest_that_is_lost_again_and_again_is_nobodys_fault() -> None:
    dying = GuestPool(
        process_start(["sh", "-c", r"printf '\000\000\000\002e1'"]), SETTINGS, isolated=False
    )
    with pytest.raises(SandboxError, match="ended unexpectedly in a row"):
        await dying.score(GOOD, [Submission("1", "2")])
    broken = GuestPool(
        process_start(["sh", "-c", "echo no such thing >&2; exit 1"]), SETTINGS, isolated=False
    )
    with pytest.raises(SandboxError, match="no such thing"):
        await broken.inspect(GOOD)


@bubblewrap_only
async def test_the_network_is_out_of_reach(isolated: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        statements = f"""
import signal
import socket
value = 0
try:
    socket.create_connection(("127.0.0.1", {port}), timeout=1)
except OSError:
    value = 1"""
        assert await value_of(isolated, statements) == 1.0


@bubblewrap_only
async def test_files_of_the_machine_are_out_of_reach(isolated: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("xyzzy")
    for path in (secret, Path("/etc/passwd"), Path("/proc/self/environ")):
        statements = f"import os; value = not os.path.exists({str(path)!r})"
        assert await value_of(isolated, statements) == 1.0
    statements = """
import os, sys
value = 1
for folder in ("/", "/usr", "/dev", sys.prefix, sys.base_prefix, os.path.dirname(os.__file__)):
    try:
        open(folder + "/written", "w")
        value = 0
    except OSError:
        pass"""
    assert await value_of(isolated, statements) == 1.0


@bubblewrap_only
async def test_scratch_files_do_not_reach_the_next_call(isolated: Sandbox) -> None:
    scratch = scratch_folder()
    assert await value_of(isolated, f"value = open('{scratch}/note', 'w').write('x')") == 1.0
    assert await value_of(isolated, f"import os; value = os.path.exists('{scratch}/note')") == 0.0
    assert await value_of(isolated, f"import os; os.chmod('{scratch}', 0); value = 1") == 1.0
    await assert_still_works(isolated)
    flood = f"f = open('{scratch}/f', 'wb')\nfor _ in range(99): f.write(b'x' * 2**20)\nvalue = 1"
    assert await fault_of(isolated, code_running(flood)) == "crash"
    await assert_still_works(isolated)


@bubblewrap_only
async def test_a_fork_bomb_is_contained() -> None:
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    impatient = opened("bubblewrap", seconds=1.0)
    assert await fault_of(impatient, code_running(bomb)) == "timeout"
    await assert_still_works(impatient)
    await impatient.close()


@bubblewrap_only
async def test_the_guest_cannot_be_signalled_or_traced_by_a_family(isolated: Sandbox) -> None:
    statements = """
import ctypes, os, signal
value = os.getppid() == 1
for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGINT, signal.SIGTERM):
    os.kill(1, number)
if ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0:
    value = 0"""
    assert await value_of(isolated, statements) == 1.0
    assert isinstance(isolated, GuestPool)
    guest = isolated._scorers.idle[0]
    await assert_still_works(isolated)
    assert isolated._scorers.idle == [guest]


@bubblewrap_only
async def test_the_guest_is_nobody(isolated: Sandbox) -> None:
    if os.geteuid() == 0:
        assert await value_of(isolated, "import os; value = os.getuid() == 65534") == 1.0


@bubblewrap_only
def test_auto_means_bubblewrap_where_it_works() -> None:
    assert open_sandbox(SETTINGS).isolated


def test_without_isolation_only_trusted_code_may_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(_: SandboxSettings) -> tuple[None, str]:
        return None, "bubblewrap is not installed"

    monkeypatch.setattr(sandbox_room, "bubblewrap_command", missing)
    with pytest.raises(SandboxUnavailable, match="--allow-unsafe-sandbox"):
        open_sandbox(SETTINGS)
    with pytest.raises(SandboxUnavailable, match="bubblewrap is not installed"):
        open_sandbox(SETTINGS.model_copy(update={"kind": "bubblewrap"}), ours=anything)
    with caplog.at_level(logging.WARNING):
        assert not open_sandbox(SETTINGS, ours=anything).isolated
        assert not open_sandbox(SETTINGS.model_copy(update={"allow_unsafe": True})).isolated
    assert caplog.text.count("bubblewrap is not installed") == 2


def test_a_plain_process_is_refused_for_untrusted_code() -> None:
    with pytest.raises(SandboxUnavailable):
        open_sandbox(SETTINGS.model_copy(update={"kind": "process"}))


RUNNING = """
from sandbox_helpers import run_submission
run = run_submission(submission, stdin="3 4", args=["x"], timeout=1)
raise ValueError(f"{run.exit_code} {run.timed_out} {run.stdout!r} {run.stderr[-60:]!r}")"""


@pytest.mark.parametrize(
    ("program", "told"),
    [
        (
            "import sys; print(sum(map(int, input().split())), *sys.argv)",
            "0 False '7 submission.py",
        ),
        ("import sys; sys.exit(3)", "3 False '' ''"),
        ("import sys; print('so far'); sys.exit('no')", "1 False 'so far\\n' 'no\\n'"),
        ("if __name__ == '__main__': print('main')", "0 False 'main\\n' ''"),
        ("def f(): g()\nf()", "NameError: name "),
        ("x = (", "SyntaxError"),
        ("while True: pass", "None True '' ''"),
        ("import os; print(1, flush=True); os.abort()", "None False '1\\n' ''"),
    ],
)
async def test_a_submission_runs_as_a_program(sandbox: Sandbox, program: str, told: str) -> None:
    [score] = await sandbox.score(code_running(RUNNING), [Submission("1", program)])
    assert score.fault is not None
    assert told in score.fault.detail


async def test_a_slow_program_is_the_submissions_fault_and_not_the_scorers(
    impatient: Sandbox,
) -> None:
    statements = """
from sandbox_helpers import run_submission
runs = [run_submission(submission, timeout=30) for _ in range(20)]
value = sum(run.timed_out for run in runs)"""
    [score] = await impatient.score(code_running(statements), [Submission("1", "while 1: pass")])
    assert score == Score(20.0)


ASKING = """
from sandbox_helpers import eval_with_llm_judge
value = eval_with_llm_judge("Greet.", submission, criteria=["polite", "short"])"""


class FakeJudge:
    """Approves what is polite; raises what it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[JudgeQuestion] = []

    async def __call__(self, question: JudgeQuestion) -> bool:
        self.asked.append(question)
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return "please" in question.submission


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def scored_with(
    judge: FakeJudge | None, kind: str, statements: str, *texts: str
) -> list[Score]:
    settings = SETTINGS.model_copy(update={"kind": kind})
    sandbox = open_sandbox(settings, ours=anything, judge=judge)
    try:
        return await sandbox.score(code_running(statements), [Submission("1", t) for t in texts])
    finally:
        await sandbox.close()


async def test_a_judge_answers_for_the_host(kind: str) -> None:
    judge = FakeJudge()
    scores = await scored_with(judge, kind, ASKING, "please come in", "go away")
    assert scores == [Score(1.0), Score(0.0)]
    assert judge.asked[0] == JudgeQuestion("Greet.", "please come in", ("polite", "short"))


async def test_a_judge_that_fails_leaves_scores_missing(kind: str) -> None:
    error = EndpointError("rater", "http://x/v1", "m", "is gone", "start it")
    with pytest.raises(EndpointError, match="rater"):
        await scored_with(FakeJudge(error), kind, ASKING, "please come in")


async def test_without_a_judge_asking_is_a_fault_that_cannot_be_caught(kind: str) -> None:
    statements = f"try:{ASKING.replace(chr(10), chr(10) + '    ')}\nexcept BaseException: value = 1"
    [score] = await scored_with(None, kind, statements, "please")
    assert score.fault == Fault("no_rater", "no rater answers eval_with_llm_judge")


@pytest.mark.parametrize("statements", [ASKING * 5, ASKING.replace('"Greet."', "'x' * 20_000")])
async def test_a_judge_is_asked_within_limits(kind: str, statements: str) -> None:
    judge = FakeJudge()
    [score] = await scored_with(judge, kind, statements, "please")
    assert score.fault is not None
    assert score.fault.code == "judge_limit"
    assert len(judge.asked) in (0, 8)


async def test_a_scorer_that_is_refused_once_does_not_take_the_others_along(
    sandbox: Sandbox,
) -> None:
    """Each submission has its own process, and a leftover only costs the guest its place."""
    statements = "import os; os.makedirs('a/b', exist_ok=True); value = submission == 'x'"
    texts = [Submission("1", text) for text in "xyx"]
    scores = await sandbox.score(code_running(statements), texts)
    assert scores == [Score(1.0), Score(0.0), Score(1.0)]


@pytest.mark.parametrize("call", ["eval(submission)", "exec(submission)", "[*map(eval, '12')]"])
async def test_a_scorer_that_may_execute_answers_is_refused(sandbox: Sandbox, call: str) -> None:
    with pytest.raises(FamilyFault, match=r"line 12 uses e.*run_submission"):
        await sandbox.inspect(family(f"return float(bool({call}))"))


async def test_reading_data_is_no_execution(sandbox: Sandbox) -> None:
    setup = "import ast, re\nPATTERN = re.compile('x')"
    body = "return float(ast.literal_eval(submission) == 1)"
    assert (await sandbox.inspect(family(body, setup))).first.instructions


async def test_no_process_and_no_signal_leaves_a_family(sandbox: Sandbox) -> None:
    """Signal 0 kills nobody; a plain process may not even send that."""
    statements = """
import os, subprocess
value = 1
for start in (os.fork, lambda: subprocess.run(["true"])):
    try:
        start()
        value = 0
    except PermissionError: pass
if os.getppid() != 1:
    try:
        os.kill(os.getppid(), 0)
        value = 0
    except PermissionError: pass"""
    assert await value_of(sandbox, statements) == 1.0


async def test_without_libseccomp_there_is_no_isolation(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = f"guest: {bubblewrap.NO_FILTER}: libseccomp.so.2: cannot open"
    monkeypatch.setattr(bubblewrap, "refusal", lambda _: refused)
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/bwrap")
    monkeypatch.setattr(bubblewrap, "ways", lambda *_: iter([["bwrap"]]))
    with pytest.raises(SandboxUnavailable, match="apt-get install libseccomp2"):
        open_sandbox(SETTINGS)


async def test_submissions_can_be_scored_together(sandbox: Sandbox) -> None:
    pairs = [Submission("1", "2"), Submission("2", "2"), Submission("2", "3")]
    assert await sandbox.score_together(GOOD, pairs) == [1.0, 0.0, 1.0]
    assert await sandbox.score_together(GOOD, [*pairs, Submission("3", "1")]) is None
    assert await sandbox.score_together("class TaskFamily:\n", pairs) is None
    slow = family("import time; time.sleep(3); return 1.0")
    assert await sandbox.score_together(slow, pairs) is None, "they take longer than one may"


async def test_a_second_inspection_draws_the_hardest_level_and_the_last_seed_first(
    sandbox: Sandbox,
) -> None:
    code = """
SEEN = []


class TaskFamily:
    levels = 2

    def get_tasks(self, seed=0, level=1):
        SEEN.append((level, seed))
        return {"1": len(SEEN), "2": len(SEEN)}

    def get_instructions(self, t):
        return "Go."

    def reference(self, t):
        return "1"

    def wrong(self, t):
        return ["2"]

    def score(self, t, submission):
        return 0
"""
    seen = await sandbox.inspect(code, (7, 9))
    order = ["1@1.7", "1@1.9", "1@2.7", "1@2.9"]
    assert [seen.first.tasks[name] for name in order] == [1, 2, 3, 4]
    assert [seen.again.tasks[name] for name in order] == [4, 3, 2, 1]


def test_a_way_to_isolate_is_not_refused_because_its_trial_was_killed(tmp_path: Path) -> None:
    killed_once = f"test -e {tmp_path}/seen && exit 0; touch {tmp_path}/seen; kill -9 $$"
    assert refusal(["sh", "-c", killed_once]) == ""
    assert refusal(["sh", "-c", "kill -9 $$"]) == "exit status -9"
    assert refusal(["sh", "-c", "exit 1"]) == "exit status 1"


async def test_a_guest_is_gone_when_who_ends_it_is_cancelled() -> None:
    """What a run that is stopped leaves behind would be reported once its loop is closed."""
    channel = await process_start(["sleep", "60"])()
    ending = asyncio.create_task(channel.kill())
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert isinstance(channel, ProcessChannel)
    assert channel.process.returncode == -signal.SIGKILL


async def test_a_guest_that_is_killed_while_it_starts_is_followed_by_another(
    tmp_path: Path,
) -> None:
    killed_once = f'test -e {tmp_path}/seen && exec "$@"; touch {tmp_path}/seen; kill -9 $$'
    command = ["sh", "-c", killed_once, "sh", *process_command(SETTINGS)]
    sandbox = GuestPool(process_start(command), SETTINGS, isolated=False)
    await assert_still_works(sandbox)
    assert (tmp_path / "seen").exists()
    await sandbox.close()
