"""Who may look: hosts, a token beyond the loopback, the browser's own rules for every reply."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.serving.address import host_of, is_loopback
from console.view.render import error_page

COOKIE = "acdc_view"
PARAMETER = "token"
LARGEST_BODY = 64 * 1024

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""No script but our own, nothing from elsewhere, in nobody's frame, and no address that leaks.

Under `no-referrer` a browser would name no origin when our own form is sent either.
"""


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
            return _refused(403, "Call the viewer as 127.0.0.1 or localhost.")
        if self.token is not None and (answer := self._check_token(scope, headers)) is not None:
            return answer
        if scope["method"] == "POST":
            return _check_post(scope, headers)
        if scope["method"] not in ("GET", "HEAD"):
            return _refused(405, "The viewer only reads.")
        return None

    def _check_token(self, scope: Scope, headers: Headers) -> Response | None:
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if self._is_token(dict(query).get(PARAMETER, "")):
            # Out of the address: it would stay in the history, and be shared with it.
            rest = urlencode([(name, value) for name, value in query if name != PARAMETER])
            answer = RedirectResponse(_here(scope) + (f"?{rest}" if rest else ""), 303)
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
        return _refused(401, "Wrong or missing token: open the address that `acdc view` printed.")

    def _is_token(self, given: str) -> bool:
        assert self.token is not None
        return hmac.compare_digest(given.encode(), self.token.encode())


def _here(scope: Scope) -> str:
    """The path that was asked for, on this host: `//name/` would lead to another."""
    return "/" + quote(scope["path"].lstrip("/"), errors="replace")


def _cookie_of(headers: Headers) -> str:
    """Cookies are shared by all ports of a host, so each viewer has a name of its own."""
    port = headers.get("host", "").rpartition(":")[2]
    return f"{COOKIE}_{port}" if port.isdecimal() else COOKIE


def _refused(status: int, message: str, back: str = "") -> Response:
    """A page that says why, and leads back to where one came from."""
    return HTMLResponse(error_page(HTTPStatus(status).phrase, message, back), status)


def _check_post(scope: Scope, headers: Headers) -> Response | None:
    """Only our own pages may ask: no other page can make a visitor's browser do it."""
    back = _here(scope)
    if not _is_ours(headers):
        return _refused(403, "Only a page of the viewer may ask.", back)
    length = headers.get("content-length", "")
    if not length.isdecimal() or int(length) > LARGEST_BODY:
        return _refused(413, f"A question has at most {LARGEST_BODY:,} bytes.", back)
    return None


def _is_ours(headers: Headers) -> bool:
    """Whether a form was sent by a page of this server.

    Browsers say it in `Sec-Fetch-Site`, which no page can forge, where they trust the address:
    HTTPS, or the loopback. Elsewhere, and in older ones, there is the origin alone. One that is
    hidden (`null`) proves nothing by itself.
    """
    origin, site = headers.get("origin", "null"), headers.get("sec-fetch-site")
    own = urlsplit(origin).netloc == headers.get("host", "")
    return own if site is None else site == "same-origin" and (own or origin == "null")
