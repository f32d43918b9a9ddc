"""`/api/scans/`: ask for a scan, watch it, read what it found."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Header, Query, Request, Response
from sqlalchemy.orm import Session

from api.given import DeskDep, Id, ReaderDep
from api.paging import Page, PagingDep
from api.policy_schemas import FrozenPolicyOut
from api.reading import ReadingDep
from api.routing import router
from api.schemas import ScanOut, ScanRequest, ScoresOut
from footprint.states import Status
from footprint.store.scoring import scores_of_scan
from footprint.store.views import (
    DomainView,
    FindingView,
    HostView,
    ServiceView,
    domains_of_scan,
    findings_of_scan,
    hosts_of_scan,
    scan_by_id,
    scans_page,
    services_of_scan,
)

scans = router("scans")

KeyHeader = Annotated[
    str | None,
    Header(alias="Idempotency-Key", pattern=r"^[\x21-\x7e]{1,255}$", description="The same key, the same scan."),
]


@scans.post("/", status_code=201)
async def create_scan(
    asked: ScanRequest,
    request: Request,
    response: Response,
    desk: DeskDep,
    reader: ReaderDep,
    key: KeyHeader = None,
) -> ScanOut:
    """Ask for a scan. It runs in the background: poll the address in `Location`."""
    scan = await desk.ask(asked, key)
    reader.forget()
    response.headers["Location"] = str(request.url_for("read_scan", scan_id=scan.id))
    return scan


@scans.get("/", response_model=Page[ScanOut])
async def list_scans(
    paging: PagingDep,
    reading: ReadingDep,
    status: Annotated[Status | None, Query()] = None,
    target: Annotated[str | None, Query(max_length=255, pattern=r"^[^\x00]*$")] = None,
    schedule: Annotated[UUID | None, Query(description="Only those that it asked for.")] = None,
) -> Response:
    """Scans, newest first."""

    def page(session: Session) -> Page[ScanOut]:
        rows, count = scans_page(
            session, status=status, target=target, schedule=schedule, offset=paging.offset, limit=paging.limit
        )
        return paging.of([ScanOut.of(row) for row in rows], count)

    return await reading(page)


@scans.get("/{scan_id}/", response_model=ScanOut)
async def read_scan(scan_id: Id, reading: ReadingDep) -> Response:
    """One scan: how far it is, and how it ended."""
    return await reading(lambda session: ScanOut.of(scan_by_id(session, scan_id)))


@scans.get("/{scan_id}/policy/", response_model=FrozenPolicyOut)
async def read_scan_policy(scan_id: Id, reading: ReadingDep) -> Response:
    """What the scan's policy said when it was asked for."""
    return await reading(lambda session: FrozenPolicyOut(**scan_by_id(session, scan_id).policy))


@scans.get("/{scan_id}/domains/", response_model=Page[DomainView])
async def read_domains(scan_id: Id, paging: PagingDep, reading: ReadingDep) -> Response:
    """The DNS names that the scan saw."""
    return await reading(lambda session: paging.of(*domains_of_scan(session, scan_id, paging.offset, paging.limit)))


@scans.get("/{scan_id}/hosts/", response_model=Page[HostView])
async def read_hosts(scan_id: Id, paging: PagingDep, reading: ReadingDep) -> Response:
    """The addresses that the scan saw."""
    return await reading(lambda session: paging.of(*hosts_of_scan(session, scan_id, paging.offset, paging.limit)))


@scans.get("/{scan_id}/services/", response_model=Page[ServiceView])
async def read_services(scan_id: Id, paging: PagingDep, reading: ReadingDep) -> Response:
    """The open ports that the scan saw, and what answered there."""
    return await reading(lambda session: paging.of(*services_of_scan(session, scan_id, paging.offset, paging.limit)))


@scans.get("/{scan_id}/findings/", response_model=Page[FindingView])
async def read_findings(scan_id: Id, paging: PagingDep, reading: ReadingDep) -> Response:
    """The weaknesses that the scan saw."""
    return await reading(lambda session: paging.of(*findings_of_scan(session, scan_id, paging.offset, paging.limit)))


@scans.get("/{scan_id}/scores/", response_model=ScoresOut)
async def read_scores(scan_id: Id, reading: ReadingDep) -> Response:
    """How bad it is: the score of all that the scan saw, of each domain, and of each host."""
    return await reading(lambda session: ScoresOut.of(scores_of_scan(session, scan_by_id(session, scan_id).id)))
