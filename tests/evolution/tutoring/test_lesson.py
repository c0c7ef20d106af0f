"""Lessons on tiny real models: what is learnt, how it joins the bank, and what is left alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evolution.bank.bank import Bank
from evolution.bank.task_vectors import LowRank
from evolution.errors import TutorError
from evolution.genome.genome import Genome
from evolution.materialise.weights import materialise, weigh
from evolution.tutoring.factors import SCALE, attach
from evolution.tutoring.lesson import Lesson, _batches, _loss, learnt, teach
from evolution.tutoring.packing import Example, rows_of
from evolution.tutoring.settings import TutorSettings
from tests.evolution.merging.regmean_cases import anybody

CPU = torch.device("cpu")
EXAMPLES = [Example([1, 60, 61, 40 + n, 7, 8, 100 + n, 2], 2) for n in range(6)]
REPLAY = [Example([1, 60, 61, 90, 30 + n, 31, 2], 3) for n in range(3)]
SETTINGS = TutorSettings(batch=4, rank=4, learning_rate=1e-2)


def lesson(bank: Bank, genome: Genome, steps: int = 6, seed: int = 3, rank: int = 4) -> Lesson:
    """On all examples, with replay."""
    chosen = SETTINGS.model_copy(update={"rank": rank})
    return teach("taught", bank, genome, EXAMPLES, REPLAY, chosen, steps, seed, CPU)


def alone(model: torch.nn.Module, example: Example) -> float:
    """Summed cross entropy of an answer that is read by itself."""
    scores = model(torch.tensor([list(example.tokens)]), use_cache=False).logits[0]
    scores = scores[example.prompt - 1 : -1].log_softmax(-1)
    targets = torch.tensor(example.tokens[example.prompt :])
    return -float(scores.gather(1, targets[:, None]).sum())


examples = st.lists(
    st.builds(
        lambda opening, prompt, answer: Example([*opening, *prompt, *answer], len(answer)),
        st.sampled_from([[1, 2], [1, 2, 3], [9]]),
        st.lists(st.integers(4, 6), max_size=4),
        st.lists(st.integers(4, 300), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=40)
@given(examples)
def test_examples_in_rows_are_learnt_as_if_each_were_alone(
    bank: Bank, batch: list[Example]
) -> None:
    model = bank.model(torch.float32)
    with torch.no_grad():
        found = sum(float(_loss(model, row)) for row in rows_of(batch))
        assert found == pytest.approx(sum(alone(model, each) for each in batch), rel=1e-4)


def test_a_batch_that_is_long_is_read_in_several_rows(bank: Bank) -> None:
    batch = [Example([1, 2, *range(3, 3 + 200), 9], 1) for _ in range(6)]
    rows = rows_of(batch)
    assert len(rows) == 1, "they share all but what is learnt, which is in no opening"
    batch = [Example([1, 2, 50 + n, *range(3, 3 + 200), 9], 1) for n in range(6)]
    assert len(rows_of(batch)) == 3
    assert sum(len(row.targets) for row in rows_of(batch)) == 6


def test_what_is_learnt_is_an_anchor_that_the_expert_carries(new_bank: Callable[[], Bank]) -> None:
    bank = new_bank()
    parent = anybody(bank, 1, ("alpha", "delta"), rank=True, noise=True)
    before = dict(weigh(bank, parent))
    found = lesson(bank, parent)
    assert found.losses[-1] < found.losses[0] - 0.5
    bank.append(found.anchor)
    child = learnt(bank, parent, found.anchor)
    assert bank.genome_id(child) != bank.genome_id(parent)
    for name, weights in weigh(bank, child):
        vector = found.anchor.vectors.get(name)
        if vector is None:
            assert torch.equal(weights, before[name])
        else:
            assert isinstance(vector, LowRank)
            assert vector.down.shape[0] == 4
            added = SCALE * vector.up @ vector.down
            torch.testing.assert_close(weights, before[name].float() + added)
    assert set(found.anchor.vectors) == set(bank.layout.matrices)


def test_the_expert_that_was_taught_gives_the_answers_more_likely(
    new_bank: Callable[[], Bank],
) -> None:
    bank = new_bank()
    found = lesson(bank, bank.seed_genome("alpha"), steps=24)
    bank.append(found.anchor)
    model = bank.model(torch.float32)
    losses = []
    for genome in (
        bank.seed_genome("alpha"),
        learnt(bank, bank.seed_genome("alpha"), found.anchor),
    ):
        materialise(bank, genome, model)
        with torch.no_grad():
            losses.append(sum(alone(model, each) for each in [*EXAMPLES, *REPLAY]))
    assert losses[1] < 0.5 * losses[0]


def test_equal_arguments_give_equal_bits_and_no_random_stream_is_touched(bank: Bank) -> None:
    genome = bank.seed_genome("beta")
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first = lesson(bank, genome)
    assert torch.equal(torch.rand(3), expected)
    again, other = lesson(bank, genome), lesson(bank, genome, seed=4)
    assert (again.anchor.content_hash, again.losses) == (first.anchor.content_hash, first.losses)
    assert other.anchor.content_hash != first.anchor.content_hash
    assert bank.seed_genome("beta").coefficients.tolist() == genome.coefficients.tolist()


def test_factors_begin_alike_on_every_device_and_add_nothing(bank: Bank) -> None:
    model = bank.model(torch.float32)
    tokens = torch.tensor([[1, 50, 60, 70]])
    with torch.no_grad():
        before = model(tokens, use_cache=False).logits
        factors = attach(model, bank.layout.matrices, 4, 1, CPU)
        assert torch.equal(model(tokens, use_cache=False).logits, before)
    elsewhere = attach(bank.model(torch.float32), bank.layout.matrices, 4, 1, torch.device("meta"))
    assert all(each.down.device.type == "meta" for each in elsewhere.values())
    assert all(float(each.down.detach().abs().max()) > 0 for each in factors.values())


def test_small_matrices_have_factors_of_their_own_rank(bank: Bank) -> None:
    vectors = lesson(bank, bank.base_genome(), steps=1, rank=48).anchor.vectors
    ranks = {name.split(".")[-2]: vector.down.shape[0] for name, vector in vectors.items()}  # type: ignore[union-attr]
    assert ranks["v_proj"] == 32
    assert ranks["q_proj"] == 48


def test_a_batch_has_its_share_of_replay_and_everything_comes_before_anything_again() -> None:
    of = TutorSettings(batch=4, replay=0.25)
    first = list(islice(_batches(EXAMPLES, REPLAY, of, 0), 4))
    assert [sum(each in REPLAY for each in batch) for batch in first] == [1, 1, 1, 1]
    fresh = [each for batch in first for each in batch if each in EXAMPLES]
    assert sorted(each.tokens[3] for each in fresh[:6]) == [40, 41, 42, 43, 44, 45]
    assert all(len(batch) == 4 for batch in islice(_batches(EXAMPLES, [], of, 0), 3))


def test_steps_are_none_on_a_cpu_and_some_on_a_gpu_unless_they_are_set() -> None:
    assert [TutorSettings().steps_on(device) for device in ("cpu", "cuda")] == [0, 120]
    for steps in (0, 7):
        settled = TutorSettings(steps=steps)
        assert [settled.steps_on(device) for device in ("cpu", "cuda")] == [steps, steps]


def test_longer_lessons_are_about_more_families_unless_their_number_is_set() -> None:
    found = {steps: TutorSettings().most_families(steps) for steps in (1, 20, 44, 45, 120)}
    assert found == {1: 2, 20: 2, 44: 2, 45: 3, 120: 8}
    assert TutorSettings(families=3).most_families(120) == 3


def test_without_examples_or_steps_there_is_no_lesson(bank: Bank) -> None:
    for examples, steps in (([], 3), (EXAMPLES, 0)):
        with pytest.raises(TutorError, match="needs examples and steps"):
            teach("x", bank, bank.base_genome(), examples, [], SETTINGS, steps, 0, CPU)


def test_what_is_not_finite_is_refused(bank: Bank) -> None:
    wild = SETTINGS.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(TutorError, match=r"not finite: lower breeding.tutor.learning_rate"):
        teach("x", bank, bank.base_genome(), EXAMPLES, [], wild, 4, 0, CPU)


def test_biases_and_an_untied_head_are_taught_around(qwen_bank: Bank) -> None:
    found = lesson(qwen_bank, qwen_bank.seed_genome("alpha"), steps=8)
    assert found.losses[-1] < found.losses[0]
    assert set(found.anchor.vectors) == set(qwen_bank.layout.matrices)
    assert np.isfinite(found.losses).all()
