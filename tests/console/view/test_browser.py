"""The viewer in Chromium, with every other host unreachable."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from console.view.site import PAGES
from memory.store import RunStore
from tests.console.conftest import Acdc
from tests.console.view.conftest import served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

AXE = Path(__file__).with_name("axe.min.js")
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
"""Of axe-core 4.14.1, axe.min.js as npm has it (MPL-2.0)."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no chromium: make browser installs it (apt-get install chromium)")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=chromium,
            args=[
                "--no-sandbox",
                "--disable-background-networking",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def url(acdc: Acdc, finished_run: Path) -> Iterator[str]:
    with served(acdc, finished_run) as url:
        yield f"{url}runs/{finished_run.name}/"


class Watched:
    """A browser page, and all that went wrong on it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wrong: list[str] = []
        page.on("console", lambda said: self._said(said.type, said.text))
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("requestfailed", lambda request: self.wrong.append(request.url))
        page.on("request", lambda request: self._asked(request.url))
        self.hosts: set[str] = set()

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.wrong.append(text)

    def _asked(self, url: str) -> None:
        if not url.startswith("data:"):
            self.hosts.add(url.split("/")[2])


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield Watched(context.new_page())
    context.close()


def inner_pages(finished_run: Path) -> list[str]:
    with RunStore.open(finished_run, read_only=True) as store:
        family, expert = store.families()[0].id, store.experts()[-1].id
        call = store.calls()[0].key
    return [
        f"tasks/{family}",
        f"experts/{expert}",
        f"experts/{store_first(finished_run)}",
        f"answers?family={family}&instance=1",
        f"answers?expert={expert}",
        f"agents/{call}",
        "skills?order=rate&experts=all&families=all",
        "lineage?show=all",
    ]


def store_first(finished_run: Path) -> str:
    with RunStore.open(finished_run, read_only=True) as store:
        return store.experts()[0].id


def test_every_page_opens_without_a_fault_and_without_another_host(
    watched: Watched, url: str, finished_run: Path
) -> None:
    for page in [*PAGES, *inner_pages(finished_run)]:
        reply = watched.page.goto(url + page)
        assert reply is not None
        assert reply.status == 200
        assert watched.page.locator("h1").count() == 1
        assert watched.wrong == [], page
    assert watched.hosts == {url.split("/")[2]}


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (1280, "light"),
        pytest.param(1280, "dark", marks=pytest.mark.slow),
        pytest.param(390, "light", marks=pytest.mark.slow),
        pytest.param(390, "dark", marks=pytest.mark.slow),
    ],
)
def test_axe_finds_no_serious_fault(
    browser: Browser, url: str, finished_run: Path, width: int, scheme: Any
) -> None:
    code = AXE.read_bytes()
    assert hashlib.sha256(code).hexdigest() == AXE_SHA256
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
    )
    page = context.new_page()
    for path in [*PAGES, *inner_pages(finished_run)]:
        page.goto(url + path)
        page.evaluate(code.decode())
        found = page.evaluate("axe.run()")["violations"]
        serious = [
            f"{each['id']}: {each['nodes'][0]['html'][:200]} {each['nodes'][0]['any'][:1]}"
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
        assert serious == [], path
        # Whatever is wide scrolls in itself; the page does not.
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    context.close()


def test_filters_narrow_the_table_and_the_url_can_be_shared(
    watched: Watched, url: str, browser: Browser
) -> None:
    page = watched.page
    page.goto(f"{url}tasks")
    everything = page.locator("#families tbody tr").count()
    page.get_by_label("Status").select_option("retired")
    page.wait_for_url("**status=retired**")
    fewer = page.locator("#families tbody tr").count()
    assert fewer < everything
    page.get_by_label("Search").fill("no family has this")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=no**")
    assert page.locator("#families tbody tr").count() == 0
    page.goto(f"{url}tasks?status=retired")
    other = browser.new_page()
    other.goto(page.url)
    assert other.locator("#families tbody tr").count() == fewer
    other.close()


def test_a_table_sorts_by_its_heads(watched: Watched, url: str) -> None:
    page = watched.page
    page.goto(f"{url}experts")
    head = page.locator("#experts th", has_text="pass rate")
    head.get_by_role("link").click()
    assert page.locator("#experts th[aria-sort=descending]").inner_text().startswith("pass rate")
    column = [cell.split("\t")[4] for cell in page.locator("#experts tbody tr").all_inner_texts()]
    rates = [float(cell) for cell in column if cell != "-"]
    assert rates == sorted(rates, reverse=True)


def test_the_keyboard_is_enough(watched: Watched, url: str) -> None:
    page = watched.page
    page.goto(f"{url}tasks")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "to the content"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "q"
    status = page.get_by_label("Status")
    options = status.locator("option").evaluate_all("all => all.map(each => each.value)")
    start = options.index(status.input_value())
    status.focus()
    for option in options[start + 1 :]:
        page.keyboard.press("ArrowDown")
        page.wait_for_url(f"**status={option}**")
        page.wait_for_function("document.activeElement.name === 'status'")
    assert len(options) - start > 2


def test_experts_of_the_lineage_are_reached_by_keyboard(watched: Watched, url: str) -> None:
    page = watched.page
    page.goto(f"{url}lineage?show=all")
    page.get_by_role("region", name="Lineage").focus()
    page.keyboard.press("Tab")
    address = page.evaluate("document.activeElement.getAttribute('href')")
    name = address.rpartition("/")[2]
    link = page.get_by_role("link", name=re.compile(f"^{re.escape(name)}: "))
    assert link.get_attribute("href") == address
    assert page.locator(".node a:focus-visible .box").count() == 1
    widths = "boxes => boxes.map(box => parseFloat(getComputedStyle(box).strokeWidth))"
    focused = page.locator(".node a:focus-visible .box").evaluate_all(widths)
    others = page.locator(".node a:not(:focus-visible) .box").evaluate_all(widths)
    assert focused[0] > max(others)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{address}")
    assert page.locator("h1").inner_text() == name


def test_a_live_run_is_shown_as_it_goes_on(acdc: Acdc, copied: Path, watched: Watched) -> None:
    with served(acdc, copied) as url, RunStore.open(copied) as store:
        page = watched.page
        page.goto(f"{url}runs/copied/tasks")
        family = store.families("active")[0]
        row = page.locator("#families tbody tr", has=page.locator(f"a[href$='{family.id}']"))
        assert "active" in row.inner_text()
        page.evaluate("document.body.dataset.marked = 'not loaded anew'")
        store.set_family_status(family.id, "retired", "least discrimination")
        page.wait_for_function(
            "id => [...document.querySelectorAll('#families tbody tr')]"
            ".some(row => row.innerHTML.includes(id) && row.innerText.includes('retired'))",
            arg=family.id,
            timeout=30_000,
        )
        assert page.evaluate("document.body.dataset.marked") == "not loaded anew"
        assert watched.wrong == []


def test_the_focus_and_what_is_unfolded_outlast_a_renewal(
    acdc: Acdc, copied: Path, watched: Watched
) -> None:
    with served(acdc, copied) as url, RunStore.open(copied) as store:
        page = watched.page
        page.goto(f"{url}runs/copied/tasks?sort.families=status")
        link = page.locator("#families tbody tr", has_text="active").locator("a").first
        address = link.get_attribute("href")
        link.focus()
        # The row moves: what has the focus is found by what it is, not by where it stood.
        family = next(
            each for each in store.families("active") if (address or "").endswith(each.id)
        )
        renewed(page, lambda: store.set_family_status(family.id, "retired", "least discrimination"))
        assert page.evaluate("document.activeElement.getAttribute('href')") == address
        head = page.locator("#families th a").first
        head.focus()
        renewed(page, lambda: store.put_meta("finished", False))
        assert page.evaluate("document.activeElement.closest('th') !== null")

        page.goto(f"{url}runs/copied/tasks/{family.id}")
        folded = page.locator("main details")
        assert folded.count() > 1
        last = folded.last
        title = last.locator("h2").inner_text()
        last.locator("summary").focus()
        page.keyboard.press("Enter")
        # One that stood before it is gone from the page that is shown.
        page.evaluate("document.querySelector('main details').closest('section').remove()")
        renewed(page, lambda: store.put_meta("finished", True))
        opened = page.locator("main details[open]")
        assert opened.locator("h2").all_inner_texts() == [title]
        assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
        assert page.evaluate("document.activeElement.parentElement.open")
        assert watched.wrong == []


def renewed(page: Page, change: Callable[[], object]) -> None:
    """Changes the run and waits until the page shows it."""
    page.evaluate("document.getElementById('main').dataset.old = ''")
    change()
    page.wait_for_function(
        "() => !('old' in document.getElementById('main').dataset)", timeout=30_000
    )


def test_who_is_typing_is_not_disturbed(acdc: Acdc, copied: Path, watched: Watched) -> None:
    with served(acdc, copied) as url, RunStore.open(copied) as store:
        page = watched.page
        page.goto(f"{url}runs/copied/tasks")
        page.get_by_label("Search").type("half a wo")
        store.put_meta("finished", False)
        page.wait_for_timeout(4000)
        assert page.get_by_label("Search").input_value() == "half a wo"


def test_without_script_everything_is_there(browser: Browser, url: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{url}tasks")
    page.get_by_label("Status").select_option("retired")
    page.get_by_role("button", name="Show").click()
    assert "status=retired" in page.url
    assert page.locator("#families tbody tr").count() > 0
    context.close()


FOREIGN = (
    '<form method="post" action="{to}" {how}><input name="question" value="What is 1 + 1?">'
    '<input name="n" value="1"><input name="select" value="majority"><button>win</button></form>'
)


def replying(body: str) -> Callable[[Route], None]:
    """Plays a server that has one page."""

    def reply(route: Route) -> None:
        route.fulfill(content_type="text/html", body=body)

    return reply


def test_the_form_asks_the_task_force_and_no_other_page_can(
    acdc: Acdc, finished_run: Path, watched: Watched
) -> None:
    page = watched.page
    with served(acdc, finished_run, "--ask") as url:
        ask = f"{url}runs/{finished_run.name}/ask"
        page.goto(ask)
        page.set_viewport_size({"width": 390, "height": 844})
        page.get_by_label("Question").fill("What is\n7 times 8?")
        page.get_by_label("Chosen by").select_option("skill_routing")
        page.get_by_role("button", name="Ask").click(timeout=300_000)
        page.get_by_role("heading", name="Who said what").wait_for()
        assert page.locator("#answers tbody tr").count() == 3
        assert page.get_by_label("Question").input_value() == "What is\n7 times 8?"
        # It says of what the scores are, and whether the history says anything about the question.
        assert page.get_by_text("Score:").count() == 1
        why = page.get_by_role("heading", name=re.compile("Why|Do not trust this answer"))
        assert why.count() == 1
        # The reply has no address under which it could be sorted or taken away.
        assert page.locator("#answers a").count() == 3
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert watched.wrong == []
        other = "http://127.0.0.1:9999/"
        for how in ("", 'rel="noreferrer"'):
            page.route(other, replying(FOREIGN.format(to=ask, how=how)))
            page.goto(other)
            page.get_by_role("button").click()
            page.get_by_text("Only a page of the viewer may ask.").wait_for()
            page.get_by_role("link", name="Back").click()
            page.get_by_role("button", name="Ask").wait_for()


MARKUP = (
    "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'>"
    "<svg onload='window.pwned = 3'></svg>\"'><b>bold</b> \u202etxt\u2066 \x1b[31m {{ 7 * 7 }} "
)


def test_what_a_model_wrote_stays_text(acdc: Acdc, copied: Path, watched: Watched) -> None:
    poison(copied)
    with served(acdc, copied) as url, RunStore.open(copied, read_only=True) as store:
        base = f"{url}runs/copied/"
        family, expert = store.families()[0], store.experts()[-1]
        pages = [
            *PAGES,
            f"tasks/{family.id}",
            f"experts/{expert.id}",
            f"answers?family={family.id}&instance=1",
            f"agents/{store.calls()[0].key}",
            f"tasks?q={MARKUP}",
        ]
        for path in pages:
            watched.page.goto(base + path)
            text = watched.page.content()
            assert watched.page.evaluate("window.pwned") is None, path
            assert watched.page.locator("main b, main img, main script").count() == 0, path
            assert not re.search("[\u202e\u2066\x1b]", text), path
        watched.page.goto(f"{base}tasks/{family.id}")
        assert "<script>window.pwned" in watched.page.locator("h1").inner_text()
        assert "{{ 7 * 7 }}" in watched.page.locator("h1").inner_text()
        assert "\\u202etxt" in watched.page.locator("h1").inner_text()
        assert watched.wrong == []


def poison(folder: Path) -> None:
    """Markup in what models and users wrote."""
    import json
    import sqlite3

    fields = {"name", "description", "capability", "extracted", "text", "response", "detail"}

    def tainted(record: str) -> str:
        def taint(value: Any, written: bool = False) -> Any:
            if isinstance(value, dict):
                return {k: taint(v, k in fields) for k, v in value.items()}
            if isinstance(value, list):
                return [taint(each, written) for each in value]
            return MARKUP + value if written and isinstance(value, str) else value

        return json.dumps(taint(json.loads(record)))

    connection = sqlite3.connect(folder / "run.db")
    connection.create_function("tainted", 1, tainted)
    with connection:
        for table in ("families", "drafts", "calls", "answers"):
            connection.execute(f"UPDATE {table} SET record = tainted(record)")
        connection.execute("UPDATE assignments SET detail = ? || detail", (MARKUP,))
        connection.execute("UPDATE meta SET value = tainted(value) WHERE key = 'summary'")
    connection.close()
