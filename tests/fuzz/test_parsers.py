"""No input, however absurd, ends a parser in another way than a value or an error of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.harness import CORPUS, kept, observe
from tests.fuzz.parsers import PARSERS

CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@pytest.mark.parametrize("name", sorted(PARSERS))
def test_a_parser_gives_a_value_or_an_error_of_ours(name: str, tmp_path: Path) -> None:
    parser = PARSERS[name](tmp_path)
    assert all(observe(parser, sample) for sample in parser.samples)
    for file in kept(name):
        observe(parser, file.read_bytes())

    # What fails is made small by `benchmarks.fuzz`: an input that takes for ever would take hours.
    @settings(
        max_examples=parser.examples,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=CHECKS,
    )
    @given(st.data())
    def fuzz(data: st.DataObject) -> None:
        observe(parser, data.draw(parser.inputs))

    fuzz()


def test_every_folder_of_the_corpus_has_its_parser() -> None:
    assert {folder.name for folder in CORPUS.iterdir() if folder.is_dir()} <= {*PARSERS}
