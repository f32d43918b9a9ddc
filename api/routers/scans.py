"""`/api/scans/`: ask for a scan, watch it, read what it found."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Query, Request, Response

from api.asking import ask_for_scan
from api.given import Id, PrefectDep, SettingsDep, StoreDep
from api.paging import Page, PagingDep
from api.routing import router
from api.schemas import ScanOut, ScanRequest
from footprint.states import Status
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
    store: StoreDep,
    prefect: PrefectDep,
    settings: SettingsDep,
    key: KeyHeader = None,
) -> ScanOut:
    """Ask for a scan. It runs in the background: poll the address in `Location`."""
    scan = await ask_for_scan(asked, key, store, prefect, settings)
    response.headers["Location"] = str(request.url_for("read_scan", scan_id=scan.id))
    return scan


@scans.get("/")
def list_scans(
    paging: PagingDep,
    store: StoreDep,
    status: Annotated[Status | None, Query()] = None,
    target: Annotated[str | None, Query(max_length=255)] = None,
) -> Page[ScanOut]:
    """Scans, newest first."""
    with store.read() as session:
        rows, count = scans_page(session, status=status, target=target, offset=paging.offset, limit=paging.limit)
        return paging.of([ScanOut.of(row) for row in rows], count)


@scans.get("/{scan_id}/")
def read_scan(scan_id: Id, store: StoreDep) -> ScanOut:
    """One scan: how far it is, and how it ended."""
    with store.read() as session:
        return ScanOut.of(scan_by_id(session, scan_id))


@scans.get("/{scan_id}/domains/")
def read_domains(scan_id: Id, paging: PagingDep, store: StoreDep) -> Page[DomainView]:
    """The DNS names that the scan saw."""
    with store.read() as session:
        scan_by_id(session, scan_id)
        return paging.of(*domains_of_scan(session, scan_id, offset=paging.offset, limit=paging.limit))


@scans.get("/{scan_id}/hosts/")
def read_hosts(scan_id: Id, paging: PagingDep, store: StoreDep) -> Page[HostView]:
    """The addresses that the scan saw."""
    with store.read() as session:
        scan_by_id(session, scan_id)
        return paging.of(*hosts_of_scan(session, scan_id, offset=paging.offset, limit=paging.limit))


@scans.get("/{scan_id}/services/")
def read_services(scan_id: Id, paging: PagingDep, store: StoreDep) -> Page[ServiceView]:
    """The open ports that the scan saw, and what answered there."""
    with store.read() as session:
        scan_by_id(session, scan_id)
        return paging.of(*services_of_scan(session, scan_id, offset=paging.offset, limit=paging.limit))


@scans.get("/{scan_id}/findings/")
def read_findings(scan_id: Id, paging: PagingDep, store: StoreDep) -> Page[FindingView]:
    """The weaknesses that the scan saw."""
    with store.read() as session:
        scan_by_id(session, scan_id)
        return paging.of(*findings_of_scan(session, scan_id, offset=paging.offset, limit=paging.limit))
