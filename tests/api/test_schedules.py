"""Schedules over REST: what is refused, what is kept while Prefect is away, and that neither side is left half made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from api.asking import Desk
from api.prefect import PrefectGateway
from api.schedule_keeper import ScheduleKeeper
from api.schedule_schemas import ScheduleChange, ScheduleRequest
from api.scheduling import Schedules
from footprint.errors import Conflict, InvalidSchedule, PrefectUnavailable
from footprint.platform_facts import ScheduleSeen, SchedulesSeen
from footprint.settings import Settings
from footprint.states import Status
from footprint.store import Store
from footprint.store.endings import finish
from footprint.store.resumption import put_back
from footprint.store.schedule_tables import ScheduleRow, ScheduleRunRow
from footprint.store.schedules import schedule_by_id, timing_of
from footprint.store.tables import Scan, now
from footprint.timing import Timing
from footprint.verdict import Verdict

DEPLOYMENT = uuid4()
DAILY: dict[str, Any] = {"target": "127.0.0.1", "policy": "quick", "frequency": "DAILY", "at": "03:00"}


class Prefect(PrefectGateway):
    """Stands in for Prefect: has what it was given, or is away."""

    def __init__(self) -> None:
        self.there: dict[UUID, ScheduleSeen] = {}
        self.started: list[UUID] = []
        self.rescheduled: list[UUID] = []
        self.is_away = False

    def _answer(self) -> None:
        if self.is_away:
            raise PrefectUnavailable("Prefect cannot be reached")

    async def put_schedule(self, schedule_id: UUID, timing: Timing, *, active: bool, what: str) -> tuple[UUID, UUID]:
        """Make or change one."""
        self._answer()
        known = next((seen for seen in self.there.values() if seen.ours == schedule_id), None)
        made = ScheduleSeen(known.prefect_id if known else uuid4(), schedule_id, active=active, timing=timing)
        self.there[made.prefect_id] = made
        return made.prefect_id, DEPLOYMENT

    async def remove_schedule(self, deployment: UUID, prefect_id: UUID) -> None:
        """Remove one."""
        self._answer()
        self.there.pop(prefect_id, None)

    async def start(self, scan_id: UUID, name: str, at: datetime | None = None) -> UUID:
        """Take a run on."""
        self._answer()
        self.started.append(scan_id)
        return uuid4()

    async def reschedule(self, run_id: UUID) -> None:
        """Take a run on again."""
        self._answer()
        self.rescheduled.append(run_id)

    @property
    def seen(self) -> SchedulesSeen:
        """What a look at it tells."""
        known = tuple(self.there.values())
        return SchedulesSeen(len(known), 0, is_deployment_paused=False, late=0, known=known, deployment_id=DEPLOYMENT)


@pytest.fixture
def prefect() -> Prefect:
    return Prefect()


@pytest.fixture
def schedules(opened: Store, settings: Settings, prefect: Prefect) -> Schedules:
    """Where schedules are asked for."""
    return Schedules(settings, prefect, Desk(settings, opened, prefect))


def _asked(**said: Any) -> ScheduleRequest:
    return ScheduleRequest.model_validate(DAILY | said)


def _count(store: Store, table: type[Any]) -> int:
    with store.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def _row(store: Store, schedule: UUID) -> ScheduleRow:
    with store.read() as session:
        return schedule_by_id(session, schedule)


async def _mend(store: Store, prefect: Prefect, schedules: Schedules, at: datetime | None = None) -> bool:
    return await ScheduleKeeper(store, prefect, schedules).mend(prefect.seen, at or datetime.now(UTC))


async def test_a_schedule_is_made_on_both_sides(opened: Store, prefect: Prefect, schedules: Schedules) -> None:
    row = _row(opened, await schedules.create(_asked(timezone="Europe/Berlin")))
    (seen,) = prefect.there.values()
    assert (seen.ours, seen.prefect_id, seen.active) == (row.id, row.prefect_id, True)
    assert seen.timing == Timing("cron", "0 3 * * *", "Europe/Berlin") == timing_of(row)


async def test_while_prefect_is_away_nothing_is_half_made_changed_or_removed(
    opened: Store, prefect: Prefect, schedules: Schedules
) -> None:
    made = await schedules.create(_asked())
    before = _row(opened, made)
    prefect.is_away = True
    with pytest.raises(PrefectUnavailable):
        await schedules.create(_asked())
    for change in (ScheduleChange(active=False), ScheduleChange(cron="0 4 * * *", comment="other")):
        with pytest.raises(PrefectUnavailable):
            await schedules.change(made, change)
    with pytest.raises(PrefectUnavailable):
        await schedules.delete(made)
    with pytest.raises(PrefectUnavailable):
        await schedules.run(made)
    after = _row(opened, made)
    assert (after.active, after.timing, after.said, after.comment) == (True, before.timing, before.said, "")
    assert (_count(opened, ScheduleRow), _count(opened, Scan), _count(opened, ScheduleRunRow)) == (1, 0, 0)
    await schedules.change(made, ScheduleChange(comment="that needs no Prefect", overlap="queue"))
    assert _row(opened, made).overlap == "queue"


async def test_who_is_told_is_changed_alone_and_taken_back(opened: Store, schedules: Schedules) -> None:
    made = await schedules.create(_asked(notify={"to": ["smtp-mail/me"], "on": {"names": False}}))
    told = _row(opened, made).notify
    assert told is not None
    assert (told["to"], told["on"]["names"], told["on"]["findings"]) == (["smtp-mail/me"], False, "medium")
    await schedules.change(made, ScheduleChange(comment="other"))
    assert _row(opened, made).notify == told
    await schedules.change(made, ScheduleChange(notify=None))
    assert _row(opened, made).notify is None


async def test_a_change_of_zone_keeps_the_time_that_clocks_show(
    opened: Store, prefect: Prefect, schedules: Schedules
) -> None:
    made = await schedules.create(_asked())
    await schedules.change(made, ScheduleChange(timezone="Asia/Tokyo"))
    await schedules.change(made, ScheduleChange(active=False))
    (seen,) = prefect.there.values()
    assert (seen.timing, seen.active) == (Timing("cron", "0 3 * * *", "Asia/Tokyo"), False)
    with pytest.raises(InvalidSchedule):
        await schedules.change(made, ScheduleChange(interval=60))


async def test_what_is_done_in_prefect_is_seen_and_undone_by_a_resume(
    opened: Store, prefect: Prefect, schedules: Schedules
) -> None:
    made = await schedules.create(_asked())
    began = datetime.now(UTC) - timedelta(seconds=5)
    (there,) = prefect.there
    prefect.there.clear()
    assert not await _mend(opened, prefect, schedules, began), "a look from before it was made says nothing"
    assert await _mend(opened, prefect, schedules)
    gone = _row(opened, made)
    assert (gone.active, gone.gone_at is not None) == (False, True)
    assert not await _mend(opened, prefect, schedules)
    await schedules.change(made, ScheduleChange(active=True))
    again = _row(opened, made)
    assert (again.active, again.gone_at, list(prefect.there)) == (True, None, [again.prefect_id])
    assert again.prefect_id != there


async def test_what_prefect_lost_is_made_again_and_what_nobody_knows_is_removed(
    opened: Store, prefect: Prefect, schedules: Schedules
) -> None:
    made = await schedules.create(_asked())
    with opened.write() as session:
        schedule_by_id(session, made).deployment_id = uuid4()
    prefect.there.clear()
    await prefect.put_schedule(uuid4(), Timing("cron", "0 3 * * *", "UTC"), active=True, what="")
    prefect.is_away = True
    assert await _mend(opened, prefect, schedules), "and tries again, without hindering the follower"
    prefect.is_away = False
    assert await _mend(opened, prefect, schedules)
    (seen,) = prefect.there.values()
    assert (seen.ours, seen.prefect_id) == (made, _row(opened, made).prefect_id)


async def test_a_run_by_hand_is_a_scan_and_one_at_a_time(opened: Store, prefect: Prefect, schedules: Schedules) -> None:
    made = await schedules.create(_asked(comment="nightly"))
    scan = await schedules.run(made)
    assert (scan.schedule, scan.comment, scan.status, prefect.started) == (made, "nightly", "PENDING", [scan.id])
    with pytest.raises(Conflict):
        await schedules.run(made)
    await schedules.delete(made)
    assert prefect.there == {}
    with opened.read() as session:
        assert session.get_one(Scan, scan.id).schedule_id == made


async def test_the_keeper_lets_queued_scans_begin_and_starts_what_was_left(
    opened: Store, settings: Settings, prefect: Prefect, schedules: Schedules, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.schedule_keeper.LEFT_AFTER", timedelta(0))
    made, keeper = await schedules.create(_asked(overlap="queue")), ScheduleKeeper(opened, prefect, schedules)
    first, second = await schedules.run(made), await schedules.run(made)
    with opened.write() as session:
        put_back(session, second.id, attempt=0, reason="it waits", at=now() + timedelta(days=1))
    assert not await keeper.give_out()
    with opened.write() as session:
        finish(session, first.id, Verdict(Status.SUCCESS), "Completed")
        session.get_one(Scan, first.id)
    assert await keeper.give_out()
    assert prefect.rescheduled == [second.task_id]
    with opened.write() as session:
        session.get_one(Scan, second.id).task_id = None
    assert await keeper.give_out()
    assert prefect.started == [first.id, second.id, second.id]
    assert not await keeper.give_out()


@pytest.mark.parametrize(
    ("said", "code", "field"),
    [
        ({"target": "8.8.8.8 -iL"}, "invalid_target", None),
        ({"target": "10.0.0.1"}, "target_refused", None),
        ({"target": None}, "invalid_request", "body"),
        ({"asset": "5aa0fc9a-44e3-43ac-9c34-e0f703384f8e"}, "invalid_request", "body"),
        ({"target": None, "asset": "5aa0fc9a-44e3-43ac-9c34-e0f703384f8e"}, "invalid_schedule", "asset"),
        ({"target": None, "asset": "nobody"}, "invalid_request", "asset"),
        ({"policy": "none"}, "invalid_policy", None),
        ({"policy": {"modules": {"nmap": {"timing": 9}}}}, "invalid_policy", "policy.modules.nmap.timing"),
        ({"cron": "0 3 * * *"}, "invalid_request", "body"),
        ({"frequency": "HOURLY"}, "invalid_request", "frequency"),
        ({"at": "25:00"}, "invalid_request", "at"),
        ({"frequency": None, "at": None, "cron": "0 0 30 2 *"}, "invalid_schedule", "cron"),
        ({"frequency": None, "at": None, "rrule": "FREQ=DAILY;UNTIL=20200101"}, "invalid_schedule", "rrule"),
        ({"frequency": None, "at": None, "interval": 60}, "invalid_schedule", "interval"),
        ({"frequency": None, "at": None, "interval": True}, "invalid_request", "interval.int"),
        ({"timezone": "Mars/Olympus"}, "invalid_request", "timezone"),
        ({"overlap": "both"}, "invalid_request", "overlap"),
        ({"active": "yes"}, "invalid_request", "active"),
        ({"owner": "me"}, "invalid_request", "body"),
        ({"notify": {"to": ["nobody"]}}, "invalid_request", "notify.to.0"),
        ({"notify": {"on": {"findings": "awful"}}}, "invalid_request", "notify.on.findings"),
        ({"comment": "a\u202eb"}, "invalid_request", "comment"),
    ],
)
def test_what_could_not_be_scanned_is_refused_as_a_scan_would_be(
    client: TestClient, opened: Store, said: dict[str, Any], code: str, field: str | None
) -> None:
    answer = client.post("/api/schedules/", json=DAILY | said)
    assert (answer.status_code, answer.json()["error"]) == (422, code), answer.text
    assert field is None or field in [fault["field"] for fault in answer.json()["fields"]]
    assert _count(opened, ScheduleRow) == 0


def test_a_policy_whose_windows_never_open_is_refused(client: TestClient) -> None:
    window = {"rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "from": "22:00", "until": "23:00"}
    never = {"modules": {"nmap": {}}, "windows": [window]}
    answer = client.post("/api/schedules/", json=DAILY | {"policy": never})
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid_policy")


def test_schedules_are_read_while_prefect_is_away_and_say_so(client: TestClient, opened: Store) -> None:
    assert client.post("/api/schedules/", json=DAILY).status_code == 503
    with opened.write() as session:
        row = ScheduleRow(
            target="127.0.0.1",
            policy_name="quick",
            said={"cron": "0 3 * * *"},
            timing=Timing("cron", "0 3 * * *", "Europe/Berlin").pack(),
            timezone="Europe/Berlin",
            prefect_id=uuid4(),
            deployment_id=uuid4(),
        )
        session.add(row)
        session.flush()
        path = f"/api/schedules/{row.id}/"
    shown = client.get(path).json()
    assert (shown["state"], shown["prefect_away"], shown["last_scan"], shown["skipped"]) == ("active", True, None, 0)
    assert len(shown["next_runs"]) == 5
    with opened.write() as session:
        schedule_by_id(session, UUID(shown["id"])).timing = Timing("cron", "0 0 30 2 *", "UTC").pack()
    (listed,) = client.get("/api/schedules/").json()["results"]
    assert (listed["id"], listed["next_runs"]) == (shown["id"], []), "edited in Prefect, it never comes due"
    assert client.get(f"{path}runs/").json()["count"] == 0
    for verb in ("pause", "resume", "run"):
        assert client.post(f"{path}{verb}/").status_code == 503
    assert client.patch(path, json={"comment": "kept"}).json()["comment"] == "kept"
    assert client.patch(path, json={"target": "127.0.0.2"}).status_code == 422
    assert client.delete(path).status_code == 503
    assert client.get(f"/api/schedules/{uuid4()}/").status_code == 404
