"""ANNECS counts what was new, hard when it came, and solved later; nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.evaluation.annecs import annecs
from memory.records import Expert
from tests.memory.conftest import family_like

EXPERTS = [
    Expert(
        id=f"g{generation}-{birth}",
        genome_id="x",
        generation=generation,
        birth=birth,
        operator="seed",
    )
    for generation in range(4)
    for birth in range(2)
]


def test_every_fate_of_a_family() -> None:
    families = [
        family_like(name, generation=generation)
        for name, generation in [
            ("founding", 0),
            ("easy", 1),
            ("mastered", 1),
            ("siblings", 2),
            ("hard", 1),
            ("unseen", 3),
        ]
    ]
    skills = {
        "g0-0": {
            "founding": False,
            "easy": True,
            "mastered": False,
            "siblings": False,
            "hard": False,
        },
        "g0-1": {"founding": False, "mastered": False},
        "g1-0": {"founding": True, "easy": True, "mastered": False, "siblings": False},
        "g2-0": {"mastered": True, "siblings": True},
        "g3-0": {"mastered": True, "hard": False, "unseen": True},
    }
    found = annecs(families, EXPERTS, skills)
    assert found.solved == {"founding": 1, "mastered": 2, "siblings": 2}
    assert found.too_easy == ("easy",)
    assert found.unsolved == ("hard",)
    assert found.unknown == ("unseen",), "nobody who was there before it was asked"
    assert found.by_generation == {0: 0, 1: 1, 2: 3, 3: 3}
    assert found.total == 3


@given(st.dictionaries(st.sampled_from([e.id for e in EXPERTS]), st.booleans()), st.integers(0, 3))
def test_a_family_has_one_fate_and_the_curve_never_falls(
    grades: dict[str, bool], generation: int
) -> None:
    family = family_like("f", generation=generation)
    skills = {expert: {"f": passed} for expert, passed in grades.items()}
    found = annecs([family], EXPERTS, skills)
    fates = [*found.solved, *found.too_easy, *found.unsolved, *found.unknown]
    assert fates == ["f"]
    curve = list(found.by_generation.values())
    assert curve == sorted(curve)
    assert curve[-1] == found.total
    if not any(grades.values()):
        assert not found.solved
    assert annecs([family], EXPERTS[::-1], skills).solved == found.solved


def test_a_run_that_has_nothing() -> None:
    assert annecs([], [], {}).total == 0
