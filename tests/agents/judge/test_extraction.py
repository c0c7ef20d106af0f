import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.judge.extraction import Extracted, extract

CASES = {
    "plain": ("Answer: 42", "42"),
    "case and spaces": ("  aNsWeR :  42  ", "42"),
    "after reasoning": ("6 times 7 is 42.\nAnswer: 42\n", "42"),
    "the last one counts": ("Answer: 41\nNo, wait.\nAnswer: 42", "42"),
    "final answer": ("Final answer: 42", "42"),
    "bold word": ("**Answer:** 42", "42"),
    "bold word, colon outside": ("**Answer**: 42", "42"),
    "bold line": ("**Answer: 42**", "42"),
    "bold both": ("**Answer:** **42**", "42"),
    "heading": ("### Answer: 42", "42"),
    "quotation": ("> Answer: 42", "42"),
    "list item": ("- Answer: 42", "42"),
    "in mid-sentence is no marker": ("I think the Answer: 41", "I think the Answer: 41"),
    "an asterisk of its own": ("Answer: *p", "*p"),
    "a product": ("Answer: 2*3", "2*3"),
    "two bold words": ("Answer: **a** or **b**", "**a** or **b**"),
    "underscores stay": ("Answer: __init__", "__init__"),
    "windows line ends": ("Answer: 42\r\nBye", "42"),
    "next line": ("Answer:\n42\n\nThat is all.", "42"),
    "bold, next line": ("**Answer:**\n42", "42"),
    "after a blank line": ("Answer:\n\n42", "42"),
    "several lines": ("Answer:\na b\nc d\n\nBye", "a b\nc d"),
    "several lines, windows": ("Answer:\r\na\r\nb\r\n\r\nBye", "a\r\nb"),
    "truncated after the marker": ("Answer: 42\nLet me check.\nAnswer:", "42"),
    "nothing but a marker": ("Answer:", ""),
    "fenced": ("Answer:\n```python\nx = 1\n\ny = 2\n```\nDone.", "```python\nx = 1\n\ny = 2\n```"),
    "fence on the line": ("Answer: ```\nx\n\ny\n```", "```\nx\n\ny\n```"),
    "fence cut off": ("Answer:\n```\nx\n\ny", "```\nx\n\ny"),
    "inline fence": ("Answer: ```42```", "```42```"),
    "box": (r"So \boxed{42}.", "42"),
    "nested braces": (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
    "box over lines": ("\\boxed{\na\n}", "a"),
    "last box": (r"\boxed{1} no \boxed{2} and {more}", "2"),
    "box in a box": (r"\boxed{\boxed{4}}", "4"),
    "escaped braces": (r"\boxed{\{1\}}", r"\{1\}"),
    "box cut off": (r"\boxed{41} then \boxed{4", "41"),
    "box behind a marker": (r"Answer: $\boxed{42}$", "42"),
    "marker after a box": ("\\boxed{41}\nAnswer: 42", "42"),
    "box after a marker": ("Answer: 41\nBetter: \\boxed{42}", "42"),
    "box before an empty marker": ("\\boxed{42}\nAnswer:", "42"),
    "thought": ("<think>Answer: 41</think>Answer: 42", "42"),
    "thought later": ("Answer: 42\n<think>Answer: 41</think>", "42"),
    "thought opened in the prompt": ("Answer: 41\n</think>\nAnswer: 42", "42"),
    "unmarked": ("  forty-two \n", "forty-two"),
    "unmarked after a thought": ("<THINK>hm</THINK>\n42", "42"),
    "never stopped thinking": ("<think>Answer: 41 ...", ""),
    "empty": ("", ""),
}
UNMARKED = {
    "in mid-sentence is no marker",
    "unmarked",
    "unmarked after a thought",
    "never stopped thinking",
    "empty",
}


@pytest.mark.parametrize("name", CASES)
def test_nasty_replies(name: str) -> None:
    text, answer = CASES[name]
    assert extract(text) == Extracted(answer, unmarked=name in UNMARKED)


@given(st.text())
def test_never_raises_and_invents_nothing(text: str) -> None:
    extracted = extract(text)
    assert extracted.answer in text
    assert extracted.answer == extracted.answer.strip()


@given(
    st.lists(
        st.sampled_from(
            [
                "Answer:",
                "**",
                "\\boxed{",
                "{",
                "}",
                "```",
                "\n",
                "\n\n",
                "<think>",
                "</think>",
                "42",
                " ",
            ]
        )
    ).map("".join)
)
def test_any_mix_of_markup_is_survived(text: str) -> None:
    answer = extract(text).answer
    assert "<think>" not in answer
    assert "</think>" not in answer


@given(st.text(), st.from_regex(r"[a-z0-9 .,-]*[a-z0-9]", fullmatch=True))
def test_a_plain_answer_on_the_last_line_is_what_counts(reasoning: str, answer: str) -> None:
    reasoning = reasoning.replace("<", "")
    assert extract(f"{reasoning}\nAnswer: {answer}") == Extracted(answer.strip(), unmarked=False)


@given(st.from_regex(r"[a-z0-9 .,-]*", fullmatch=True))
def test_what_was_extracted_is_extracted_as_itself(answer: str) -> None:
    once = extract(f"Answer: {answer}").answer
    if "answer" not in once:
        assert extract(once).answer == once


@pytest.mark.parametrize(
    "piece", ["\\boxed{", "<think>", "Answer:", " ", "*", "\n", "{", "answer "]
)
def test_long_hostile_replies_are_read(piece: str) -> None:
    """A pattern that backtracks would not come to an end on these."""
    for text in (piece * 50_000, piece * 50_000 + "}" * 50_000):
        assert len(extract(text).answer) <= len(text)
