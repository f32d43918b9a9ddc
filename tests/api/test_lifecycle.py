"""Ending scans, doing them again and forgetting them over REST, also while Prefect is away."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient

from api import lifecycle
from api.asking import Desk
from api.lifecycle import Lifecycle
from api.prefect import PrefectGateway
from api.schemas import ScanRequest
from footprint.admission import admit
from footprint.errors import Conflict, PrefectUnavailable, TargetRefused
from footprint.records import Host
from footprint.settings import Settings
from footprint.states import Status
from footprint.store import Store
from footprint.store.endings import finish
from footprint.store.resumption import put_back
from footprint.store.scans import attach, begin, insert_scan
from footprint.store.tables import Scan, now
from footprint.store.units import Settlement, Unit, plan_unit, settle_unit
from footprint.verdict import UnitStatus, Verdict
from footprint.windows import EARLINESS

Made = tuple[UUID, UUID]


class Prefect(PrefectGateway):
    """Stands in for Prefect: remembers what it was asked."""

    def __init__(self) -> None:
        self.started: list[tuple[UUID, str, datetime | None]] = []
        self.cancelled: list[tuple[UUID, bool]] = []

    async def start(self, scan_id: UUID, name: str, at: datetime | None = None) -> UUID:
        """Take a run on."""
        self.started.append((scan_id, name, at))
        return uuid4()

    async def cancel(self, run_id: UUID, *, is_over: bool) -> None:
        """Take a cancel."""
        self.cancelled.append((run_id, is_over))

    async def cancel_all(self, ids: Sequence[UUID]) -> list[UUID]:
        """Take many: at the first time all but one."""
        done, left = (ids, []) if self.cancelled else (ids[1:], [ids[0]])
        self.cancelled += [(run_id, True) for run_id in done]
        return left


class Away(Prefect):
    """A Prefect that does not answer."""

    async def cancel(self, run_id: UUID, *, is_over: bool) -> None:
        """Not now."""
        raise PrefectUnavailable("Prefect cannot be reached")

    async def cancel_all(self, ids: Sequence[UUID]) -> list[UUID]:
        """Not now."""
        return list(ids)


def _scan(store: Store, settings: Settings, status: Status = Status.PENDING) -> Made:
    """A scan and its run: asked for, at work, or ended with one unit done and one failed."""
    run = uuid4()
    with store.write() as session:
        asked = admit(settings, target="127.0.0.1", policy="quick", comment="", origin="api")
        scan, _ = insert_scan(session, asked)
        attach(session, scan.id, run)
        if status is Status.PENDING:
            return scan.id, run
        begun = begin(session, scan.id, run)
        for batch, ended in enumerate((UnitStatus.DONE, UnitStatus.FAILED), 1):
            unit = plan_unit(session, scan.id, begun.attempt, Unit("nmap", batch, 0, (Host("127.0.0.1"),)))
            settle_unit(session, scan.id, begun.attempt, unit, Settlement(ended))
        if status.is_terminal:
            finish(session, scan.id, Verdict(status), status.title())
        return scan.id, run


def _lifecycle(store: Store, settings: Settings, prefect: Prefect) -> Lifecycle:
    return Lifecycle(settings, prefect, Desk(settings, store, prefect))


@pytest.mark.parametrize(("before", "after", "is_over"), [("PENDING", "REVOKED", True), ("STARTED", "STARTED", False)])
async def test_a_cancel_is_told_to_prefect_beside_the_flow(
    opened: Store, settings: Settings, before: str, after: str, *, is_over: bool
) -> None:
    prefect, (scan_id, run) = Prefect(), _scan(opened, settings, Status(before))
    assert (await _lifecycle(opened, settings, prefect).cancel(scan_id)).status == after
    assert prefect.cancelled == [(run, is_over)]


@pytest.mark.parametrize("is_prefect_there", [True, False])
async def test_a_cancel_of_what_was_put_back_looks_for_what_is_left_of_it(
    opened: Store, settings: Settings, *, is_prefect_there: bool
) -> None:
    scan_id, _ = _scan(opened, settings, Status.STARTED)
    with opened.write() as session:
        put_back(session, scan_id, attempt=1, reason="worker lost", at=now() + timedelta(minutes=1), losses=0)
    stray = subprocess.Popen(["sleep", "60"], env={"PATH": os.environ["PATH"], "PULSAR_SCAN": str(scan_id)})
    try:
        prefect = Prefect() if is_prefect_there else Away()
        ended = await _lifecycle(opened, settings, prefect).cancel(scan_id)
        assert (ended.status, ended.processes_ended) == ("REVOKED", 1)
        assert ended.processes_gone_at is not None
        assert stray.wait(5) == -signal.SIGKILL
        with pytest.raises(Conflict):
            await _lifecycle(opened, settings, prefect).cancel(scan_id)
    finally:
        stray.kill()
        stray.wait()


async def test_a_scan_of_which_something_cannot_be_ended_is_not_called_revoked(
    opened: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan_id, _ = _scan(opened, settings, Status.STARTED)
    with opened.write() as session:
        put_back(session, scan_id, attempt=1, reason="worker lost", at=now() + timedelta(minutes=1), losses=0)
    monkeypatch.setattr(lifecycle, "end_all_of", lambda scan_id: (0, {4711}))
    stuck = await _lifecycle(opened, settings, Prefect()).cancel(scan_id)
    assert (stuck.status, stuck.processes_ended) == ("RETRY", None)
    assert stuck.waiting == "processes of it could not be ended: 4711"
    assert stuck.cancelled_at is not None


async def test_a_cancel_and_a_purge_are_kept_while_prefect_is_away(opened: Store, settings: Settings) -> None:
    away = _lifecycle(opened, settings, Away())
    (running, _), (waiting, _) = _scan(opened, settings, Status.STARTED), _scan(opened, settings)
    assert (await away.cancel(running)).cancelled_at is not None
    assert (await away.purge()).revoked == 1
    away.close()
    with opened.read() as session:
        assert session.get_one(Scan, waiting).status == "REVOKED"


async def test_a_purge_takes_the_runs_along_and_tries_again_with_those_that_are_left(
    opened: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "RETRY_SECONDS", 0.01)
    prefect, made = Prefect(), {_scan(opened, settings)[1] for _ in range(3)}
    assert (await _lifecycle(opened, settings, prefect).purge()).revoked == 3
    async with asyncio.timeout(10):
        while len(prefect.cancelled) < 3:
            await asyncio.sleep(0.01)
    assert {run for run, _ in prefect.cancelled} == made


async def test_a_rerun_is_of_the_frozen_policy_and_is_asked_for_anew(opened: Store, settings: Settings) -> None:
    prefect, (scan_id, _) = Prefect(), _scan(opened, settings, Status.SUCCESS)
    with opened.write() as session:
        old = session.get_one(Scan, scan_id)
        old.policy = {**old.policy, "ports": "top:7"}
    new = await _lifecycle(opened, settings, prefect).rerun(scan_id)
    assert (new.status, new.resumed_from, [scan for scan, _, _ in prefect.started]) == ("PENDING", None, [new.id])
    with opened.read() as session:
        assert session.get_one(Scan, new.id).policy["ports"] == "top:7"


async def test_what_may_not_be_touched_any_more_is_not_rerun(opened: Store, settings: Settings) -> None:
    scan_id, _ = _scan(opened, settings, Status.SUCCESS)
    stricter = settings.model_copy(update={"scope_allow": ()})
    with pytest.raises(TargetRefused):
        await _lifecycle(opened, stricter, Prefect()).rerun(scan_id)


async def test_a_scan_outside_of_its_window_is_started_at_its_opening(opened: Store, settings: Settings) -> None:
    prefect, (scan_id, _) = Prefect(), _scan(opened, settings, Status.SUCCESS)
    today = datetime.now(UTC).date()
    with opened.write() as session:
        old = session.get_one(Scan, scan_id)
        old.policy = {**old.policy, "blackouts": [str(today + timedelta(days=number)) for number in range(-1, 3)]}
    new = await _lifecycle(opened, settings, prefect).rerun(scan_id)
    midnight = datetime(today.year, today.month, today.day, tzinfo=UTC) + timedelta(days=3)
    assert prefect.started[0][2] == midnight + EARLINESS
    assert new.waiting == f"window opens at {midnight:%Y-%m-%d} 00:00:00 UTC"


async def test_a_scan_without_a_window_is_started_now(opened: Store, settings: Settings) -> None:
    prefect = Prefect()
    await Desk(settings, opened, prefect).ask(ScanRequest(target="127.0.0.1", policy="quick"), None)
    assert prefect.started[0][2] is None


async def test_a_resumed_scan_has_taken_over_what_was_finished(opened: Store, settings: Settings) -> None:
    prefect, (scan_id, _) = Prefect(), _scan(opened, settings, Status.FAILURE)
    new = await _lifecycle(opened, settings, prefect).resume(scan_id, None)
    assert (new.resumed_from, [(line.name, line.done) for line in new.modules]) == (scan_id, [("nmap", 1)])


def test_over_rest_each_has_its_status(client: TestClient, opened: Store, settings: Settings) -> None:
    running, _ = _scan(opened, settings, Status.STARTED)
    asked = [client.post(f"/api/scans/{running}/cancel/") for _ in range(2)]
    assert [(answer.status_code, answer.json()["status"]) for answer in asked] == [(202, "STARTED")] * 2
    assert asked[0].json()["cancelled_at"] == asked[1].json()["cancelled_at"] is not None
    ended, _ = _scan(opened, settings, Status.SUCCESS)
    wrong = [(running, "rerun"), (running, "resume"), (ended, "cancel")]
    assert [client.post(f"/api/scans/{scan_id}/{verb}/").status_code for scan_id, verb in wrong] == [409] * 3
    assert client.delete(f"/api/scans/{running}/").status_code == 409
    assert client.delete(f"/api/scans/{ended}/").status_code == 204
    assert client.get(f"/api/scans/{ended}/").status_code == 404
    nobody = [client.post(f"/api/scans/{uuid4()}/{verb}/").status_code for verb in ("cancel", "rerun", "resume")]
    assert [*nobody, client.delete(f"/api/scans/{uuid4()}/").status_code] == [404] * 4


def test_without_prefect_a_purge_is_done_and_a_resumption_leaves_nothing_half_made(
    client: TestClient, opened: Store, settings: Settings
) -> None:
    _scan(opened, settings)
    assert [client.post("/api/scans/purge/").json() for _ in range(2)] == [{"revoked": 1}, {"revoked": 0}]
    ended, _ = _scan(opened, settings, Status.FAILURE)
    assert client.post(f"/api/scans/{ended}/resume/").status_code == 503
    assert client.get("/api/scans/").json()["count"] == 2


@pytest.mark.parametrize("body", [{"module": 1}, {"module": "../x"}, {"modules": ["nmap"]}, []])
def test_a_resumption_of_the_wrong_shape_is_refused(
    client: TestClient, opened: Store, settings: Settings, body: object
) -> None:
    ended, _ = _scan(opened, settings, Status.FAILURE)
    assert client.post(f"/api/scans/{ended}/resume/", json=body).status_code == 422


def test_nothing_of_this_is_done_without_a_token(anyone: TestClient) -> None:
    paths = ["purge/", *(f"{uuid4()}/{verb}/" for verb in ("cancel", "rerun", "resume"))]
    assert [anyone.post(f"/api/scans/{path}").status_code for path in paths] == [401] * 4
    assert anyone.delete(f"/api/scans/{uuid4()}/").status_code == 401


NIGHT = {"from": "22:00", "until": "06:00", "days": ["sat", "sun"], "timezone": "Europe/Berlin"}


def test_a_policy_says_its_windows_and_its_blackouts_over_rest(client: TestClient) -> None:
    mine = {"name": "nightly", "modules": {"nmap": {}}, "windows": [NIGHT], "blackouts": ["2026-12-25"]}
    made = client.post("/api/policies/", json=mine)
    assert made.status_code == 201, made.text
    read = client.get("/api/policies/nightly/").json()
    assert read["blackouts"] == ["2026-12-25"]
    assert {name: read["windows"][0][name] for name in NIGHT} == {**NIGHT, "from": "22:00:00", "until": "06:00:00"}


@pytest.mark.parametrize(
    ("window", "said"),
    [
        (NIGHT | {"duration": "PT1H"}, "either `until` or `duration`"),
        (NIGHT | {"timezone": "Berlin"}, "windows.0.timezone"),
        (NIGHT | {"from": "25:00"}, "windows.0.from"),
    ],
)
def test_a_window_that_makes_no_sense_is_named(client: TestClient, window: dict[str, object], said: str) -> None:
    answer = client.post("/api/policies/", json={"name": "x", "modules": {"nmap": {}}, "windows": [window]})
    assert (answer.status_code, said in answer.text) == (422, True), answer.text
