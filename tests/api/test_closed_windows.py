"""A scan that runs when its window closes says so, and when it opens next, wherever it says what it waits for."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient

from deployments.answers import Scan as ScanAnswer
from deployments.progress import at_work
from deployments.show import verdict
from footprint.admission import NewScan
from footprint.policy import PRESETS
from footprint.records import Host
from footprint.states import Status
from footprint.store import Store
from footprint.store.cancelling import request_cancel
from footprint.store.closings import closed_upon
from footprint.store.endings import finish
from footprint.store.scans import begin, insert_scan
from footprint.store.tables import Scan
from footprint.store.units import Unit, begin_unit, digest_of, plan_unit
from footprint.verdict import Verdict
from footprint.windows import TimeWindow

OPENS = (datetime.now(UTC) + timedelta(hours=3)).replace(microsecond=0)
LATER = TimeWindow(start=OPENS.time(), duration=timedelta(hours=1))
CLOSED = (
    f"its window has closed: units that run end, and no other begins; window opens at {OPENS:%Y-%m-%d %H:%M:%S} UTC"
)


@pytest.fixture
def caught(opened: Store) -> UUID:
    """A scan whose window has closed, while a unit of it runs and another is to come."""
    policy = PRESETS["quick"].model_copy(update={"windows": (LATER,)})
    with opened.write() as session:
        new = insert_scan(session, NewScan(Host("127.0.0.1"), policy, "", "api"))[0].id
        scan = begin(session, new, uuid4())
        plan_unit(session, scan.id, scan.attempt, Unit("nmap", 1, 0, (Host("127.0.0.1"),)))
        begin_unit(session, scan.id, scan.attempt, "nmap", 1)
        _, session.get_one(Scan, scan.id).modules = digest_of(session, scan.id, {"tls": 1})
    return scan.id


def test_the_scan_its_list_its_explanation_and_the_command_say_it(client: TestClient, caught: UUID) -> None:
    shown = client.get(f"/api/scans/{caught}/").json()
    assert (shown["status"], shown["waiting"]) == ("STARTED", CLOSED)
    (listed,) = client.get("/api/scans/").json()["results"]
    assert listed["waiting"] == CLOSED
    explained = client.get(f"/api/scans/{caught}/explain/").json()
    codes = [cause["code"] for cause in explained["causes"]]
    assert codes.index("window_closed") < codes.index("unit_running") < codes.index("units_waiting")
    assert CLOSED[1:] in explained["explanation"]
    answer = ScanAnswer.model_validate(shown)
    assert at_work(answer).endswith(CLOSED)
    assert CLOSED in verdict(answer).plain


def test_it_says_nothing_of_it_once_it_is_cancelled_or_has_ended(
    client: TestClient, opened: Store, caught: UUID
) -> None:
    with opened.write() as session:
        request_cancel(session, caught)
    assert client.get(f"/api/scans/{caught}/").json()["waiting"] is None
    assert "window_closed" not in client.get(f"/api/scans/{caught}/explain/").text
    with opened.write() as session:
        finish(session, caught, Verdict(Status.REVOKED), "Cancelled")
    assert client.get(f"/api/scans/{caught}/").json()["waiting"] is None


def test_it_follows_the_clock_and_the_policy_that_is_frozen_into_the_scan(opened: Store, caught: UUID) -> None:
    with opened.read() as session:
        row = session.get_one(Scan, caught)
        assert closed_upon(row, OPENS - timedelta(seconds=1)) == CLOSED
        assert closed_upon(row, OPENS) is None
        session.expunge(row)
    row.policy = {**row.policy, "windows": []}
    assert closed_upon(row, OPENS - timedelta(seconds=1)) is None
    row.policy = {**row.policy, "blackouts": [str(date(2026, 5, 4))]}
    said = closed_upon(row, datetime(2026, 5, 4, 12, tzinfo=UTC))
    assert said
    assert said.endswith("; window opens at 2026-05-05 00:00:00 UTC")
