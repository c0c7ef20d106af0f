"""The viewer's application: a page of a run for each URL, as HTML, JSON or CSV."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from console.errors import UsageError
from console.view.asking import METHODS, SIZES, Asker, asking_page
from console.view.page import Page
from console.view.render import Renderer
from console.view.site import page_of
from console.view.source import Source
from console.view.words import as_csv
from memory.errors import AcdcError
from memory.messages import escaped_in_json

STATIC = Path(__file__).parent / "static"
_READING = ["GET", "HEAD"]


def build_app(sources: Sequence[Source], renderer: Renderer, asker: Asker | None = None) -> FastAPI:
    """The application over some runs.

    Args:
        sources: the runs.
        renderer: of pages.
        asker: of the task forces; None where no engine may be loaded.
    """
    app = FastAPI(title="AC/DC", docs_url=None, redoc_url=None, openapi_url=None)
    runs = {source.name: source for source in sources}
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.api_route("/", methods=_READING)
    def home() -> Response:
        if len(sources) == 1:
            return RedirectResponse(sources[0].base, 303)
        return HTMLResponse(renderer.home(sources))

    @app.api_route("/runs/{run}/version", methods=_READING)
    def version(run: str) -> Response:
        return PlainTextResponse(_named(runs, run).version())

    if asker is not None:
        _add_asking(app, runs, renderer, asker)

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


def _add_asking(app: FastAPI, runs: dict[str, Source], renderer: Renderer, asker: Asker) -> None:
    @app.api_route("/runs/{run}/ask", methods=_READING)
    def form(run: str) -> Response:
        source = _named(runs, run)
        return HTMLResponse(renderer.page(source, asking_page({}), "ask", "", {}, None))

    @app.post("/runs/{run}/ask")
    async def ask(run: str, request: Request) -> Response:
        source = _named(runs, run)
        query = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        question, size, method = (query.get(name, "") for name in ("question", "n", "select"))
        if not question.strip() or size not in SIZES or method not in METHODS:
            raise UsageError("a question, a number of answers and a method are needed")
        reply = await asker.ask(source, question, int(size), method)
        page = asking_page(query, reply)
        return HTMLResponse(renderer.page(source, page, "ask", "", {}, None))


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
            return _csv(page, query.get("table", ""))
        case other:
            raise UsageError(f"unknown format {other!r}; there are json and csv")


def _json(value: dict[str, Any]) -> Response:
    """JSON in ASCII, so that no terminal obeys it and lone surrogates do no harm."""
    return Response(escaped_in_json(json.dumps(value, indent=1)), media_type="application/json")


def _csv(page: Page, name: str) -> Response:
    table = page.table(name)
    if table is None:
        names = ", ".join(table.name for table in page.tables())
        raise UsageError(f"the page has no table {name!r}; it has {names}")
    headers = {"Content-Disposition": f'attachment; filename="{table.name}.csv"'}
    return Response(as_csv(table), media_type="text/csv; charset=utf-8", headers=headers)


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
