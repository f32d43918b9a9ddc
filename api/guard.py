"""What is refused before any route sees it: too long, too large, or not strict JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem

BODY_BYTES = 64 * 1024
URI_BYTES = 4 * 1024


class SizeGuard:
    """Refuses requests whose address or body is larger than any of ours needs to be."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 414 or 413."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif len(scope["raw_path"]) + len(scope["query_string"]) > URI_BYTES:
            await problem(414, "uri_too_long", f"an address has at most {URI_BYTES} bytes")(scope, receive, send)
        elif _declared(scope) > BODY_BYTES:
            await problem(413, "body_too_large", f"a body has at most {BODY_BYTES} bytes")(scope, receive, send)
        else:
            await self._app(scope, _counted(receive), send)


def _declared(scope: Scope) -> int:
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    if not lengths or not lengths[0].isdigit():
        return 0
    return int(lengths[0]) if len(lengths[0]) < 10 else BODY_BYTES + 1


def _counted(receive: Receive) -> Receive:
    """Count a body that did not say how long it is."""
    taken = 0

    async def counting() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > BODY_BYTES:
            raise HTTPException(413, f"a body has at most {BODY_BYTES} bytes")
        return message

    return counting


class StrictRequest(Request):
    """A request whose JSON must mean the same to every reader (RFC 8259, section 4; RFC 7493)."""

    async def json(self) -> Any:
        """The body as JSON.

        Answers 400 to NaN, numbers that no double holds, doubled keys, lone surrogates and whatever is not UTF-8.
        """
        body = await self.body()
        try:
            value = json.loads(body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
        except (ValueError, RecursionError):
            raise HTTPException(400, "the body is not strict JSON") from None
        return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice")
    return result


def _constant(_name: str) -> Any:
    raise ValueError("not a JSON number")


class StrictRoute(APIRoute):
    """A route that reads its body as strict JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler, given a strict request."""
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return strictly
