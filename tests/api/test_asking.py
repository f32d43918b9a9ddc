"""Asking for a scan when Prefect fails in the middle: nothing is half-made, and nothing is made twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from api.asking import Desk
from api.prefect import PrefectGateway
from api.schemas import ScanRequest
from footprint.errors import Conflict, PrefectUnavailable
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.scans import begin
from footprint.store.tables import Scan

ASKED = ScanRequest(target="127.0.0.1", policy="quick")


class Prefect(PrefectGateway):
    """Stands in for Prefect where it must fail at a certain moment. `starts` are the scans whose run was asked for."""

    def __init__(self, answer: Callable[[UUID], UUID]) -> None:
        self._answer = answer
        self.starts: list[UUID] = []

    async def start(self, scan_id: UUID, name: str, at: datetime | None = None) -> UUID:
        """Do what the test says."""
        self.starts.append(scan_id)
        return self._answer(scan_id)


def _away(scan_id: UUID) -> UUID:
    raise PrefectUnavailable("Prefect cannot be reached")


def _rows(store: Store) -> int:
    with store.read() as session:
        return session.scalar(select(func.count()).select_from(Scan)) or 0


async def test_a_known_key_is_answered_without_prefect(opened: Store, settings: Settings) -> None:
    made = await Desk(settings, opened, Prefect(lambda scan_id: uuid4())).ask(ASKED, "key")
    away = Prefect(_away)
    assert (await Desk(settings, opened, away).ask(ASKED, "key")).task_id == made.task_id
    assert away.starts == []
    with pytest.raises(Conflict):
        await Desk(settings, opened, away).ask(ASKED.model_copy(update={"comment": "another"}), "key")


async def test_a_scan_whose_run_was_made_although_its_answer_was_lost_is_not_denied(
    opened: Store, settings: Settings
) -> None:
    run = uuid4()

    def taken_up(scan_id: UUID) -> UUID:
        with opened.write() as session:
            begin(session, scan_id, run)
        return _away(scan_id)

    scan = await Desk(settings, opened, Prefect(taken_up)).ask(ASKED, None)
    assert (scan.task_id, scan.status, _rows(opened)) == (run, "STARTED", 1)


async def test_a_scan_whose_run_was_not_made_leaves_nothing(opened: Store, settings: Settings) -> None:
    with pytest.raises(PrefectUnavailable):
        await Desk(settings, opened, Prefect(_away)).ask(ASKED, "key")
    assert _rows(opened) == 0
