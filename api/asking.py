"""How a request becomes a running scan: the row first, then its Prefect run, and neither without the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar
from uuid import UUID

import anyio.to_thread
from anyio import CapacityLimiter
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api.prefect import PrefectGateway
from api.schemas import ScanOut, ScanRequest
from footprint.admission import NewScan, admit, digest_of
from footprint.errors import PrefectUnavailable
from footprint.policy import INLINE, ScanPolicy
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.assets import scope_for
from footprint.store.scans import attach, insert_scan, scan_of_key, withdraw
from footprint.store.tables import Scan
from footprint.target import parse_target
from tasks.authorization import require_authorization
from tasks.policies import policy_of, refuse_borrowed_name, usable_policy

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
        scan_id, name, known = await self._write(lambda session: self._write_down(session, asked, policy, key))
        if known:
            return known
        try:
            task_id = await self._prefect.start(scan_id, name)
        except PrefectUnavailable:
            # Its answer may have been lost and not the run: then a worker may have taken the scan up already.
            if begun := await self._write(lambda session: _withdrawn(session, scan_id)):
                return begun
            raise
        return await self._write(lambda session: _attached(session, scan_id, task_id))

    def _write_down(
        self, session: Session, asked: ScanRequest, policy: str | ScanPolicy, key: str | None
    ) -> tuple[UUID, str, ScanOut | None]:
        """The scan's id and a name for its run; and the scan itself where it has a run already."""
        # A key that is known leads to its scan, whatever became since of the policy that it names.
        scan = scan_of_key(session, key, digest_of(parse_target(asked.target), policy, asked.comment)) if key else None
        if scan is None:
            new = self._admitted(session, asked, policy, key)
            scan, _ = insert_scan(session, new)
            require_authorization(session, self._settings, new)
        return scan.id, f"{scan.target} {scan.policy_name}", ScanOut.of(scan) if scan.task_id else None

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

    async def _write(self, change: Callable[[Session], T]) -> T:
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


def _withdrawn(session: Session, scan_id: UUID) -> ScanOut | None:
    withdraw(session, scan_id)
    left = session.get(Scan, scan_id)
    return ScanOut.of(left) if left else None


def _attached(session: Session, scan_id: UUID, task_id: UUID) -> ScanOut:
    if not attach(session, scan_id, task_id):
        raise PrefectUnavailable("the same request failed at the same time", hint="ask again")
    return ScanOut.of(session.get_one(Scan, scan_id, populate_existing=True))
