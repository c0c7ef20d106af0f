"""Who may look: hosts, a token beyond the loopback, the browser's own rules for every reply."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.serving.address import host_of, is_loopback

COOKIE = "acdc_view"
PARAMETER = "token"
LARGEST_BODY = 64 * 1024

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""No script but our own, nothing from elsewhere, in nobody's frame, and no address that leaks."""


@dataclass(frozen=True)
class ViewGuard:
    """ASGI middleware in front of the viewer.

    Attributes:
        token: that a browser brings once in the URL, and then in a cookie; None for none. Without
            one only who calls the server by a name of the loopback gets in, so that a web page
            whose name was made to point here does not.
    """

    app: ASGIApp
    token: str | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if not scope["path"].startswith("/static/"):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await (refusal or self.app)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if self.token is None and not is_loopback(host_of(headers.get("host", ""))):
            return PlainTextResponse("call the viewer as 127.0.0.1 or localhost\n", 403)
        if self.token is not None and (answer := self._check_token(scope, headers)) is not None:
            return answer
        if scope["method"] == "POST":
            return _check_post(headers)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("the viewer only reads\n", 405)
        return None

    def _check_token(self, scope: Scope, headers: Headers) -> Response | None:
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if self._is_token(dict(query).get(PARAMETER, "")):
            # Out of the address: it would stay in the history, and be shared with it.
            rest = urlencode([(name, value) for name, value in query if name != PARAMETER])
            answer = RedirectResponse(scope["path"] + (f"?{rest}" if rest else ""), 303)
            assert self.token is not None
            answer.set_cookie(
                _cookie_of(headers), self.token, httponly=True, samesite="strict", path="/"
            )
            return answer
        scheme, _, given = headers.get("authorization", "").partition(" ")
        brought = [given.strip()] if scheme.lower() == "bearer" else []
        brought.append(cookie_parser(headers.get("cookie", "")).get(_cookie_of(headers), ""))
        if any(self._is_token(each) for each in brought):
            return None
        return PlainTextResponse(
            "wrong or missing token: open the address that `acdc view` printed\n", 401
        )

    def _is_token(self, given: str) -> bool:
        assert self.token is not None
        return hmac.compare_digest(given.encode(), self.token.encode())


def _cookie_of(headers: Headers) -> str:
    """Cookies are shared by all ports of a host, so each viewer has a name of its own."""
    port = headers.get("host", "").rpartition(":")[2]
    return f"{COOKIE}_{port}" if port.isdecimal() else COOKIE


def _check_post(headers: Headers) -> Response | None:
    """Only our own pages may ask: no other page can make a visitor's browser do it."""
    origin = urlsplit(headers.get("origin", ""))
    if origin.netloc != headers.get("host", ""):
        return PlainTextResponse("only a page of the viewer may ask\n", 403)
    length = headers.get("content-length", "")
    if not length.isdecimal() or int(length) > LARGEST_BODY:
        return PlainTextResponse(f"a question has at most {LARGEST_BODY} bytes\n", 413)
    return None
