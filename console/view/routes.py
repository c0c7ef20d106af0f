"""The viewer's application: a page of a run for each URL, as HTML, JSON or CSV."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from console.errors import NotFoundError, RequestError
from console.view.asking import Asker, asked_in, asking_page
from console.view.page import Page
from console.view.pages.overview import in_short
from console.view.render import Renderer, error_page
from console.view.site import page_of
from console.view.source import Source
from console.view.words import as_csv
from evolution.errors import PromptTooLongError
from memory.errors import AcdcError
from memory.messages import escaped_in_json

STATIC = Path(__file__).parent / "static"


def build_app(
    sources: Sequence[Source], renderer: Renderer, asker: Asker | None = None
) -> Starlette:
    """The application over some runs.

    Starlette alone, of which FastAPI is made: there is no body to validate, and it is there sooner.

    Args:
        sources: the runs.
        renderer: of pages.
        asker: of the task forces; None where no engine may be loaded.
    """
    runs = {source.name: source for source in sources}

    def home(request: Request) -> Response:
        if len(sources) == 1 and "format" not in request.query_params:
            return RedirectResponse(sources[0].base, 303)
        states = [_state_of(source) for source in sources]
        if request.query_params.get("format") == "json":
            rows = [
                {"run": source.name, "state": state, "folder": str(source.folder.path)}
                for source, state in zip(sources, states, strict=True)
            ]
            return _json({"runs": rows})
        return HTMLResponse(renderer.home(sources, states))

    def version(request: Request) -> Response:
        return PlainTextResponse(_run_of(request, runs).version())

    def page(request: Request) -> Response:
        return _answer(_run_of(request, runs), request, renderer)

    routes = [
        Route("/", home),
        Mount("/static", StaticFiles(directory=STATIC)),
        Route("/runs/{run}/version", version),
        *([] if asker is None else [_asking_route(runs, renderer, asker)]),
        Route("/runs/{run}/", page),
        Route("/runs/{run}/{page}", page),
        Route("/runs/{run}/{page}/{rest:path}", page),
    ]
    return Starlette(routes=routes, exception_handlers=_error_pages())


def _asking_route(runs: Mapping[str, Source], renderer: Renderer, asker: Asker) -> Route:
    async def ask(request: Request) -> Response:
        source = _run_of(request, runs)
        if request.method != "POST":
            return HTMLResponse(renderer.page(source, asking_page({}), "ask", "", {}, None))
        sent = parse_qsl((await request.body()).decode("utf-8", "replace"))
        # Browsers end the lines of a form by CRLF, which no question of a run does.
        query = {name: value.replace("\r\n", "\n") for name, value in sent}
        reply = await asker.ask(source, *asked_in(query))
        page = asking_page(query, reply)
        return HTMLResponse(renderer.page(source, page, "ask", "", {}, None))

    return Route("/runs/{run}/ask", ask, methods=["GET", "POST"])


def _answer(source: Source, request: Request, renderer: Renderer) -> Response:
    query = dict(request.query_params)
    name, rest = request.path_params.get("page", ""), request.path_params.get("rest", "")
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
            raise RequestError(f"unknown format {other!r}; there are json and csv")


def _json(value: dict[str, Any], status: int = 200) -> Response:
    """JSON in ASCII, so that no terminal obeys it and lone surrogates do no harm."""
    text = escaped_in_json(json.dumps(value, indent=1))
    return Response(text, status, media_type="application/json")


def _csv(page: Page, name: str) -> Response:
    table = page.table(name)
    if table is None:
        names = ", ".join(table.name for table in page.tables())
        raise NotFoundError(f"the page has no table {name!r}; it has {names}")
    headers = {"Content-Disposition": f'attachment; filename="{table.name}.csv"'}
    return Response(as_csv(table), media_type="text/csv; charset=utf-8", headers=headers)


def _state_of(source: Source) -> str:
    """How far a run is; of one that cannot be read, why not."""
    try:
        with source.open() as run:
            return in_short(run)
    except AcdcError as error:
        return f"cannot be read: {error}"


def _run_of(request: Request, runs: Mapping[str, Source]) -> Source:
    name = request.path_params["run"]
    if name not in runs:
        raise NotFoundError(f"there is no run {name}")
    return runs[name]


def _error_pages() -> dict[Any, Callable[[Request, Any], Response]]:
    """Every error is a page that says what is wrong; that of a form leads back to it."""

    def page(request: Request, title: str, message: str, status: int) -> Response:
        # A form that was sent is found again where it was.
        back = request.url.path if request.method == "POST" else ""
        if request.query_params.get("format") == "json":
            return _json({"error": message}, status)
        return HTMLResponse(error_page(title, message, back), status)

    def unknown(request: Request, error: NotFoundError) -> Response:
        return page(request, "Not found", str(error), 404)

    def wrong(request: Request, error: RequestError | PromptTooLongError) -> Response:
        return page(request, "Bad request", str(error), 400)

    def failed(request: Request, error: AcdcError) -> Response:
        asked = request.method == "POST"
        title = "The question cannot be answered" if asked else "The run cannot be read"
        return page(request, title, str(error), 500)

    def unrouted(request: Request, error: HTTPException) -> Response:
        return page(request, str(error.detail), request.url.path, error.status_code)

    def faulty(request: Request, error: Exception) -> Response:
        # Starlette raises it again afterwards, for the log.
        message = "This is a bug in AC/DC, or the run is damaged; the terminal says more."
        return page(request, "Internal error", message, 500)

    return {
        NotFoundError: unknown,
        RequestError: wrong,
        PromptTooLongError: wrong,
        AcdcError: failed,
        HTTPException: unrouted,
        Exception: faulty,
    }
