"""What repeats a benchmark is found, by its words or by its sense, and nothing else is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.evaluation.leakage import BenchmarkQuestion, find_repeats
from agents.evaluation.overlap import OverlapIndex, words_of
from memory.novelty.embedding import minilm
from memory.records import Family
from tests.memory.conftest import family_like

GSM = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in "
    "May. How many clips did Natalia sell altogether in April and May?"
)
REPHRASED = (
    "In April Natalia sold clips to 48 friends, in May half as many. What is the total of the "
    "clips that she sold in April and May?"
)
OTHER = "Sort these words by their last letter and print them with commas: fig, apple, plum."
words = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), min_size=1, max_size=30)


def asking(id_: str, text: str) -> Family:
    return family_like(id_, instructions={"1": OTHER.replace("fig", "kiwi"), "2": text})


def questions(*texts: str) -> list[BenchmarkQuestion]:
    return [BenchmarkQuestion("bench.jsonl", str(n), text) for n, text in enumerate(texts, start=1)]


def test_copied_rephrased_and_different_families_are_told_apart() -> None:
    families = [
        asking("copied", f"Read well. {GSM} Give a number."),
        asking("rephrased", REPHRASED),
        asking("different", "How many moons has Mars?"),
    ]
    found = find_repeats(families, questions(GSM, "Who was the first on the moon?"), minilm(), 0.8)
    told = {repeat.family: repeat for repeat in found.repeats}
    assert set(told) == {"copied", "rephrased"}
    assert found.repeats[0].family == "copied"
    assert told["copied"].by == ("embedding", "ngram")
    assert told["copied"].overlap == 1.0
    assert told["rephrased"].by == ("embedding",)
    assert told["rephrased"].overlap == 0.0
    assert all(repeat.instance == "2" for repeat in told.values())
    assert all(repeat.question.id == "1" for repeat in told.values())
    assert found.nearest["different"] < 0.8 <= found.nearest["rephrased"]
    assert found.too_short == 1


def test_words_alone_are_enough_however_far_the_sense() -> None:
    buried = asking("buried", "Count the letters of this text. " * 30 + GSM)
    [repeat] = find_repeats([buried], questions(GSM), minilm(), 0.99).repeats
    assert (repeat.by, repeat.overlap) == (("ngram",), 1.0)
    assert repeat.similarity < 0.99
    assert find_repeats([buried], questions(GSM), minilm(), 0.99, overlap=1.0).repeats == ()


def test_case_and_punctuation_hide_nothing_and_phrases_say_nothing() -> None:
    index = OverlapIndex([GSM, "How many clips did she sell?"])
    assert index.overlaps(GSM.upper().replace(",", " -")) == {0: 1.0}
    assert index.overlaps("How many clips did she sell?") == {}
    assert index.too_short == 1
    half = " ".join(words_of(GSM)[:16])
    share = index.overlaps(half)[0]
    assert 0 < share < 1
    assert share == 4 / (len(words_of(GSM)) - 12)


@given(words, words, st.integers(1, 6))
def test_overlap_is_the_share_of_the_questions_ngrams(
    question: list[str], text: list[str], n: int
) -> None:
    index = OverlapIndex([" ".join(question)], n, shortest=1)
    length = min(n, len(question))
    grams = {tuple(question[i : i + length]) for i in range(len(question) - length + 1)}
    there = {tuple(text[i : i + length]) for i in range(len(text) - length + 1)}
    assert index.overlaps(" ".join(text)).get(0, 0.0) == len(grams & there) / len(grams)
