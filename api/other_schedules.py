"""The schedules of scans that people keep in Prefect themselves, with `prefect.yaml` or in its UI: found by their ids.

The store does not have them. They are listed as Prefect last told of them, also while it is away.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Depends

from api.follower import Follower
from api.given import FollowerDep, Id
from footprint.errors import Conflict
from footprint.platform_facts import OtherSchedule


def other_schedule(follower: Follower, schedule_id: UUID) -> OtherSchedule | None:
    """The one of that id in Prefect, if it is one of these."""
    return next((each for each in follower.other_schedules if each.prefect_id == schedule_id), None)


def _own(schedule_id: Id, follower: FollowerDep) -> UUID:
    other = other_schedule(follower, schedule_id)
    if other is None:
        return schedule_id
    named = f"`{other.slug}` of {other.deployment}" if other.slug else f"a schedule of {other.deployment}"
    raise Conflict(
        "this schedule is kept in Prefect, not by the API, which can only pause and resume it",
        hint=f"it is {named}: change it in prefect.yaml and deploy again, or in the Prefect UI; remove it in both",
    )


OwnId = Annotated[UUID, Depends(_own)]
"""The id of a schedule that is not one of these: `Conflict` says where such a one is changed."""
