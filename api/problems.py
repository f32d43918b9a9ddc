"""How errors are answered: `{"error": code, "detail": sentence, "hint": sentence, "fields": [...]}`.

Never what the caller sent. `fields` names each field that is at fault, where it is a field's doing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException

from footprint.errors import (
    Conflict,
    FaultyRequest,
    InstallationError,
    NotAuthorized,
    NotFound,
    PulsarError,
    TransientError,
    sentence_of,
)
from footprint.faults import Fault, faults_of

log = logging.getLogger("pulsar.api")

STATUS_OF: tuple[tuple[type[PulsarError], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (NotAuthorized, 403),
    (TransientError, 503),
    (InstallationError, 503),
    (PulsarError, 422),
)
CODE_OF_STATUS = {400: "invalid_request", 401: "unauthorized", 404: "not_found", 405: "method_not_allowed"}
MOST_FIELDS = 50
"""Faults that an answer lists; its sentence says how many more there are."""


def problem(
    status: int,
    code: str,
    detail: str,
    hint: str = "",
    headers: dict[str, str] | None = None,
    faults: Sequence[Fault] = (),
) -> JSONResponse:
    """The body of every error."""
    fields = [{"field": fault.field, "problem": fault.problem} for fault in faults[:MOST_FIELDS]]
    body = {"error": code, "detail": detail} | ({"hint": hint} if hint else {}) | ({"fields": fields} if fields else {})
    return JSONResponse(body, status_code=status, headers=headers)


def install(app: FastAPI) -> None:
    """Answer every kind of error in this one way."""
    app.add_exception_handler(PulsarError, _pulsar_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(DataError, _unstorable)
    app.add_exception_handler(Exception, _defect)


async def _pulsar_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PulsarError)
    status = next(status for kind, status in STATUS_OF if isinstance(error, kind))
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, TransientError) else None
    faults = error.faults if isinstance(error, FaultyRequest) else ()
    return problem(status, error.code, error.detail, error.hint, headers, faults)


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = faults_of(error.errors())
    return problem(422, "invalid_request", sentence_of(faults), faults=faults)


async def _unstorable(request: Request, error: Exception) -> JSONResponse:
    # Text that the database does not take (a NUL, a value too long) and no schema refused.
    return problem(422, "invalid_request", "the request holds text that cannot be stored or looked for")


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = CODE_OF_STATUS.get(error.status_code, "http_error")
    headers = dict(error.headers) if error.headers else None
    return problem(error.status_code, code, str(error.detail), headers=headers)


async def _defect(request: Request, error: Exception) -> JSONResponse:
    log.error("a defect in Pulsar, at %s", request.url.path, exc_info=error)
    return problem(500, "defect", "a defect in Pulsar: its log says more")
