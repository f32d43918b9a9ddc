"""Who may call: `Authorization: Token …`, on every route but health and the API's own description."""

from __future__ import annotations

import time
from typing import Annotated

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import Depends, HTTPException, Request
from fastapi.security import APIKeyHeader

from footprint.store import Store
from footprint.store.tokens import digest_of, valid_digests

REMEMBERED_SECONDS = 5.0
"""How long a revoked or expired token may still be taken."""

scheme = APIKeyHeader(
    name="Authorization", description="The word `Token`, a space, and what `pulsar token` prints.", auto_error=False
)


class Keys:
    """The hashes of the valid tokens, read from the store every few seconds."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._digests: frozenset[str] = frozenset()
        self._read_at = float("-inf")
        self._limiter = CapacityLimiter(1)  # its own thread: those that write may all be waiting

    async def admit(self, header: str | None) -> bool:
        """Whether the header carries a valid token. What is compared is a hash, so time tells nothing of the token."""
        word, _, token = (header or "").partition(" ")
        if word != "Token" or not token:
            return False
        if time.monotonic() - self._read_at > REMEMBERED_SECONDS:
            self._digests = await anyio.to_thread.run_sync(self._read, limiter=self._limiter)
            self._read_at = time.monotonic()
        return digest_of(token) in self._digests

    def _read(self) -> frozenset[str]:
        with self._store.read() as session:
            return valid_digests(session)


async def authorized(request: Request, header: Annotated[str | None, Depends(scheme)]) -> None:
    """Refuse a caller without a valid token (401)."""
    keys: Keys = request.app.state.keys
    if not await keys.admit(header):
        raise HTTPException(
            401,
            "a valid token is needed: `Authorization: Token …`, with what `pulsar token` prints",
            headers={"WWW-Authenticate": "Token"},
        )
