"""What the API refused, in the API's own words: its answers as errors of this side."""

from __future__ import annotations

import httpx
from pydantic import TypeAdapter

from footprint.errors import Conflict, FaultyRequest, NotFound, PulsarError, RequestError, TransientError, sentence_of
from footprint.faults import Fault

FAULTS = TypeAdapter(list[Fault])


def refusal(response: httpx.Response) -> PulsarError:
    """The error that an answer other than a success stands for."""
    status = response.status_code
    if status == httpx.codes.UNAUTHORIZED:
        return RequestError(
            "the API does not accept this token",
            hint="`pulsar token` prints this home's; PULSAR_API_TOKEN, where set, is used instead",
        )
    detail, hint = _words_of(response)
    if status in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE):
        return TransientError(detail or f"the API is not ready (status {status})", hint=hint)
    if status >= httpx.codes.INTERNAL_SERVER_ERROR or status < httpx.codes.BAD_REQUEST:
        return PulsarError(f"the API failed (status {status})", hint="its log says why")
    if faults := _faults_of(response):
        return FaultyRequest(detail or sentence_of(faults), hint=hint, faults=faults)
    kinds: dict[int, type[RequestError]] = {404: NotFound, 409: Conflict}
    return kinds.get(status, RequestError)(detail or f"the API refused this (status {status})", hint=hint)


def _words_of(response: httpx.Response) -> tuple[str, str]:
    try:
        body = response.json()
    except ValueError:
        return "", ""
    if not isinstance(body, dict):
        return "", ""
    detail, hint = body.get("detail"), body.get("hint")
    return detail if isinstance(detail, str) else "", hint if isinstance(hint, str) else ""


def _faults_of(response: httpx.Response) -> list[Fault]:
    try:
        return FAULTS.validate_python(response.json()["fields"])
    except (ValueError, KeyError, TypeError):
        return []
