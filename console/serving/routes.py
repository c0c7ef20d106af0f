"""The application: OpenAI's paths over the models of a run."""

from __future__ import annotations

import time
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from agents.context import ReadContext
from agents.task_force.collective import Collective, Manner
from agents.task_force.roster import Roster
from console.serving.choices import (
    ServedQuestion,
    Work,
    question_of_chat,
    questions_of_prompts,
)
from console.serving.exchange import RUN_HEADER
from console.serving.failures import UNSUPPORTED, HttpRefusal, invalid, of_error, of_validation
from console.serving.meters import Meters
from console.serving.observed import exchange_of
from console.serving.protocol import (
    AnswerRequest,
    ChatRequest,
    ChoicesRequest,
    CompletionRequest,
)
from console.serving.queue import Seats
from console.serving.replies import Form, ReplyForm
from console.serving.responses import ResponsesForm, ResponsesRequest
from console.serving.streams import as_object, as_stream
from memory.errors import AcdcError


def build_app(
    context: ReadContext, roster: Roster, seats: Seats, usual: Manner, run: str, meters: Meters
) -> FastAPI:
    """The server's application, not yet guarded.

    Args:
        context: the run.
        roster: who answers under which name.
        seats: requests under way, for /health.
        usual: how it is answered where a request does not say it.
        run: its id, which every answer carries.
        meters: for /metrics.
    """
    # No pages of documentation: they would load scripts from elsewhere.
    app = FastAPI(title="AC/DC", docs_url=None, redoc_url=None, openapi_url=None)
    _answer_errors(app)
    since = int(time.time())
    constrains = context.config.engine.kind == "vllm"

    @app.api_route("/health", methods=_READING)
    async def health() -> JSONResponse:
        state = "draining" if seats.draining else "ok"
        # Whoever balances load must see that nothing is accepted any more.
        status = 503 if seats.draining else 200
        return JSONResponse({"status": state, "waiting": seats.taken}, status)

    @app.api_route("/metrics", methods=_READING)
    async def metrics(request: Request) -> Response:
        page, content_type = meters.page(request.headers.get("accept", ""))
        return Response(page, headers={"Content-Type": content_type})

    @app.api_route("/v1/models", methods=_READING)
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(roster, name, since) for name in roster.models]}

    @app.api_route("/v1/models/{name}", methods=_READING)
    async def model(name: str) -> dict[str, Any]:
        roster.named(name)
        return _model(roster, name, since)

    @app.post("/v1/chat/completions")
    async def chat(request: Request, body: ChatRequest) -> Response:
        model = roster.named(body.model)
        asked = [question_of_chat(context, body.messages)]
        return await reply(request, model, asked, body, _form("chat", body))

    @app.post("/v1/completions")
    async def completions(request: Request, body: CompletionRequest) -> Response:
        model = roster.named(body.model)
        asked = await questions_of_prompts(context, body)
        return await reply(request, model, asked, body, _form("text", body))

    @app.post("/v1/responses")
    async def responses(request: Request, body: ResponsesRequest) -> Response:
        model = roster.named(body.model)
        asked = [question_of_chat(context, body.turns)]
        return await reply(request, model, asked, body, ResponsesForm(body))

    async def reply(
        request: Request,
        model: Collective,
        asked: list[ServedQuestion],
        body: AnswerRequest,
        form: Form,
    ) -> Response:
        if body.json_schema is not None and not constrains:
            raise invalid(
                f"{body.format_field} is not supported: the engine of this run does not constrain "
                "what it says; that of a run with engine.kind = vllm does",
                body.format_field,
                UNSUPPORTED,
            )
        exchange = exchange_of(request)
        exchange.model, exchange.questions = body.model, [question.text for question in asked]
        work = Work(model, asked, body, usual, exchange.answers.append)
        send = as_stream if body.stream else as_object
        response = await send(request, work, form)
        response.headers[RUN_HEADER] = run
        return response

    return app


_READING = ["GET", "HEAD"]


def _form(kind: Literal["chat", "text"], body: ChoicesRequest) -> ReplyForm:
    options = body.stream_options
    return ReplyForm(
        kind,
        body.model,
        body.copies,
        body.acdc.details,
        body.spelled,
        usage=options is not None and options.include_usage,
    )


def _model(roster: Roster, name: str, since: int) -> dict[str, Any]:
    model = roster.models[name]
    return {
        "id": name,
        "object": "model",
        "created": since,
        "owned_by": "acdc",
        "acdc": {
            "method": model.method.name if len(model.members) > 1 else None,
            "experts": [member.expert.id for member in model.members],
            "temperatures": [member.temperature for member in model.members],
        },
    }


def _answer_errors(app: FastAPI) -> None:
    """Every error leaves in OpenAI's form."""

    @app.exception_handler(HttpRefusal)
    async def refused(request: Request, error: HttpRefusal) -> Response:
        return error.response()

    @app.exception_handler(AcdcError)
    async def failed(request: Request, error: AcdcError) -> Response:
        return of_error(error).response()

    @app.exception_handler(RequestValidationError)
    async def misread(request: Request, error: RequestValidationError) -> Response:
        return of_validation(error.errors(), error.body).response()

    @app.exception_handler(HTTPException)
    async def unrouted(request: Request, error: HTTPException) -> Response:
        if error.status_code == 400:
            # What is no JSON for other reasons than its grammar: bytes, depth, endless numbers.
            return invalid("the body is not readable JSON", code="invalid_json").response()
        message = f"{request.method} {request.url.path}: {error.detail}"
        headers = error.headers or {}
        return HttpRefusal(
            error.status_code, message, code="unknown_url", headers=headers
        ).response()

    @app.exception_handler(Exception)
    async def faulty(request: Request, error: Exception) -> Response:
        # Starlette raises it again afterwards, for the log.
        message = "internal error; the server's log says more"
        return HttpRefusal(500, message, kind="server_error", code="internal_error").response()
