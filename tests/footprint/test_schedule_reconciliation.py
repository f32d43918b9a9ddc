"""What differs between our schedules and Prefect's, and what is done about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from footprint.platform_facts import ScheduleSeen, SchedulesSeen
from footprint.schedule_reconciliation import Gone, Ours, Remake, Remove, Step, TakeOver, differences
from footprint.timing import Timing

LOOKED_AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
DEPLOYMENT, OURS, THEIRS = uuid4(), uuid4(), uuid4()
TIMING, EDITED = Timing("cron", "0 3 * * *", "UTC"), Timing("cron", "0 4 * * *", "Europe/Berlin")
ROW = Ours(
    OURS,
    THEIRS,
    DEPLOYMENT,
    active=True,
    timing=TIMING,
    changed_at=LOOKED_AT - timedelta(days=1),
    is_gone=False,
    what="example.com",
)
SEEN = ScheduleSeen(THEIRS, OURS, active=True, timing=TIMING)


def _steps(ours: list[Ours], seen: list[ScheduleSeen], deployment: UUID = DEPLOYMENT) -> list[Step]:
    found = SchedulesSeen(len(seen), 0, is_deployment_paused=False, late=0, known=tuple(seen), deployment_id=deployment)
    return list(differences(ours, found, LOOKED_AT))


def test_what_agrees_is_left_alone_and_so_are_other_peoples_schedules() -> None:
    assert _steps([ROW], [SEEN, ScheduleSeen(uuid4(), None, active=True, timing=None)]) == []


@pytest.mark.parametrize(
    ("row", "seen", "step"),
    [
        (ROW, replace(SEEN, active=False), TakeOver(OURS, THEIRS, active=False, timing=None)),
        (replace(ROW, active=False), SEEN, TakeOver(OURS, THEIRS, active=True, timing=None)),
        (ROW, replace(SEEN, timing=EDITED), TakeOver(OURS, THEIRS, active=True, timing=EDITED)),
        (ROW, replace(SEEN, timing=None), None),
        (replace(ROW, is_gone=True), SEEN, TakeOver(OURS, THEIRS, active=True, timing=None)),
        (replace(ROW, prefect_id=uuid4()), SEEN, TakeOver(OURS, THEIRS, active=True, timing=None)),
    ],
)
def test_what_is_done_in_the_prefect_ui_is_taken_over(row: Ours, seen: ScheduleSeen, step: Step | None) -> None:
    assert _steps([row], [seen]) == ([step] if step else [])


def test_one_that_lost_its_parameters_is_given_them_again_as_it_is_there() -> None:
    edited = replace(SEEN, active=False, timing=EDITED, is_whole=False)
    assert _steps([ROW], [edited]) == [
        TakeOver(OURS, THEIRS, active=False, timing=EDITED),
        Remake(OURS, EDITED, active=False, what="example.com"),
    ]


def test_one_that_was_deleted_there_is_gone_and_one_that_prefect_lost_is_made_again() -> None:
    assert _steps([ROW], []) == [Gone(OURS)]
    assert _steps([ROW], [], deployment=uuid4()) == [Remake(OURS, TIMING, active=True, what="example.com")]
    for deployment in (DEPLOYMENT, uuid4()):
        assert _steps([replace(ROW, is_gone=True)], [], deployment) == []


def test_what_changed_since_the_look_began_or_is_being_made_is_left_alone() -> None:
    paused = replace(SEEN, active=False)
    assert _steps([replace(ROW, changed_at=LOOKED_AT)], [paused]) == []
    assert _steps([replace(ROW, prefect_id=None)], [paused]) == []


def test_one_without_a_row_is_removed_unless_the_store_has_none_at_all() -> None:
    stray = ScheduleSeen(uuid4(), uuid4(), active=True, timing=TIMING)
    assert _steps([ROW], [SEEN, stray]) == [Remove(stray.prefect_id)]
    assert _steps([], [SEEN, stray]) == []
