"""The application: routes, errors, and the headers of every answer.

>>> app = make_app(parts)  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.contract.errors import Meter61850Error
from broker.version import VERSION
from web.acsi import Acsi
from web.api import (
    acsi,
    alarms,
    audit,
    blocks,
    commands,
    credit,
    dead_letters,
    every_meter,
    losses,
    meters,
    operations,
    periods,
    profiles,
    readings,
    registers,
    scl,
    settings,
    stream,
    supply,
    tariffs,
    totals,
    users,
)
from web.auth.guard import caller_of
from web.legacy_http import routes
from web.legacy_http.meters import ThesisMeters
from web.pages import administration, login, meter_data, pages
from web.pages.views import Views
from web.parts import Parts
from web.serving import problem
from web.serving.problem import ProblemError, as_problem
from web.serving.proxy import Proxies

API = "/api/v1"
DIFF, STREAM = f"{API}/scl/diff", f"{API}/stream"
METHODS = ("GET", "POST", "DELETE")
"""That routes have; what can be fetched has HEAD, too, but the stream, whose answer has no end."""
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
LARGEST_SCL = 64 * 1024 * 1024
"""Octets of a file to compare, for a known account: above the largest that the broker accepts."""
UPLOAD_SECONDS = 120.0
"""For such a file; a client that vanished keeps its place no longer."""
LARGEST_BODY = 64 * 1024
"""Octets of anything else; some hundred are usual."""
BODY_SECONDS = 20.0
"""For anything else."""
# fmt: off
_HEADERS = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
_HSTS = (b"strict-transport-security", b"max-age=31536000")
# fmt: on

_API = (
    meters,
    readings,
    every_meter,
    profiles,
    credit,
    supply,
    losses,
    registers,
    periods,
    tariffs,
    totals,
    scl,
    commands,
    alarms,
    stream,
    operations,
    dead_letters,
    blocks,
    audit,
    users,
    settings,
)
_DESCRIPTION = """\
Meters, readings, SCL and relay commands over HTTP. Every request needs a session of the page or
`Authorization: Bearer TOKEN` (`meter61850 web user add NAME --role ROLE --token`). Errors are problem
details (RFC 9457). Times are UTC; readings name their units.
"""


def make_app(parts: Parts, thesis: ThesisMeters | None = None) -> ASGIApp:
    """The ASGI application; the routes of the thesis only with ``thesis``."""
    app = FastAPI(
        title="meter61850",
        version=VERSION,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
    )
    app.state.parts = parts
    app.state.views = Views(root=parts.settings.root_path)
    app.state.acsi = Acsi(parts.live)
    app.state.snapshot = meters.Snapshot()
    app.state.totals = totals.Totals()
    app.state.snapshot_lock = asyncio.Lock()
    problem.install(app, page=pages.error_page)
    for module in _API:
        app.include_router(module.router, prefix=API)
    app.include_router(acsi.router)
    if thesis is not None:
        app.state.thesis = thesis
        app.include_router(routes.router)
    app.include_router(login.router)
    app.include_router(pages.router)
    app.include_router(meter_data.router)
    app.include_router(administration.router)
    return Front(app, parts)


class Front:
    """In front of all routes: host name, size of the body, HEAD, the headers of every answer."""

    def __init__(self, app: FastAPI, parts: Parts) -> None:
        self._app = app
        self._names = parts.settings.allowed_names
        self._root = parts.settings.root_path
        self._proxies = Proxies(parts.settings.believed)
        self._turns = parts.budgets.requests
        self._headers = [*_HEADERS, *([_HSTS] if parts.settings.secure else [])]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        scope = self._placed(self._proxies.seen(scope))
        path = scope["path"].removeprefix(self._root)
        head = scope["method"] == "HEAD" and path != STREAM
        asked = {**scope, "method": "GET"} if head else scope

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [one for one in message["headers"] if one[0] != b"allow"]
                allowed = [(b"allow", self._allowed(scope))] if message["status"] == 405 else []
                message["headers"] = [*kept, *allowed, *self._headers]
            elif head:
                message["body"] = b""
            await send(message)

        try:
            caller = None if path.startswith("/static/") else caller_of(Request({**scope, "app": self._app}))
            large = caller is not None and path == DIFF  # no large body without a login
            limit, seconds = (LARGEST_SCL, UPLOAD_SECONDS) if large else (LARGEST_BODY, BODY_SECONDS)
            self._check(dict(scope["headers"]), limit)
            counted = caller is not None and path != STREAM  # streams have a budget of their own
            async with self._turns.turn(caller.name) if caller and counted else nullcontext():
                await self._app(asked, _limited(receive, limit, seconds), answered)
        except Meter61850Error as refusal:  # ours alone: the application answers its own
            await as_problem(refusal).response(self._root)(scope, receive, answered)

    def _placed(self, scope: Scope) -> Scope:
        """Below our root path, whether the proxy cuts it off or leaves it: our routes decide."""
        root, path = self._root, scope["path"]
        if not root:
            return scope
        inner = path.removeprefix(root) or "/" if path == root or path.startswith(f"{root}/") else None
        if inner is None or (self._leads(scope, path) and (path == root or not self._leads(scope, inner))):
            inner = path
        return {**scope, "root_path": root, "path": root + inner}

    def _leads(self, scope: Scope, path: str) -> bool:
        """Whether a route of ours has this path, which is without the root."""
        asked = {**scope, "path": path, "root_path": ""}
        return any(route.matches(asked)[0] is not Match.NONE for route in self._app.routes)

    def _allowed(self, scope: Scope) -> bytes:
        """The methods of all routes of a path: the application names those of the first one."""
        found = [method for method in METHODS if self._has({**scope, "method": method})]
        if "GET" in found and scope["path"].removeprefix(self._root) != STREAM:
            found.insert(1, "HEAD")
        return ", ".join(found).encode()

    def _has(self, scope: Scope) -> bool:
        return any(route.matches(scope)[0] is Match.FULL for route in self._app.routes)

    def _check(self, headers: dict[bytes, bytes], limit: int) -> None:
        """ProblemError for a request that the application need not see."""
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if self._names is not None and name not in self._names:
            raise ProblemError(400, f"we are not called {name[:80]!r}: METER61850_WEB_NAMES lists our names")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > limit:
            raise ProblemError(413, f"{int(length)} octets: at most {limit}")


def _limited(receive: Receive, limit: int, seconds: float) -> Receive:
    """``receive`` that ends a body without a length at the limit, and one not whole in ``seconds``."""
    taken, whole = 0, False
    ends = asyncio.get_running_loop().time() + seconds

    async def limited() -> Message:
        nonlocal taken, whole
        try:
            async with asyncio.timeout_at(None if whole else ends):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, f"the body did not come within {seconds:g} s") from None
        whole = not message.get("more_body", False)
        taken += len(message.get("body", b""))
        if taken > limit:
            raise HTTPException(413, f"more than {limit} octets")  # FastAPI makes a 400 of any other
        return message

    return limited
