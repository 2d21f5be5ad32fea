"""Errors as problem details (RFC 9457): one line that names the value and the valid values.

>>> ProblemError(404, "no meter 3f25…").document["title"]
'Not Found'
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from bridge.store.meter_names import UnknownMeterError
from broker.contract.errors import (
    ConfigurationError,
    ContractError,
    Meter61850Error,
    NotAuthorizedError,
    UnavailableError,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class ProblemError(Meter61850Error):
    """An answer that is an error; ``more`` are further members of the document."""

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})
        self.document = {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
            **more,
        }

    def response(self, root: str = "") -> Response:
        """The answer; its paths are below ``root``, where the client finds them."""
        headers = {"Cache-Control": "no-store", **self.headers}
        document = {**self.document, "detail": _PATHS.sub(rf"\1 {root}/", str(self.document["detail"]))}
        return Response(
            orjson.dumps(document), status_code=self.status, headers=headers, media_type=MEDIA_TYPE
        )


_PATHS = re.compile(r"\b(GET|POST|DELETE) /")
_REDIRECTS = frozenset({303})
# fmt: off
_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (UnknownMeterError, 404),
    (UnavailableError, 503),
    (NotAuthorizedError, 503),
    (ContractError, 422),
    (ConfigurationError, 503),
)
# fmt: on


def as_problem(error: Exception) -> ProblemError:
    """``error`` as the problem for a client."""
    match error:
        case ProblemError():
            return error
        case RequestValidationError():
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            return ProblemError(422, f"{where}: {first['msg']}"[:500])
        case HTTPException():
            return ProblemError(error.status_code, str(error.detail), headers=error.headers)
        case OSError() if not isinstance(error, Meter61850Error):  # no free file descriptor, a full disk
            log.error("%s", error)
            return ProblemError(
                503, f"the system refuses it now: {error.strerror}", headers={"Retry-After": "2"}
            )
        case SQLAlchemyError():
            return ProblemError(503, "the database does not answer", headers={"Retry-After": "2"})
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    return ProblemError(status, str(error)[:500], headers={"Retry-After": "2"} if status == 503 else None)


def install(app: FastAPI, *, page: Callable[[Request, ProblemError], Response]) -> None:
    """Answer every expected error with problem details; an unexpected one too, without telling its text.

    ``page`` makes what a browser shows instead.
    """

    def told(request: Request, problem: ProblemError) -> Response:
        if problem.status in _REDIRECTS:
            return Response(status_code=problem.status, headers=problem.headers)
        html = "text/html" in request.headers.get("accept", "")
        return page(request, problem) if html else problem.response(request.scope.get("root_path", ""))

    async def expected(request: Request, error: Exception) -> Response:
        return told(request, as_problem(error))

    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
        return told(request, ProblemError(500, "a fault of ours: it is in the log of `meter61850 web run`"))

    for kind in (Meter61850Error, RequestValidationError, HTTPException, OSError, SQLAlchemyError):
        app.add_exception_handler(kind, expected)
    app.add_exception_handler(Exception, unexpected)
