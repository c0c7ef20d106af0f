"""The viewer's application: a page of a run for each URL, as HTML, JSON or CSV."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from console.errors import UsageError
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
from console.view.render import Renderer
from console.view.source import Run, Source
from console.view.words import as_csv
from memory.errors import AcdcError
from memory.messages import escaped_in_json

STATIC = Path(__file__).parent / "static"
PageFunction = Callable[[Run, Query, str], Page]

PAGES: dict[str, PageFunction] = {
    "": overview,
    "tasks": tasks,
    "experts": experts,
    "lineage": lineage_page,
    "skills": skills,
    "answers": answers,
    "agents": agents,
    "operators": operators,
    "map": embedding,
    "compare": comparison,
    "settings": settings,
}
"""Pages by the first part of their URL, in the order of the navigation."""
INNER: dict[str, PageFunction] = {"tasks": family, "experts": expert, "agents": call}
"""Pages of one thing, by the first part of their URL; its id is the rest."""


def build_app(sources: Sequence[Source], renderer: Renderer) -> FastAPI:
    """The application over some runs.

    Args:
        sources: the runs.
        renderer: of pages.
    """
    app = FastAPI(title="AC/DC", docs_url=None, redoc_url=None, openapi_url=None)
    runs = {source.name: source for source in sources}
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.api_route("/", methods=_READING)
    def home(request: Request) -> Response:
        if len(sources) == 1:
            return RedirectResponse(sources[0].base, 303)
        return HTMLResponse(renderer.home(list(runs.values())))

    @app.api_route("/runs/{run}/version", methods=_READING)
    def version(run: str) -> Response:
        return PlainTextResponse(_named(runs, run).version())

    @app.api_route("/runs/{run}/", methods=_READING)
    def first(run: str, request: Request) -> Response:
        return _answer(_named(runs, run), "", "", request, renderer)

    @app.api_route("/runs/{run}/{page}", methods=_READING)
    def page(run: str, page: str, request: Request) -> Response:
        return _answer(_named(runs, run), page, "", request, renderer)

    @app.api_route("/runs/{run}/{page}/{rest:path}", methods=_READING)
    def inner(run: str, page: str, rest: str, request: Request) -> Response:
        return _answer(_named(runs, run), page, rest, request, renderer)

    _answer_errors(app, renderer)
    return app


_READING = ["GET", "HEAD"]


def page_of(run: Run, name: str, rest: str, query: Query) -> Page:
    """A page of a run.

    Raises:
        UsageError: there is none.
    """
    function = (INNER if rest else PAGES).get(name)
    if function is None:
        raise UsageError(f"there is no page {name}/{rest}" if rest else f"there is no page {name}")
    return ordered(function(run, query, rest), query)


def _answer(source: Source, name: str, rest: str, request: Request, renderer: Renderer) -> Response:
    query = dict(request.query_params)
    version = source.version()
    with source.open() as run:
        page = page_of(run, name, rest, query)
    match query.get("format"):
        case None:
            return HTMLResponse(renderer.page(source, page, name, rest, query, version))
        case "json":
            return _json({"run": source.name, "page": name or "overview", **page.as_json()})
        case "csv":
            table = page.table(query.get("table", ""))
            if table is None:
                names = ", ".join(table.name for table in page.tables())
                raise UsageError(f"the page has no table {query.get('table')!r}; it has {names}")
            headers = {"Content-Disposition": f'attachment; filename="{table.name}.csv"'}
            return Response(as_csv(table), media_type="text/csv; charset=utf-8", headers=headers)
        case other:
            raise UsageError(f"unknown format {other!r}; there are json and csv")


def _json(value: dict[str, Any]) -> Response:
    """JSON that no terminal obeys; it is ASCII, so lone surrogates do no harm."""
    return Response(escaped_in_json(json.dumps(value, indent=1)), media_type="application/json")


def _named(runs: dict[str, Source], name: str) -> Source:
    if name not in runs:
        raise UsageError(f"there is no run {name}")
    return runs[name]


def _answer_errors(app: FastAPI, renderer: Renderer) -> None:
    """Every error is a page that says what is wrong."""

    @app.exception_handler(UsageError)
    async def unknown(request: Request, error: UsageError) -> Response:
        return HTMLResponse(renderer.error("Not found", str(error)), 404)

    @app.exception_handler(AcdcError)
    async def failed(request: Request, error: AcdcError) -> Response:
        return HTMLResponse(renderer.error("The run cannot be read", str(error)), 500)

    @app.exception_handler(HTTPException)
    async def unrouted(request: Request, error: HTTPException) -> Response:
        return HTMLResponse(renderer.error(str(error.detail), request.url.path), error.status_code)
