"""The sandbox in containers. What needs a daemon is skipped where there is none.

DOCKER_TEST_IMAGE names another image than the default one.
"""

import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agents.errors import FamilyFault, SandboxUnavailable
from agents.sandbox import JudgeQuestion, Sandbox, Score, Submission, open_sandbox
from agents.sandbox.docker import DockerChannel, container_options, docker_start
from agents.sandbox.pool import GuestPool
from agents.settings import SandboxSettings
from tests.conftest import anything

SETTINGS = SandboxSettings(
    kind="docker",
    seconds=5,
    memory_mb=512,
    guests=1,
    preimport=(),
    docker_image=os.environ.get("DOCKER_TEST_IMAGE", "python:3.12-slim"),
)
NO_DOCKER = docker_start(SETTINGS)[1]
docker_only = pytest.mark.skipif(bool(NO_DOCKER), reason=NO_DOCKER)

FAMILY = """
from sandbox_helpers import eval_with_llm_judge, run_submission
class TaskFamily:
    @staticmethod
    def get_tasks(): return {"1": 4, "2": 9}
    @staticmethod
    def get_instructions(t): return f"Print {t}."
    @staticmethod
    def score(t, submission):
        if "sum" in submission:
            return eval_with_llm_judge("Sum up.", submission)
        return float(run_submission(submission).stdout.strip() == str(t))
"""


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async def judge(question: JudgeQuestion) -> bool:
        return "good" in question.submission

    opened = open_sandbox(SETTINGS, judge=judge)
    yield opened
    await opened.close()


@docker_only
async def test_families_are_inspected_and_scored_in_containers(sandbox: Sandbox) -> None:
    assert sandbox.isolated
    assert (await sandbox.inspect(FAMILY)).first.instructions == {"1": "Print 4.", "2": "Print 9."}
    texts = ["print(4)", "print(5)", "good sum", "bad sum"]
    scores = await sandbox.score(FAMILY, [Submission("1", text) for text in texts])
    assert scores == [Score(1.0), Score(0.0), Score(1.0), Score(0.0)]


@docker_only
async def test_faults_of_families_are_told_from_our_own_in_containers(sandbox: Sandbox) -> None:
    with pytest.raises(FamilyFault, match="ZeroDivisionError"):
        await sandbox.inspect("1 / 0")
    hoarding = FAMILY.replace('if "sum"', 'hoard = bytearray(2**30)\n        if "sum"')
    [score] = await sandbox.score(hoarding, [Submission("1", "print(4)")])
    assert score.fault is not None
    assert score.fault.code == "memory"


@docker_only
async def test_a_lost_container_is_replaced_and_closing_removes_all(sandbox: Sandbox) -> None:
    submissions = [Submission("1", "good sum")]
    assert await sandbox.score(FAMILY, submissions) == [Score(1.0)]
    assert isinstance(sandbox, GuestPool)
    channel = sandbox._scorers.idle[0].channel
    assert isinstance(channel, DockerChannel)
    client = channel._container.client
    channel._container.kill()
    assert await sandbox.score(FAMILY, submissions) == [Score(1.0)]
    await sandbox.close()
    left: list[Any] = client.containers.list(all=True, filters={"ancestor": SETTINGS.docker_image})
    assert left == []


def test_without_the_sdk_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(SandboxUnavailable, match=r"pip install -e .\.\[docker\]"):
        open_sandbox(SETTINGS, ours=anything)


def test_a_container_gets_nothing_that_it_does_not_need() -> None:
    options = container_options(SETTINGS)
    assert options["network_mode"] == "none"
    assert options["read_only"]
    assert options["cap_drop"] == ["ALL"]
    assert options["user"] == "65534:65534"
    assert [volume["mode"] for volume in options["volumes"].values()] == ["ro"]
    assert options["memswap_limit"] == options["mem_limit"] == "1040m"
    assert options["pids_limit"] == SETTINGS.processes + 4
    assert "privileged" not in options
