"""`/api/scans/{id}/cancel/` and its kin: what can be done with a scan that was asked for."""

from __future__ import annotations

from typing import Annotated

from fastapi import Body, Request, Response

from api.given import Id, LifecycleDep, ReaderDep
from api.routing import router
from api.schemas import PurgeOut, Resumption, ScanOut

scan_verbs = router("scans")

WhatDep = Annotated[Resumption | None, Body(description="Leave it out to do all that was not finished.")]


@scan_verbs.post("/purge/")
async def purge_scans(lifecycle: LifecycleDep, reader: ReaderDep) -> PurgeOut:
    """Revoke every scan that has not begun, and their Prefect runs with them. Those that run go on."""
    purged = await lifecycle.purge()
    reader.forget()
    return purged


@scan_verbs.post("/{scan_id}/cancel/", status_code=202)
async def cancel_scan(scan_id: Id, lifecycle: LifecycleDep, reader: ReaderDep) -> ScanOut:
    """End a scan. Its status is REVOKED when no process of it is left; what it found stays."""
    scan = await lifecycle.cancel(scan_id)
    reader.forget()
    return scan


@scan_verbs.post("/{scan_id}/rerun/", status_code=201)
async def rerun_scan(
    scan_id: Id, request: Request, response: Response, lifecycle: LifecycleDep, reader: ReaderDep
) -> ScanOut:
    """Do an ended scan again: a new scan of the same target with the same policy, as that was then."""
    scan = await lifecycle.rerun(scan_id)
    reader.forget()
    response.headers["Location"] = str(request.url_for("read_scan", scan_id=scan.id))
    return scan


@scan_verbs.post("/{scan_id}/resume/", status_code=201)
async def resume_scan(
    scan_id: Id,
    request: Request,
    response: Response,
    lifecycle: LifecycleDep,
    reader: ReaderDep,
    what: WhatDep = None,
) -> ScanOut:
    """Do what an ended scan did not finish: a new scan, which takes over what the old one found."""
    scan = await lifecycle.resume(scan_id, what.module if what else None)
    reader.forget()
    response.headers["Location"] = str(request.url_for("read_scan", scan_id=scan.id))
    return scan


@scan_verbs.delete("/{scan_id}/", status_code=204)
async def delete_scan(scan_id: Id, lifecycle: LifecycleDep, reader: ReaderDep) -> None:
    """Forget an ended scan: its units and what it saw. What is known of the asset stays."""
    await lifecycle.delete(scan_id)
    reader.forget()
