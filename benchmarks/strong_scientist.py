"""A strong model that plays scientist and critic, from a script: families that were written before.

It speaks chat completions on a port of its own, as an endpoint of a run does. For each assignment
it gives a family of the field that is named, and after a refusal another form of it, or the next
family of the field. As a critic it states what can be seen cheaply and accepts the rest. What it
reads are the labelled blocks of the prompts, as a model would.
"""

from __future__ import annotations

import json
import re
import threading
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from agents.families.proposal import Proposal
from agents.offline import prompt_blocks

FAMILIES = Path(__file__).parent / "strong"
MODEL = "strong"
MOST_WORDS = 60
"""Of an instruction, as the critic's prompt says."""
_FORM = re.compile(r"\b(?:give|reply|answer|return)\b", re.IGNORECASE)
"""A request for a form of the answer."""
_TOKEN = re.compile(r"\w+|[^\w\s]")

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Written:
    """A family of the script.

    Attributes:
        proposal: as the scientist sends it.
        field: that it belongs to.
        instead_of: the name of the family that it replaces after a refusal; "" for one that is
            proposed.
    """

    proposal: Proposal
    field: str
    instead_of: str = ""

    @classmethod
    def read(cls, file: Path) -> Written:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        field, instead_of = content.pop("field"), content.pop("instead_of", "")
        return cls(Proposal.model_validate(content), field, instead_of)


def written_families() -> list[Written]:
    """The script, in order of the files' names."""
    return [Written.read(file) for file in sorted(FAMILIES.glob("*.toml"))]


class StrongScientist:
    """Replies to the prompts of scientists and critics; the same round gets the same reply.

    Args:
        families: of the script.
    """

    def __init__(self, families: Sequence[Written]) -> None:
        self._left = list(families)
        self._given: dict[tuple[str, int], Written] = {}
        self._guard = threading.Lock()

    def reply(self, messages: Sequence[Mapping[str, str]]) -> str:
        """What it says in a conversation; "ok" where it has no part."""
        asked = [message["content"] for message in messages if message["role"] == "user"]
        shown = prompt_blocks.blocks(asked[0]) if asked else {}
        if prompt_blocks.DRAFT in shown:
            return json.dumps(criticised(shown))
        if prompt_blocks.CANDIDATE in shown:
            return json.dumps(compared(shown))
        if prompt_blocks.ASSIGNMENT in shown:
            said = [message["content"] for message in messages if message["role"] == "assistant"]
            with self._guard:
                family = self._family(shown[prompt_blocks.ASSIGNMENT], said)
            return family.proposal.model_dump_json(by_alias=True)
        return "ok"

    def _family(self, assignment: Mapping[str, Any], said: Sequence[str]) -> Written:
        """The family of a round, which is counted by what was said before."""
        name = str(assignment["id"])
        if (name, len(said)) not in self._given:
            last = self._given[name, len(said) - 1] if said else None
            field = str(assignment.get("field", ""))
            self._given[name, len(said)] = self._changed(last) if last else self._new(field)
        return self._given[name, len(said)]

    def _new(self, field: str) -> Written:
        """An unused family of the field, else any.

        Raises:
            LookupError: the script is at its end.
        """
        fresh = [family for family in self._left if not family.instead_of]
        of_field = [family for family in fresh if family.field == field]
        return self._taken([*of_field, *fresh])

    def _changed(self, last: Written) -> Written:
        """What follows a refusal: another form of the last family, or another one of its field.

        Where the script has none, the last one is sent again: it knows no better.
        """
        forms = [f for f in self._left if f.instead_of == last.proposal.name]
        of_field = [f for f in self._left if not f.instead_of and f.field == last.field]
        return self._taken([*forms, *of_field]) if forms or of_field else last

    def _taken(self, choices: Sequence[Written]) -> Written:
        if not choices:
            raise LookupError("the script has no family left")
        self._left.remove(choices[0])
        return choices[0]


def criticised(shown: Mapping[str, Any]) -> dict[str, Any]:
    """The critic's reply: too long, no form of answer named, or accepted."""
    problems = []
    for instance, text in sorted(shown[prompt_blocks.GATES].get("instructions", {}).items()):
        words = len(text.split())
        if words > MOST_WORDS:
            problems.append(f"Too long: instance {instance} has {words} words of instruction.")
        if not _FORM.search(text):
            problems.append(f"Ambiguous form: instance {instance} names no form of the answer.")
    return {"verdict": "refine" if problems else "accept", "problems": problems}


def compared(shown: Mapping[str, Any]) -> dict[str, Any]:
    """The reply on novelty: new where no neighbour tests the same capability."""
    capability = shown[prompt_blocks.CANDIDATE]["capability"]
    known = [
        near["name"] for near in shown[prompt_blocks.NEIGHBOURS] if near["capability"] == capability
    ]
    if known:
        return {"decision": "known", "reason": f"{known[0]} tests {capability}, too."}
    return {"decision": "new", "reason": f"No neighbour tests {capability}."}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, scientist: StrongScientist) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scientist = scientist


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._send(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            said = self.server.scientist.reply(body["messages"])
        except LookupError as error:
            self._send(400, {"error": {"message": str(error)}})
        else:
            self._send(200, completion(body["messages"], said))

    def _send(self, status: int, body: Body) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def completion(messages: Sequence[Mapping[str, str]], said: str) -> Body:
    """A reply in the form of chat completions; tokens are words and signs."""
    asked = sum(len(_TOKEN.findall(message["content"])) for message in messages)
    written = len(_TOKEN.findall(said))
    usage = {
        "prompt_tokens": asked,
        "completion_tokens": written,
        "total_tokens": asked + written,
    }
    message = {"role": "assistant", "content": said}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {
        "id": "strong",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [choice],
        "usage": usage,
    }


@contextmanager
def serving(scientist: StrongScientist) -> Iterator[str]:
    """The base URL at which the scientist can be asked meanwhile."""
    server = _Server(scientist)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
