"""How schedules are made, changed, removed and run: the row first, then Prefect, and neither without the other."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from fastapi.concurrency import run_in_threadpool
from sqlalchemy.orm import Session

from api.asking import Desk
from api.prefect import PrefectGateway
from api.schedule_schemas import ScheduleChange, ScheduleRequest
from api.schemas import ScanOut
from footprint.errors import PrefectUnavailable
from footprint.platform_facts import OtherSchedule
from footprint.policy import INLINE, ScanPolicy
from footprint.records import subject_of
from footprint.settings import Settings
from footprint.store.schedule_tables import ScheduleRow
from footprint.store.schedule_turns import withdraw_turn
from footprint.store.schedules import attach_schedule, delete_schedule, schedule_by_id, timing_of, what_of
from footprint.store.tables import Scan, now
from footprint.target import parse_target
from footprint.timing import Timing
from tasks.occurrences import require_sound
from tasks.policies import policy_of, refuse_borrowed_name
from tasks.scheduled import admitted, take_extra_turn

CHANGEABLE = ("policy_name", "policy", "said", "timing", "timezone", "active", "overlap", "comment", "notify")


class Schedules:
    """Where schedules are asked for. One change at a time: each is two steps, and `lock` is held over both."""

    def __init__(self, settings: Settings, prefect: PrefectGateway, desk: Desk) -> None:
        self.lock = asyncio.Lock()
        self._settings = settings
        self._prefect = prefect
        self._desk = desk

    async def create(self, asked: ScheduleRequest) -> UUID:
        """Make a schedule; returns its id.

        Raises as a request for one of its scans would, `InvalidSchedule`, or `PrefectUnavailable`: then the row is
        withdrawn, and a schedule that Prefect may have made all the same is removed by the follower.
        """
        policy = await run_in_threadpool(_policy_asked, asked.policy)
        async with self.lock:
            row = await self._desk.write(lambda session: self._written(session, asked, policy))
            try:
                prefect_id, deployment = await self._prefect.put_schedule(
                    row.id, timing_of(row), active=row.active, what=what_of(row)
                )
            except PrefectUnavailable:
                await self._desk.write(lambda session: delete_schedule(session, row.id))
                raise
            await self._desk.write(lambda session: attach_schedule(session, row.id, prefect_id, deployment))
            return row.id

    async def change(self, schedule_id: UUID, asked: ScheduleChange) -> None:
        """Change a schedule, in Prefect too where that is about its times. Raises as `create` does, and `NotFound`."""
        policy = await run_in_threadpool(_policy_asked, asked.policy) if asked.policy is not None else None
        async with self.lock:
            before, after, what = await self._desk.write(
                lambda session: self._changed(session, schedule_id, asked, policy)
            )
            if before["timing"] == after["timing"] and asked.active is None:
                return
            try:
                timing = Timing.unpack(after["timing"])
                made = await self._prefect.put_schedule(schedule_id, timing, active=after["active"], what=what)
            except PrefectUnavailable:
                await self._desk.write(lambda session: _restore(session, schedule_id, before))
                raise
            await self._desk.write(lambda session: attach_schedule(session, schedule_id, *made))

    async def switch(self, other: OtherSchedule, *, active: bool) -> None:
        """Pause or resume one that people keep in Prefect. Raises `NotFound`, `PrefectUnavailable`."""
        async with self.lock:
            await self._prefect.switch_schedule(other.deployment_id, other.prefect_id, active=active)

    async def delete(self, schedule_id: UUID) -> None:
        """Remove a schedule; its scans stay. Raises `NotFound`, or `PrefectUnavailable`: then it goes on."""
        async with self.lock:
            row = await self._desk.write(lambda session: schedule_by_id(session, schedule_id))
            assert row.prefect_id is not None
            assert row.deployment_id is not None
            await self._prefect.remove_schedule(row.deployment_id, row.prefect_id)
            await self._desk.write(lambda session: delete_schedule(session, schedule_id))

    async def run(self, schedule_id: UUID) -> ScanOut:
        """Ask for its scans at once; returns the first. Raises `NotFound`, `Conflict`, and as a request for a scan."""

        def ask(session: Session) -> tuple[UUID, ...]:
            schedule_by_id(session, schedule_id)
            return take_extra_turn(session, self._settings, schedule_id)

        first, *others = scans = await self._desk.write(ask)
        try:
            scan = await self.start(first)
        except PrefectUnavailable:
            # Its answer may have been lost and not the run.
            if begun := await self._desk.write(lambda session: withdraw_turn(session, scans)):
                return ScanOut.of(begun)
            raise
        for other in others:
            # Where Prefect went away meanwhile, the follower starts it later.
            with suppress(PrefectUnavailable):
                await self.start(other)
        return scan

    async def start(self, scan_id: UUID) -> ScanOut:
        """Have a scan that a schedule asked for carried out. Raises `PrefectUnavailable`: then it is left as it is."""
        return await self._desk.start(lambda session: session.get_one(Scan, scan_id), withdraws=False)

    def _written(self, session: Session, asked: ScheduleRequest, policy: str | ScanPolicy) -> ScheduleRow:
        timing = self._sound(asked.timing(asked.timezone, now()))
        row = ScheduleRow(
            target=subject_of(parse_target(asked.target)) if asked.target is not None else None,
            asset_id=UUID(asked.asset) if asked.asset else None,
            said=asked.kept(timing),
            timing=timing.pack(),
            timezone=asked.timezone,
            active=asked.active,
            overlap=asked.overlap,
            comment=asked.comment,
            notify=asked.notify.model_dump(mode="json") if asked.notify else None,
        )
        self._accept(session, row, policy)
        session.add(row)
        session.flush()
        return row

    def _changed(
        self, session: Session, schedule_id: UUID, asked: ScheduleChange, policy: str | ScanPolicy | None
    ) -> tuple[dict[str, Any], dict[str, Any], str]:
        """Write a change down; returns what the row said before and says after it, and what it scans."""
        row = schedule_by_id(session, schedule_id, held=True)
        before = _copy_of(row)
        timezone = asked.timezone or row.timezone
        if (often := asked.recurrence()) is not None:
            timing = self._sound(often.timing(timezone, now()))
            row.said, row.timing = often.kept(timing), timing.pack()
        elif asked.timezone and timing_of(row).kind != "interval":
            row.timing = self._sound(replace(timing_of(row), timezone=timezone)).pack()
        row.timezone, row.changed_at = timezone, now()
        for name in ("active", "overlap", "comment"):
            if (wanted := getattr(asked, name)) is not None:
                setattr(row, name, wanted)
        if "notify" in asked.model_fields_set:
            row.notify = asked.notify.model_dump(mode="json") if asked.notify else None
        if policy is not None:
            self._accept(session, row, policy)
        return before, _copy_of(row), what_of(row)

    def _sound(self, timing: Timing) -> Timing:
        require_sound(timing, now(), timedelta(seconds=self._settings.schedule_min_interval))
        return timing

    def _accept(self, session: Session, row: ScheduleRow, policy: str | ScanPolicy) -> None:
        """Give a schedule this policy, where what it asks for would be taken as a scan's request."""
        if isinstance(policy, ScanPolicy):
            refuse_borrowed_name(session, policy)
            row.policy_name, row.policy = policy.name, policy.model_dump(mode="json")
        else:
            row.policy_name, row.policy = policy, None
        admitted(session, self._settings, row)


def _policy_asked(policy: str | dict[str, Any]) -> str | ScanPolicy:
    return policy if isinstance(policy, str) else policy_of(policy, name=INLINE, where="policy")


def _copy_of(row: ScheduleRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in CHANGEABLE}


def _restore(session: Session, schedule_id: UUID, before: dict[str, Any]) -> None:
    row = schedule_by_id(session, schedule_id, held=True)
    for name, value in before.items():
        setattr(row, name, value)
    row.changed_at = now()
