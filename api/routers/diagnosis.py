"""`/api/scans/{id}/explain/` and `/api/scans/{id}/logs/`: why a scan is where it is, and what was said on the way."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request
from pydantic import AwareDatetime

from api.diagnosis import Diagnosis, Wanted
from api.diagnosis_schemas import ExplanationOut, LogLineOut
from api.given import Id
from api.paging import Page, PagingDep
from api.routing import router
from footprint.journal import Level

diagnosis = router("scans")


def _diagnosis(request: Request) -> Diagnosis:
    found: Diagnosis = request.app.state.diagnosis
    return found


DiagnosisDep = Annotated[Diagnosis, Depends(_diagnosis)]


@diagnosis.get("/{scan_id}/explain/")
async def explain_scan(scan_id: Id, diagnosis: DiagnosisDep) -> ExplanationOut:
    """Why the scan is where it is, in any status: one paragraph, and each cause with its remedy."""
    return ExplanationOut.of(await diagnosis.explain(scan_id))


@diagnosis.get("/{scan_id}/logs/")
async def read_logs(
    scan_id: Id,
    paging: PagingDep,
    diagnosis: DiagnosisDep,
    module: Annotated[str | None, Query(max_length=32, pattern=r"^[a-z][a-z0-9_]*$")] = None,
    level: Annotated[Level, Query(description="Lines of this level and above.")] = Level.INFO,
    after: Annotated[AwareDatetime | None, Query(description="Lines from this time on.")] = None,
) -> Page[LogLineOut]:
    """What was said, in order, with module and batch; an error with the last words of its tool."""
    entries = await diagnosis.log(scan_id, Wanted(level, module, after), anew=not paging.offset)
    page = entries[paging.offset : paging.offset + paging.limit]
    return paging.of([LogLineOut.of(entry) for entry in page], len(entries))
