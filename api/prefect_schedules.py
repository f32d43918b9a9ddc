"""Schedules of the deployment as a Prefect client makes, changes, reads and removes them; called by `api.prefect`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.exceptions import ObjectNotFound

from footprint.errors import NotFound
from footprint.platform_facts import OtherSchedule, ScheduleSeen
from footprint.policy import DEFAULT_POLICY
from footprint.text import clean
from footprint.timing import Timing

SLUG = "pulsar-"
LABEL = 60
_OURS = re.compile(rf"{SLUG}(?:[a-z0-9-]{{1,{LABEL}}}-)?([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})")
WORD = 255
COMMENT = 1000


def seen(schedule: DeploymentSchedule) -> ScheduleSeen:
    """A schedule as Prefect has it. `ours` is the id of the schedule that it was made for, where the API made it."""
    ours = _id_in(schedule.slug)
    is_whole = ours is None or schedule.parameters == _parameters(ours)
    return ScheduleSeen(schedule.id, ours, schedule.active, _timing(schedule), is_whole=is_whole)


def other(schedule: DeploymentSchedule, deployment: DeploymentResponse, name: str) -> OtherSchedule:
    """A schedule that is not the store's, with what it scans, of a deployment that Prefect calls by this name."""
    said = {**deployment.parameters, **schedule.parameters}
    asked_at = datetime.now(UTC)
    return OtherSchedule(
        schedule.id,
        deployment.id,
        name,
        clean(schedule.slug, WORD) if schedule.slug else None,
        active=schedule.active,
        is_deployment_paused=deployment.paused,
        timing=_timing(schedule),
        target=_text(said.get("target"), WORD) or None,
        policy=_text(said.get("policy", DEFAULT_POLICY), WORD),
        comment=_text(said.get("comment"), COMMENT),
        created_at=schedule.created or asked_at,
        changed_at=schedule.updated or asked_at,
    )


def _text(value: Any, most: int) -> str:
    """What a parameter says, where it is text at all: Prefect takes any JSON."""
    return clean(value, most) if isinstance(value, str) else ""


async def switch(client: PrefectClient, deployment: UUID, prefect_id: UUID, *, active: bool) -> None:
    """Pause or resume a schedule, and leave what else it says. Raises `NotFound`."""
    for there in await client.read_deployment_schedules(deployment):
        if there.id == prefect_id:
            # With what is not said of them, parameters are taken for none.
            await client.update_deployment_schedule(deployment, prefect_id, active=active, parameters=there.parameters)
            return
    raise NotFound("Prefect has no such schedule any more", hint="`GET /api/schedules/` lists those that there are")


async def put(
    client: PrefectClient, deployment: UUID, schedule_id: UUID, timing: Timing, *, active: bool, what: str
) -> UUID:
    """Make the schedule, or have the one that is there say this from now on; returns its id in Prefect.

    A change makes Prefect remove the runs that it had made ahead, and make them anew.
    """
    slug, schedule, parameters = slug_of(schedule_id, what), _prefect_schedule(timing), _parameters(schedule_id)
    for there in await client.read_deployment_schedules(deployment):
        if _id_in(there.slug) == schedule_id:
            # With what is not said of them, parameters are taken for none.
            await client.update_deployment_schedule(
                deployment, there.id, active=active, schedule=schedule, parameters=parameters, slug=slug
            )
            return there.id
    wanted = DeploymentScheduleCreate(schedule=schedule, active=active, slug=slug, parameters=parameters)
    (made,) = await client.create_deployment_schedules(deployment, [wanted])
    return made.id


async def remove(client: PrefectClient, deployment: UUID, prefect_id: UUID) -> None:
    """Remove a schedule and the runs that it made; one that is not there is removed already."""
    try:
        await client.delete_deployment_schedule(deployment, prefect_id)
    except ObjectNotFound:
        return


def _parameters(schedule_id: UUID) -> dict[str, str]:
    return {"schedule_id": str(schedule_id)}


def slug_of(schedule_id: UUID, what: str) -> str:
    """What Prefect calls it, such as `pulsar-example-com-ID`: its UI says of each run which schedule created it."""
    label = re.sub("[^a-z0-9]+", "-", what.lower())[:LABEL].strip("-")
    return f"{SLUG}{label}-{schedule_id}" if label else f"{SLUG}{schedule_id}"


def _id_in(slug: str | None) -> UUID | None:
    found = _OURS.fullmatch(slug or "")
    return UUID(found[1]) if found else None


def _prefect_schedule(timing: Timing) -> CronSchedule | IntervalSchedule | RRuleSchedule:
    if timing.kind == "cron":
        return CronSchedule(cron=timing.rule, timezone=timing.timezone)
    if timing.kind == "rrule":
        return RRuleSchedule(rrule=timing.rule, timezone=timing.timezone)
    return IntervalSchedule(
        interval=timedelta(seconds=int(timing.rule)), anchor_date=timing.anchor, timezone=timing.timezone
    )


def _timing(schedule: DeploymentSchedule) -> Timing | None:
    match schedule.schedule:
        case CronSchedule() as cron:
            return Timing("cron", cron.cron, cron.timezone or "UTC")
        case RRuleSchedule() as rule:
            return Timing("rrule", rule.rrule, rule.timezone or "UTC")
        case IntervalSchedule() as interval:
            seconds = str(int(interval.interval.total_seconds()))
            return Timing("interval", seconds, interval.timezone or "UTC", interval.anchor_date.astimezone(UTC))
    return None
