"""How a request becomes a running scan: the row first, then its Prefect run, and neither without the other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import anyio.to_thread
from anyio import CapacityLimiter
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api.prefect import PrefectGateway
from api.schemas import ScanOut, ScanRequest
from footprint.admission import NewScan, admit, digest_of, scope_of
from footprint.errors import PrefectUnavailable
from footprint.policy import INLINE, ScanPolicy
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.assets import scope_for
from footprint.store.policies import policy_by_name
from footprint.store.scans import attach, insert_scan, scan_of_key, withdraw
from footprint.store.tables import Scan, now
from footprint.target import parse_target
from footprint.windows import EARLINESS, Closed
from tasks.authorization import require_authorization
from tasks.plan import Preview
from tasks.policies import policy_of, refuse_borrowed_name, usable_policy
from tasks.preview import preview

T = TypeVar("T")
WRITES_AT_ONCE = 8
"""Requests that write; they wait for each other anyway, and must not take the threads of those that read."""


class Desk:
    """Where scans are asked for."""

    def __init__(self, settings: Settings, store: Store, prefect: PrefectGateway) -> None:
        self._settings = settings
        self._store = store
        self._prefect = prefect
        self._limiter = CapacityLimiter(WRITES_AT_ONCE)

    async def ask(self, asked: ScanRequest, key: str | None) -> ScanOut:
        """Write a scan down and have Prefect carry it out; the same key leads to the same scan.

        Raises `InvalidTarget`, `InvalidPolicy`, `TargetRefused`, `NotAuthorized`, `Conflict`, or `PrefectUnavailable`:
        then the request is withdrawn, and a run that Prefect may have made all the same finds no scan and ends.
        """
        policy = await anyio.to_thread.run_sync(_policy_asked, asked, limiter=self._limiter)
        return await self.start(lambda session: self._write_down(session, asked, policy, key))

    async def start(self, write_down: Callable[[Session], Scan], *, withdraws: bool = True) -> ScanOut:
        """Write a scan down, and have Prefect carry it out once its window is open.

        Raises as `ask` does, and what `write_down` raises. Where it `withdraws` not, the scan is left while Prefect is
        away.
        """
        scan_id, name, opens_at, known = await self.write(lambda session: _written(write_down(session)))
        if known:
            return known
        try:
            task_id = await self._prefect.start(scan_id, name, opens_at + EARLINESS if opens_at else None)
        except PrefectUnavailable:
            if not withdraws:
                raise
            # Its answer may have been lost and not the run: then a worker may have taken the scan up already.
            if begun := await self.write(lambda session: _withdrawn(session, scan_id)):
                return begun
            raise
        return await self.write(lambda session: _attached(session, scan_id, task_id))

    async def preview(self, target: str, policy: str | dict[str, Any], *, of: str | None = None) -> Preview:
        """What a scan would do. Raises as `ask` does where it would be refused.

        `of` is the name of a policy that has to be there: raises `NotFound` otherwise.
        """
        asked = ScanRequest(target=target, policy=policy)
        return await anyio.to_thread.run_sync(self._previewed, asked, of, limiter=self._limiter)

    def _previewed(self, asked: ScanRequest, name: str | None) -> Preview:
        policy = _policy_asked(asked)
        with self._store.read() as session:
            if name:
                policy_by_name(session, name)
            new = self._admitted(session, asked, policy, None)
            require_authorization(session, self._settings, new)
        scope = scope_of(self._settings, new.target, new.policy, new.scope)
        return preview(new.target, new.policy, scope, self._settings, self._store)

    def _write_down(self, session: Session, asked: ScanRequest, policy: str | ScanPolicy, key: str | None) -> Scan:
        # A key that is known leads to its scan, whatever became since of the policy that it names.
        digest = digest_of(parse_target(asked.target), policy, asked.comment)
        if key and (scan := scan_of_key(session, key, digest)):
            return scan
        new = self._admitted(session, asked, policy, key)
        scan, _ = insert_scan(session, new)
        require_authorization(session, self._settings, new)
        return scan

    def _admitted(self, session: Session, asked: ScanRequest, policy: str | ScanPolicy, key: str | None) -> NewScan:
        if isinstance(policy, ScanPolicy):
            refuse_borrowed_name(session, policy)
        return admit(
            self._settings,
            target=asked.target,
            policy=policy,
            comment=asked.comment,
            origin="api",
            idempotency_key=key,
            find=partial(usable_policy, session),
            scoped=partial(scope_for, session),
        )

    async def write(self, change: Callable[[Session], T]) -> T:
        """Change the store, in one transaction."""
        return await anyio.to_thread.run_sync(self._commit, change, limiter=self._limiter)

    def _commit(self, change: Callable[[Session], T]) -> T:
        try:
            with self._store.write() as session:
                return change(session)
        except IntegrityError:
            # The same key came twice at once, and the other one was first: now it is there to be found.
            with self._store.write() as session:
                return change(session)


def _policy_asked(asked: ScanRequest) -> str | ScanPolicy:
    """The name of a policy, or the one that came with the request."""
    return asked.policy if isinstance(asked.policy, str) else policy_of(asked.policy, name=INLINE, where="policy")


def _written(scan: Scan) -> tuple[UUID, str, datetime | None, ScanOut | None]:
    """The scan's id, a name for its run, when that may begin; and the scan itself where it has a run already."""
    stands = ScanPolicy.model_validate(scan.policy).standing_at(now())
    opens_at = stands.opens_at if isinstance(stands, Closed) else None
    name = f"{scan.target} {scan.policy_name}"
    return scan.id, name, opens_at, ScanOut.of(scan) if scan.task_id else None


def _withdrawn(session: Session, scan_id: UUID) -> ScanOut | None:
    withdraw(session, scan_id)
    left = session.get(Scan, scan_id)
    return ScanOut.of(left) if left else None


def _attached(session: Session, scan_id: UUID, task_id: UUID) -> ScanOut:
    if not attach(session, scan_id, task_id):
        raise PrefectUnavailable("the same request failed at the same time", hint="ask again")
    return ScanOut.of(session.get_one(Scan, scan_id, populate_existing=True))
