"""`acdc ask` by every method: a real archive, a real memory, real HTTP, a real reward model."""

from __future__ import annotations

import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from agents.chat.endpoints import EndpointsSettings
from agents.context import ReadContext
from agents.errors import AnsweringError
from agents.families.items import asked_by_hash
from agents.families.lifecycle import move
from agents.progress import silent
from agents.task_force.asked import History
from agents.task_force.collective import Collective, Manner, Member, ask, force_of
from agents.task_force.field import (
    field_of,
    finals_of,
    history_of,
    resampled_seeds,
    standing_of,
)
from agents.task_force.methods import ROUTED, UNROUTED, methods
from agents.task_force.roster import Roster
from agents.task_force.suggestion import suggested_question
from console.commands.ask import answer
from console.commands.status import collect
from console.run.folder import RunFolder
from console.run.reading import open_reading
from memory.records import GibberishFound, Voice
from memory.store import RunStore
from tests.conftest import SHAPE, make_tokenizer
from tests.console.conftest import Acdc

MANNER = Manner(max_tokens=6)


@pytest.fixture(scope="session")
def reward_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reward")
    tokenizer = make_tokenizer()
    shape = {**SHAPE, "vocab_size": len(tokenizer), "num_labels": 1}
    config = LlamaConfig(**shape, pad_token_id=tokenizer.pad_token_id)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForSequenceClassification(config)  # type: ignore[no-untyped-call]
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
async def context(
    finished_run: Path,
    reward_model: Path,
    tmp_path: Path,
    at_home: None,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[ReadContext]:
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    monkeypatch.setenv("ACDC_ANSWERING__REWARD_MODEL", str(reward_model))
    place = RunFolder(folder)
    with RunStore.open(tmp_path / "calls") as calls:
        async with open_reading(place, place.config(), calls=calls) as opened:
            yield opened


async def test_every_method_answers_with_a_full_record(
    context: ReadContext, tmp_path: Path
) -> None:
    question = "Tell something about rivers and falcons."
    for name in methods():
        reply = await ask(context, question, 3, MANNER, name)
        assert reply.method == name
        assert len(reply.answers) == len(reply.scores) == 3
        chosen = reply.answers[reply.winner]
        assert (reply.chosen, reply.answer) == (chosen.expert, chosen.extracted)
        assert reply.votes
        fitness = [answer.fitness for answer in reply.answers]
        assert fitness == sorted(fitness, reverse=True)
        again = await ask(context, question, 3, MANNER, name)
        assert (again.winner, again.scores, again.votes) == (
            reply.winner,
            reply.scores,
            reply.votes,
        )
    with RunStore.open(tmp_path / "calls", read_only=True) as kept:
        calls = [*kept.calls("chooser"), *kept.calls("rater")]
    assert {call.purpose for call in calls} >= {"choose", "compare", "appraise"}


async def test_everybody_coherent_may_be_in_the_force_of_a_run_without_finals(
    context: ReadContext,
) -> None:
    """As of a run that has not ended, or of a version that held none."""
    without_finals(context)
    told = [*context.store.events("gibberish"), *context.store.events("eliminated")]
    out = {event.payload["expert"] for event in told if isinstance(event.payload, dict)}
    everybody = {expert.id for expert in context.store.experts()} - out
    assert {expert.id for expert in field_of(context.store)} == everybody
    members = force_of(context, 99)
    assert [member.temperature for member in members] == [0.0] * len(everybody)
    assert {member.expert.id for member in members} == everybody
    reply = await ask(context, "Name a river.", 2, MANNER, "skill_routing")
    assert len({answer.expert for answer in reply.answers}) == 2


def without_finals(context: ReadContext) -> None:
    with RunStore.open(context.folder) as writer:
        writer._write("DELETE FROM meta WHERE key = 'finals'", ())
        writer._write("DELETE FROM finals WHERE expert <> ''", ())


async def test_a_voice_that_stands_twice_gives_two_answers(context: ReadContext) -> None:
    seed = resampled_seeds(context.store)[0]
    with RunStore.open(context.folder) as writer:
        # Whoever solves everything in every other sample is asked again and again.
        for each in writer.outcomes():
            ours = each.expert == seed and each.temperature > 0
            passes = {"passes": 1, "asked": 2} if ours else {"passes": 0}
            writer.put_outcomes([each.model_copy(update=passes)])
    question = "Tell something about rivers and falcons."
    reply = await ask(context, question, 3, Manner(max_tokens=12), "skill_routing")
    voices = [answer.voice for answer in reply.answers]
    assert voices == [Voice(seed, 0.7)] * 3
    assert len({answer.text for answer in reply.answers}) == 3
    assert {vote.voter for vote in reply.votes} == {f"{seed} at 0.7"}
    again = await ask(context, question, 3, Manner(max_tokens=12), "skill_routing")
    assert [a.text for a in again.answers] == [a.text for a in reply.answers], "seeds are set"
    wanted = await ask(context, question, 3, Manner(max_tokens=12, temperature=0.0), "majority")
    assert len({answer.text for answer in wanted.answers}) == 1, "what is asked for wins"
    assert [answer.temperature for answer in wanted.answers] == [0.0] * 3
    roster = Roster.open(context, 3, "majority")
    assert len(roster.models["acdc"].members) == 3
    assert roster.models[seed].members == [Member(context.store.expert(seed), 0.0)], "greedily"


async def test_n_experts_answer_greedily_where_that_is_asked_for(context: ReadContext) -> None:
    members = force_of(context, 3, alone=True)
    assert all(member.temperature == 0 for member in members)
    assert len({member.expert.id for member in members}) == len(members)


async def test_status_of_an_unfinished_run_names_the_force_that_answers(
    context: ReadContext,
) -> None:
    # The best of all is out of the archive: who is asked may answer nevertheless.
    out = next(e for e in field_of(context.store) if e not in context.store.archive_experts())
    with RunStore.open(context.folder) as writer:
        writer.put_meta("finished", False)
        for family in history_of(writer):
            writer.set_skill(out.id, family.id, True)
    found = collect(RunFolder(context.folder))
    assert not found["finished"]
    for row in found["coverage"]["task_force"]:
        asked = {member.expert.id for member in force_of(context, row["n"])}
        assert set(row["experts"]) == asked
    assert found["coverage"]["task_force"][0]["experts"] == [out.id]
    assert found["coverage"]["task_force"][0]["coverage"] == 1.0


async def test_experts_say_as_much_as_when_they_were_graded(
    finished_run: Path, tmp_path: Path, at_home: None
) -> None:
    shutil.copytree(finished_run, tmp_path / "run")
    place = RunFolder(tmp_path / "run")
    limit = place.config().judge.max_tokens
    for asked, longest in ((None, limit), (2, 2)):
        reply = await answer(place, "Name a river.", 3, asked, "majority", silent)
        assert max(candidate.tokens for candidate in reply.answers) == longest


async def test_gibberish_and_what_a_broken_scorer_graded_stay_out(context: ReadContext) -> None:
    victim = next(expert.id for expert in field_of(context.store) if not expert.is_seed)
    broken = context.store.families("active")[0]
    with RunStore.open(context.folder) as writer:
        writer.add_event(GibberishFound(expert=victim, reason="one token, repeated"))
        move(writer, broken, "condemned", detail="ZeroDivisionError")
    assert victim not in {expert.id for expert in field_of(context.store)}
    assert victim not in {member.expert.id for member in force_of(context, 99)}
    assert broken.id not in {family.id for family in history_of(context.store)}


async def test_router_weighs_by_the_families_most_like_the_question(context: ReadContext) -> None:
    router = Collective.open(context, 3, "skill_routing").aids.router
    assert router is not None
    rates = standing_of(context.store).rates
    told_apart = 0
    for family in finals_of(context.store):
        weights = router.weights(family.novelty_text(), list(rates))
        assert all(0 <= weight <= 1 for weight in weights.values())
        passed = [weights[voice] for voice in rates if rates[voice].get(family.id, 0) == 1]
        failed = [weights[voice] for voice in rates if rates[voice].get(family.id, 1) == 0]
        if passed and failed:
            told_apart += sum(passed) / len(passed) > sum(failed) / len(failed)
            told_apart -= sum(passed) / len(passed) < sum(failed) / len(failed)
    assert told_apart > 0, "who passed a family is preferred for questions like it"
    assert router.weights("anything", [Voice("nobody")]) == {Voice("nobody"): 0.0}


async def test_what_a_run_cannot_do_is_told_before_anybody_answers(context: ReadContext) -> None:
    context.config = context.config.model_copy(update={"endpoints": EndpointsSettings()})
    with pytest.raises(AnsweringError, match=r"endpoints\.chooser"):
        Collective.open(context, 3, "knockout")
    with pytest.raises(AnsweringError, match="question is empty"):
        await ask(context, "  ", 3, MANNER, "majority")


def test_a_misspelt_method_is_corrected(acdc: Acdc, finished_run: Path) -> None:
    refused = acdc("ask", finished_run, "Why?", "--select", "skil_routing", code=2)
    assert "did you mean skill_routing" in refused.stderr


async def test_a_question_that_is_like_nothing_is_decided_by_the_voices_themselves(
    context: ReadContext,
) -> None:
    near = await ask(context, context.store.families()[0].novelty_text(), 3, MANNER, ROUTED)
    assert (near.known, near.method) == (True, ROUTED)
    assert near.nearest[0].similarity > 0.9
    far = await ask(context, "@@ ##", 3, MANNER, ROUTED)
    assert (far.known, far.method) == (False, UNROUTED)
    assert all(candidate.logprob is not None for candidate in far.answers)
    majority = await ask(context, "@@ ##", 3, MANNER, "majority")
    assert (majority.known, majority.method) == (False, "majority"), "only routing falls back"


async def test_the_suggested_question_is_solved_by_the_force(
    acdc: Acdc, context: ReadContext, finished_run: Path
) -> None:
    question = suggested_question(context.store)
    assert question is not None
    standing = standing_of(context.store)
    voices = standing.force(3, resampled_seeds(context.store)).voices
    places = {
        (each.family, each.instance)
        for each in context.store.outcomes()
        if each.voice in voices and each.passes
    }
    families = {family.id: family for family in context.store.families()}
    assert question in {families[family].instructions[number] for family, number in places}
    done = acdc("ask", finished_run, "--max-tokens", "6")
    assert done.stderr.splitlines()[0].startswith("asking: ")


async def test_a_question_of_the_runs_own_is_known_and_its_answer_checked(
    context: ReadContext,
) -> None:
    question = suggested_question(context.store)
    assert question is not None
    reply = await ask(context, f" {question}\n", 3, MANNER, ROUTED)
    assert reply.known, "white space does not matter"
    assert reply.asked is not None
    nearest = reply.nearest[0]
    assert (nearest.family, nearest.similarity) == (reply.asked.family, 1.0)
    other = await ask(context, f"{question} And why?", 3, MANNER, ROUTED)
    assert other.asked is None


def test_an_answer_is_right_as_it_was_graded_or_as_the_reference(finished_run: Path) -> None:
    with RunStore.open(finished_run, read_only=True) as store:
        families = history_of(store)
        history, found = History(store, families), set[bool | None]()
        for family_id, item in asked_by_hash(store, families).values():
            family = store.family(family_id)
            assert history.family_of("@@ ##") is None
            assert history.judged("@@ ##", "56") is None
            assert history.family_of(item.instructions) is not None
            if history.family_of(item.instructions) != family_id:
                continue  # two families ask the same
            for given in store.answers_to(item.instance_hash)[:1]:
                judged = history.judged(item.instructions, given.extracted)
                assert judged is not None
                assert (judged.family, judged.name) == (family_id, family.name)
                assert judged.right == store.verdict(given.key)
                found.add(judged.right)
            new = history.judged(item.instructions, "what nobody said")
            assert new is not None
            assert new.right is None
            right = history.judged(item.instructions, item.reference)
            assert right is not None
            assert right.right
        assert found >= {True, False}


async def test_a_judge_that_hangs_is_named_and_given_up(
    finished_run: Path, at_home: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # it takes calls, and never answers
        host = f"127.0.0.1:{deaf.getsockname()[1]}"
        monkeypatch.setenv("ACDC_ENDPOINTS__CHOOSER__BASE_URL", f"http://{host}/v1")
        monkeypatch.setenv("ACDC_ENDPOINTS__CHOOSER__MODEL", "deaf")
        monkeypatch.setenv("ACDC_ANSWERING__PATIENCE", "0.5")
        place, told = RunFolder(finished_run), list[str]()
        async with open_reading(
            place, place.config(), lambda event: told.append(event.text)
        ) as context:
            asked = ask(context, "Tell something about rivers.", 3, MANNER, "chooser")
            with pytest.raises(AnsweringError, match=f"the chooser at {host} has not answered"):
                await asked
    assert told[-1] == f"waiting for the chooser at {host}"
