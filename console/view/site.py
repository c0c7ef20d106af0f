"""The pages that there are, in the order of the navigation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from console.errors import NotFoundError
from console.view.page import Page, Query, ordered
from console.view.pages.agents import agents, call
from console.view.pages.answers import answers
from console.view.pages.comparison import comparison
from console.view.pages.embedding import embedding
from console.view.pages.experts import expert, experts
from console.view.pages.family import family
from console.view.pages.lineage import lineage_page
from console.view.pages.operators import operators
from console.view.pages.overview import overview
from console.view.pages.settings import settings
from console.view.pages.skills import skills
from console.view.pages.tasks import tasks
from console.view.source import Run

PageFunction = Callable[[Run, Query, str], Page]
"""From a run, the parameters of the URL and what follows the name of the page, as an id."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A page of the navigation.

    Attributes:
        title: there.
        page: what it shows.
        inner: what it shows of one thing, whose id follows in the URL; None if there is none.
    """

    title: str
    page: PageFunction | None
    inner: PageFunction | None = None


PAGES = {
    "": Entry("Overview", overview),
    "tasks": Entry("Tasks", tasks, family),
    "experts": Entry("Experts", experts, expert),
    "lineage": Entry("Lineage", lineage_page),
    "skills": Entry("Skills", skills),
    "answers": Entry("Answers", answers),
    "agents": Entry("Agents", agents, call),
    "operators": Entry("Operators", operators),
    "map": Entry("Map", embedding),
    "compare": Entry("Compare", comparison),
    "settings": Entry("Settings", settings),
}
"""By the first part of their URL."""


_NONE = Entry("", None)


def page_of(run: Run, name: str, rest: str = "", query: Query | None = None) -> Page:
    """A page of a run, its tables in the order that the URL asks for.

    Raises:
        NotFoundError: there is none.
        RequestError: the URL asks for an order or a filter that there is not.
    """
    entry = PAGES.get(name, _NONE)
    function = entry.inner if rest else entry.page
    if function is None:
        raise NotFoundError(f"there is no page {name}{f'/{rest}' if rest else ''}")
    return ordered(function(run, query or {}, rest), query or {})
