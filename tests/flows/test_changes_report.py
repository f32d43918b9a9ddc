"""A scan's end: what changed is written down and shown in Prefect, where nothing that a host said is markup."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows import changes_report, conduct, report
from flows.conduct import Conductor
from footprint.admission import admit
from footprint.records import Coverage, Outcome, Record, Service, subject_of
from footprint.store.changes import changes_of_asset
from footprint.store.scans import Begun, begin, insert_scan
from footprint.store.units import Settlement, begin_unit, settle_unit
from footprint.store.views import scan_by_id
from footprint.verdict import UnitStatus
from tasks.installation import Installation
from tests.flows.test_conduct import Future, here

__all__ = ["here"]
HOSTILE = "nginx\n```\n# [click](http://evil.test) <script>\x1b[31m"


class Estate:
    """Stands in for `run_scan`: finds the services that it has now, or fails."""

    def __init__(self, here: Installation) -> None:
        self._here = here
        self.services: list[Service] = []
        self.outcome = Outcome.ANSWERED
        self.status = UnitStatus.DONE

    def submit(self, scan: Begun, module: str, batch: int) -> Future:
        """Settle the unit with what is there now."""
        with self._here.store.write() as session:
            unit_id, unit = begin_unit(session, scan.id, scan.attempt, module, batch)
        found: tuple[Record, ...] = tuple(self.services) if self.status is UnitStatus.DONE else ()
        coverage = tuple(Coverage(subject_of(record), self.outcome) for record in unit.records)
        with self._here.store.write() as session:
            settled = Settlement(self.status, records=found, coverage=coverage)
            settle_unit(session, scan.id, scan.attempt, unit_id, settled)
        return Future(Completed())


class Shelf:
    """Stands in for Prefect's artifacts."""

    def __init__(self) -> None:
        self.tables: dict[str, Any] = {}
        self.markdown = ""
        self.is_away = False

    def table(self, rows: Any, key: str, description: str) -> None:
        """Take a table."""
        if self.is_away:
            raise httpx.ConnectError("away")
        self.tables[key.split("-")[0]] = rows

    def text(self, text: str, key: str, description: str) -> None:
        """Take a text."""
        if self.is_away:
            raise httpx.ConnectError("away")
        self.markdown = text


@pytest.fixture
def estate(here: Installation, monkeypatch: pytest.MonkeyPatch) -> Estate:
    """What the scans find."""
    made = Estate(here)
    monkeypatch.setattr(conduct, "run_scan", made)
    return made


@pytest.fixture
def shelf(here: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    """Where artifacts go."""
    made = Shelf()
    monkeypatch.setattr(conduct, "publish_report", report.publish_report)
    monkeypatch.setattr(report, "get_run_logger", lambda: logging.getLogger("tests"))
    monkeypatch.setattr(report, "create_table_artifact", made.table)
    monkeypatch.setattr(report, "create_markdown_artifact", made.text)
    monkeypatch.setattr(changes_report, "create_table_artifact", made.table)
    return made


def play(here: Installation, target: str = "127.0.0.1") -> tuple[Begun, State]:
    """A scan from its request to its verdict."""
    with here.store.write() as session:
        asked = admit(here.settings, target=target, policy="network_sweep", comment="", origin="api")
        scan = begin(session, insert_scan(session, asked)[0].id, uuid4())
    with Conductor(scan) as conductor:
        conductor.play()
        return scan, conductor.conclude()


def changes(here: Installation, scan: Begun) -> list[tuple[str, str]]:
    with here.store.read() as session:
        rows, _ = changes_of_asset(session, scan.asset_id, None, 0, 100)
    return [(row.change.value, row.subject) for row in rows if row.scan == scan.id]


SSH, WEB = Service("127.0.0.1", 22), Service("127.0.0.1", 80, name="http", product="nginx", version="1.18")


def test_the_estate_changes_and_the_next_scan_tells_exactly_that(
    here: Installation, estate: Estate, shelf: Shelf
) -> None:
    estate.services = [SSH, WEB]
    first, _ = play(here)
    assert changes(here, first) == []
    assert "There was no earlier scan to compare with." in shelf.markdown
    estate.services = [Service("127.0.0.1", 80, name="http", product=HOSTILE, version="1.22"), Service("127.0.0.1", 25)]
    second, state = play(here)
    assert state.is_completed()
    assert sorted(changes(here, second)) == [
        ("changed", "127.0.0.1:80/tcp"),
        ("gone", "127.0.0.1:22/tcp"),
        ("new", "127.0.0.1:25/tcp"),
    ]
    assert f"Against scan {first.id}: 1 new, 1 changed, 1 gone." in shelf.markdown
    assert shelf.markdown.index("## Changes") < len("# SUCCESS") + 100
    rows = {row["what"]: row for row in shelf.tables["changes"]}
    assert rows["127.0.0.1:80/tcp"]["fields"].endswith("version 1.18 → 1.22")
    _hostile_text_stays_in_its_fence(shelf.markdown)


def _hostile_text_stays_in_its_fence(markdown: str) -> None:
    before, fence, block = markdown.partition("\n````text\n")
    assert fence
    inside, closing, after = block.partition("\n````")
    assert closing
    assert "# [click](http://evil.test) <script>" in inside
    assert "evil" not in before + after
    assert "\x1b" not in markdown


@pytest.mark.parametrize("outcome", [Outcome.TIMED_OUT, Outcome.NOT_LOOKED_AT, Outcome.REFUSED, Outcome.SAMPLED])
def test_a_tool_that_does_not_get_through_removes_nothing(
    here: Installation, estate: Estate, shelf: Shelf, outcome: Outcome
) -> None:
    estate.services = [SSH, WEB]
    play(here)
    estate.services, estate.outcome = [SSH], outcome
    second, _ = play(here)
    assert changes(here, second) == []
    assert "1 not looked at" in shelf.markdown
    estate.services, estate.outcome = [SSH, WEB], Outcome.ANSWERED
    third, _ = play(here)
    assert changes(here, third) == []


def test_a_scan_that_fails_writes_no_changes(here: Installation, estate: Estate, shelf: Shelf) -> None:
    estate.services = [SSH]
    play(here)
    estate.status = UnitStatus.FAILED
    second, state = play(here)
    assert state.is_failed()
    assert changes(here, second) == []
    assert "## Changes" not in shelf.markdown


def test_a_prefect_that_is_away_costs_nothing(here: Installation, estate: Estate, shelf: Shelf) -> None:
    estate.services, shelf.is_away = [SSH], True
    play(here)
    estate.services = [SSH, WEB]
    second, state = play(here)
    assert state.is_completed()
    assert changes(here, second) == [("new", "127.0.0.1:80/tcp")]


def test_a_defect_in_comparing_leaves_the_verdict(
    here: Installation, estate: Estate, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*given: object, **named: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(conduct, "write_down", broken)
    estate.services = [SSH]
    scan, state = play(here)
    assert state.is_completed()
    with here.store.read() as session:
        assert scan_by_id(session, scan.id).status == "SUCCESS"
    assert "could not be written down" in caplog.text
