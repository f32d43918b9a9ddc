"""`/api/schedules/`: what is scanned again and again. Each is a schedule of Prefect's as well, to be seen in its UI."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Response
from sqlalchemy.orm import Session

from api.follower import Follower
from api.given import FollowerDep, Id, ReaderDep
from api.other_schedules import OwnId, other_schedule
from api.paging import Page, PagingDep
from api.reading import ReadingDep
from api.routing import router
from api.schedule_schemas import (
    ScheduleChange,
    ScheduleOut,
    ScheduleRequest,
    ScheduleRunOut,
    ScheduleRunWithScans,
)
from api.scheduling import Schedules
from api.schemas import ScanOut
from api.writing import WritingDep
from footprint.platform_facts import OtherSchedule
from footprint.store.schedule_tables import ScheduleRow
from footprint.store.schedules import past_of, runs_page, schedule_by_id, schedules_page

schedules = router("schedules")


def _schedules(request: Request) -> Schedules:
    found: Schedules = request.app.state.schedules
    return found


SchedulesDep = Annotated[Schedules, Depends(_schedules)]


@schedules.get("/", response_model=Page[ScheduleOut])
async def list_schedules(paging: PagingDep, reading: ReadingDep, follower: FollowerDep) -> Response:
    """Schedules, the oldest first; after them those that people keep in Prefect, with prefect.yaml or in its UI."""

    def page(session: Session) -> Page[ScheduleOut]:
        rows, count = schedules_page(session, paging.offset, paging.limit)
        before = max(0, paging.offset - count)
        others = follower.other_schedules[before : before + paging.limit - len(rows)]
        shown = [_shown(session, row, follower) for row in rows]
        return paging.of([*shown, *(_other(each, follower) for each in others)], count + len(follower.other_schedules))

    return await reading(page)


@schedules.post("/", status_code=201)
async def create_schedule(
    asked: ScheduleRequest,
    request: Request,
    response: Response,
    schedules: SchedulesDep,
    writing: WritingDep,
    follower: FollowerDep,
) -> ScheduleOut:
    """Have a target, or each root of an asset, scanned again and again."""
    schedule_id = await schedules.create(asked)
    response.headers["Location"] = str(request.url_for("read_schedule", schedule_id=schedule_id))
    return await _read(schedule_id, writing, follower)


@schedules.get("/{schedule_id}/", response_model=ScheduleOut)
async def read_schedule(schedule_id: Id, reading: ReadingDep, follower: FollowerDep) -> Response:
    """One schedule: when it comes due next, and what came of it."""
    return await reading(lambda session: _found(session, schedule_id, follower))


@schedules.patch("/{schedule_id}/")
async def change_schedule(
    schedule_id: OwnId, asked: ScheduleChange, schedules: SchedulesDep, writing: WritingDep, follower: FollowerDep
) -> ScheduleOut:
    """Change how, when or whether it scans; what it scans stays."""
    await schedules.change(schedule_id, asked)
    return await _read(schedule_id, writing, follower)


@schedules.delete("/{schedule_id}/", status_code=204)
async def delete_schedule(schedule_id: OwnId, schedules: SchedulesDep, reader: ReaderDep) -> None:
    """Remove a schedule, and the runs that Prefect has made for it. Its scans stay."""
    await schedules.delete(schedule_id)
    reader.forget()


@schedules.post("/{schedule_id}/pause/")
async def pause_schedule(
    schedule_id: Id, schedules: SchedulesDep, writing: WritingDep, follower: FollowerDep
) -> ScheduleOut:
    """Let it come due no more, until it is resumed. A scan that runs goes on."""
    await _switch(schedule_id, schedules, follower, active=False)
    return await _read(schedule_id, writing, follower)


@schedules.post("/{schedule_id}/resume/")
async def resume_schedule(
    schedule_id: Id, schedules: SchedulesDep, writing: WritingDep, follower: FollowerDep
) -> ScheduleOut:
    """Have it come due again. One that was deleted in Prefect is made again there."""
    await _switch(schedule_id, schedules, follower, active=True)
    return await _read(schedule_id, writing, follower)


@schedules.post("/{schedule_id}/run/", status_code=201)
async def run_schedule(
    schedule_id: OwnId, request: Request, response: Response, schedules: SchedulesDep, reader: ReaderDep
) -> ScanOut:
    """Scan now, beside its times: answers the scan, of an asset the first root's. 409 while its last run goes on."""
    scan = await schedules.run(schedule_id)
    reader.forget()
    response.headers["Location"] = str(request.url_for("read_scan", scan_id=scan.id))
    return scan


@schedules.get("/{schedule_id}/runs/", response_model=Page[ScheduleRunWithScans])
async def list_schedule_runs(schedule_id: OwnId, paging: PagingDep, reading: ReadingDep) -> Response:
    """The times it came due, the last first: what was scanned, and what was skipped and why."""

    def page(session: Session) -> Page[ScheduleRunWithScans]:
        rows, count = runs_page(session, schedule_id, paging.offset, paging.limit)
        shown = [ScheduleRunWithScans(**dict(ScheduleRunOut.of(row)), scans=scans) for row, scans in rows]
        return paging.of(shown, count)

    return await reading(page)


async def _read(schedule_id: UUID, writing: WritingDep, follower: Follower) -> ScheduleOut:
    # Read as a change, so that no answer from before it is given again.
    return await writing(lambda session: _found(session, schedule_id, follower))


async def _switch(schedule_id: UUID, schedules: Schedules, follower: Follower, *, active: bool) -> None:
    other = other_schedule(follower, schedule_id)
    if other is None:
        await schedules.change(schedule_id, ScheduleChange(active=active))
    else:
        await schedules.switch(other, active=active)
        await follower.ask_after_health()


def _found(session: Session, schedule_id: UUID, follower: Follower) -> ScheduleOut:
    other = other_schedule(follower, schedule_id)
    if other is not None:
        return _other(other, follower)
    return _shown(session, schedule_by_id(session, schedule_id), follower)


def _other(other: OtherSchedule, follower: Follower) -> ScheduleOut:
    return ScheduleOut.of_other(other, away=not follower.health.server)


def _shown(session: Session, row: ScheduleRow, follower: Follower) -> ScheduleOut:
    seen = follower.health.seen.schedules if follower.health.seen else None
    return ScheduleOut.of(
        row,
        past_of(session, row.id),
        deployment_paused=seen.is_deployment_paused if seen else False,
        away=not follower.health.server,
    )
