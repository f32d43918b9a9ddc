"""How runs that a schedule made begin: with their scan, skipped, refused, queued; and known without parameters."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.context import FlowRunContext

from flows import beginning, scheduled
from flows.beginning import begin_scan
from flows.pausing import Waiting
from flows.scheduled import begin_scheduled, schedule_of_run
from footprint.asset_scope import AssetScope
from footprint.errors import TargetRefused
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.assets import add_asset
from footprint.store.scans import Begun
from footprint.store.schedule_tables import ScheduleRow
from footprint.store.schedule_turns import without_run
from footprint.store.schedules import runs_page
from footprint.store.tables import Scan, now
from footprint.timing import Timing
from tasks.installation import Installation


@pytest.fixture
def here(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """The installation of the flows in this process, without a Prefect to speak to."""
    settings = Settings(home=tmp_path, scope_allow=("127.0.0.0/16",))  # type: ignore[arg-type]
    made = Installation(settings, store)
    for module in (beginning, scheduled):
        monkeypatch.setattr(module, "installation", lambda: made)
    monkeypatch.setattr(scheduled, "flow_run", SimpleNamespace(scheduled_start_time=now()))
    monkeypatch.setattr(scheduled, "deployment", SimpleNamespace(id=str(uuid4())))
    monkeypatch.setattr(scheduled, "get_run_logger", lambda: logging.getLogger("tests"))
    return made


def _schedule(here: Installation, **said: Any) -> UUID:
    values = {"target": "127.0.0.1", "policy_name": "quick", "said": {"cron": "0 3 * * *"}, "timezone": "UTC"} | said
    with here.store.write() as session:
        timing = Timing("cron", "0 3 * * *", "UTC").pack()
        row = ScheduleRow(timing=timing, prefect_id=uuid4(), deployment_id=uuid4(), **values)
        session.add(row)
        session.flush()
        return row.id


def _begin(task: UUID) -> Begun | Waiting | Any:
    return begin_scan(task, None, target="", policy="quick", comment="")


def _outcomes(here: Installation, schedule: UUID) -> list[tuple[str, datetime | None, UUID | None]]:
    with here.store.read() as session:
        return [(row.outcome, row.due_at, row.task_id) for row, _ in runs_page(session, schedule, 0, 10)[0]]


def test_a_scheduled_run_takes_up_the_scan_of_its_schedule(here: Installation) -> None:
    schedule, task = _schedule(here), uuid4()
    assert begin_scheduled(task, schedule) is None
    begun = _begin(task)
    assert isinstance(begun, Begun)
    with here.store.read() as session:
        scan = session.get_one(Scan, begun.id)
    assert (scan.status, scan.task_id, scan.schedule_id) == ("STARTED", task, schedule)


def test_a_run_that_is_skipped_ends_well_and_says_why(here: Installation) -> None:
    schedule = _schedule(here)
    begin_scheduled(uuid4(), schedule)
    ended = begin_scheduled(uuid4(), schedule)
    assert ended is not None
    assert (ended.is_completed(), ended.name) == (True, "Skipped")
    assert "has not ended" in (ended.message or "")


def test_what_may_not_be_scanned_any_more_is_written_down_and_fails(here: Installation) -> None:
    schedule, task = _schedule(here, target="10.0.0.1"), uuid4()
    with pytest.raises(TargetRefused):
        begin_scheduled(task, schedule)
    assert _outcomes(here, schedule) == [("refused", scheduled.flow_run.scheduled_start_time, task)]


def test_a_queued_run_waits_until_the_last_has_ended(here: Installation) -> None:
    schedule, first, second = _schedule(here, overlap="queue"), uuid4(), uuid4()
    for task in (first, second):
        assert begin_scheduled(task, schedule) is None
    waiting = _begin(second)
    assert isinstance(waiting, Waiting)
    assert waiting.reason.startswith("waits for the last run of its schedule: scan ")
    assert isinstance(_begin(first), Begun)


def test_scans_of_other_roots_wait_for_the_api_where_prefect_is_away(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(**_options: object) -> None:
        raise httpx.ConnectError("nobody is there")

    monkeypatch.setattr(scheduled, "get_client", away)
    with here.store.write() as session:
        asset = add_asset(session, "Example", AssetScope(roots=("127.0.0.1", "127.0.0.2")))
    schedule, task = _schedule(here, target=None, asset_id=asset), uuid4()
    assert begin_scheduled(task, schedule) is None
    with here.store.read() as session:
        assert len(without_run(session, timedelta(0))) == 1
    assert isinstance(_begin(task), Begun)


def test_a_run_that_a_schedule_made_is_called_by_what_it_scans(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, named = uuid4(), []
    assert begin_scheduled(task, _schedule(here)) is None
    scan = _begin(task)

    @contextmanager
    def client(**_options: object) -> Iterator[Any]:
        yield SimpleNamespace(set_flow_run_name=lambda run, name: named.append((run, name)))

    monkeypatch.setattr(scheduled, "get_client", client)
    for name, by_schedule in (("brave-otter", True), ("127.0.0.1 quick", True), ("brave-otter", False)):
        run = SimpleNamespace(id=task, name=name, auto_scheduled=by_schedule)
        monkeypatch.setattr(FlowRunContext, "get", lambda run=run: SimpleNamespace(flow_run=run))
        scheduled.name_run(scan)
    assert named == [(task, "127.0.0.1 quick")]


def test_a_run_keeps_its_name_where_prefect_is_away(
    here: Installation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(**_options: object) -> None:
        raise httpx.ConnectError("nobody is there")

    task = uuid4()
    assert begin_scheduled(task, _schedule(here)) is None
    monkeypatch.setattr(scheduled, "get_client", away)
    run = SimpleNamespace(id=task, name="brave-otter", auto_scheduled=True)
    monkeypatch.setattr(FlowRunContext, "get", lambda: SimpleNamespace(flow_run=run))
    scheduled.name_run(_begin(task))
    assert "keeps its name: ConnectError" in caplog.text


def test_a_run_without_parameters_is_known_by_the_schedule_that_made_it(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = _schedule(here)
    with here.store.read() as session:
        made_by = session.get_one(ScheduleRow, schedule).prefect_id
    for creator, found in ((made_by, schedule), (uuid4(), None), (None, None)):
        run = SimpleNamespace(created_by=SimpleNamespace(id=creator))
        monkeypatch.setattr(FlowRunContext, "get", lambda run=run: SimpleNamespace(flow_run=run))
        assert schedule_of_run() == found
