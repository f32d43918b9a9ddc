"""How a request becomes a running scan: the row first, then its Prefect run, and neither without the other."""

from __future__ import annotations

from uuid import UUID

from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import IntegrityError

from api.prefect import PrefectGateway
from api.schemas import ScanOut, ScanRequest
from footprint.admission import NewScan, admit
from footprint.errors import PrefectUnavailable
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.scans import attach, insert_scan, withdraw
from footprint.store.views import scan_by_id


async def ask_for_scan(
    asked: ScanRequest, key: str | None, store: Store, prefect: PrefectGateway, settings: Settings
) -> ScanOut:
    """Write a scan down and have Prefect carry it out; the same key leads to the same scan.

    Raises `InvalidTarget`, `InvalidPolicy`, `TargetRefused`, `Conflict`, or `PrefectUnavailable`: then the request
    is withdrawn, and a run that Prefect may have made all the same finds no scan and ends.
    """
    new = admit(
        settings,
        target=asked.target,
        policy=asked.policy,
        comment=asked.comment,
        origin="api",
        idempotency_key=key,
    )
    scan_id, name = await run_in_threadpool(_write_down, store, new)
    try:
        task_id = await prefect.start(scan_id, name)
    except PrefectUnavailable:
        await run_in_threadpool(_withdraw, store, scan_id)
        raise
    return await run_in_threadpool(_attach, store, scan_id, task_id)


def _write_down(store: Store, new: NewScan) -> tuple[UUID, str]:
    for attempt in range(2):
        try:
            with store.write() as session:
                scan, _ = insert_scan(session, new)
                return scan.id, f"{scan.target} {scan.policy_name}"
        except IntegrityError:
            # The same key came twice at once, and the other one was first: now it is there to be found.
            if attempt:
                raise
    raise AssertionError


def _withdraw(store: Store, scan_id: UUID) -> None:
    with store.write() as session:
        withdraw(session, scan_id)


def _attach(store: Store, scan_id: UUID, task_id: UUID) -> ScanOut:
    with store.write() as session:
        if not attach(session, scan_id, task_id):
            raise PrefectUnavailable("the same request failed at the same time", hint="ask again")
        return ScanOut.of(scan_by_id(session, scan_id))
