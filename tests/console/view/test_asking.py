"""`acdc view --ask`: the task force answers in the browser, and only where that was asked for."""

from __future__ import annotations

import html
from pathlib import Path

import httpx
import pytest

from tests.console.conftest import Acdc
from tests.console.view.conftest import Viewed, served


def test_a_question_is_answered_by_the_task_force(acdc: Acdc, finished_run: Path) -> None:
    with served(acdc, finished_run, "--ask") as url, httpx.Client(timeout=300) as client:
        page = f"{url}runs/{finished_run.name}/ask"
        assert "Ask</button>" in client.get(page).text
        origin = {"origin": url.rstrip("/")}
        asked = {"question": "What is <b>7</b> times 8?", "n": "3", "select": "majority"}
        for _ in range(2):  # the second time nothing has to be loaded
            reply = client.post(page, data=asked, headers=origin)
            assert reply.status_code == 200, reply.text
            assert "Who said what" in reply.text
            # Who gave the answer, and everybody who was asked.
            assert reply.text.count('href="/runs/tiny/experts/') == 1 + 3
            assert html.escape(asked["question"]) in reply.text
        assert "data-seconds" not in reply.text  # an answer is not replaced while the run goes on
        for wrong, said in (
            ({"question": " "}, "the question is empty"),
            ({"n": "1000"}, "n is '1000': as many as 1, 3, 5, 8"),
            ({"n": ""}, "n is ''"),
            ({"select": "chooser"}, "select is 'chooser'"),
            ({"question": "why " * 10_000}, "tokens"),
        ):
            reply = client.post(page, data={**asked, **wrong}, headers=origin)
            assert reply.status_code == 400, reply.text
            assert said in html.unescape(reply.text)
            assert f'href="{page.removeprefix(url.rstrip("/"))}"' in reply.text
        assert client.post(page, data=asked).status_code == 403


def test_without_the_option_no_engine_may_be_loaded(viewed: Viewed) -> None:
    assert "there is no page ask" in viewed.html("ask", 404)
    assert ">Ask</a>" not in viewed.html()


@pytest.mark.parametrize("words", [["nowhere"], ["--port", "70000"]], ids=" ".join)
def test_wrong_words_are_said(acdc: Acdc, words: list[str]) -> None:
    assert acdc("view", *words, code=2).stderr
