"""Events of scans in Prefect: what they say, and that a Prefect that is not there matters to no scan."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import events
from footprint.drift import Change, Difference
from footprint.policy import PRESETS
from footprint.records import Host, Service
from footprint.states import Status
from footprint.store.differences import Drift
from footprint.store.scans import Begun
from footprint.store.tables import Scan
from footprint.verdict import Verdict

HOSTILE = Service("127.0.0.1", 80, product="x\x00\x1b[31m\ud800")
SCAN = Begun(uuid4(), uuid4(), Host("127.0.0.1"), PRESETS["quick"], 1, {})
Sent = list[tuple[str, dict[str, str], dict[str, Any]]]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """What is handed to Prefect's client."""
    found: Sent = []

    def emit(event: str, resource: dict[str, str], related: object, payload: dict[str, Any]) -> None:
        found.append((event, resource, payload))

    monkeypatch.setattr(events, "emit_event", emit)
    return found


def drift(*differences: Difference) -> Drift:
    return Drift(Scan(), None, differences, {})


def test_an_event_names_the_scan_and_says_what_came_of_it_in_clean_text(sent: Sent) -> None:
    changed = [Difference(Change.NEW, replace(HOSTILE, port=port)) for port in range(1, 31)]
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        events.tell_started(SCAN)
        events.tell_finished(SCAN, Verdict(Status.FAILURE, error="nmap:\x00 broke\n\x1b[31m"))
        events.tell_changed(SCAN, drift(*changed, Difference(Change.NOT_LOOKED_AT, HOSTILE)))
        events.tell_changed(SCAN, drift(Difference(Change.NOT_LOOKED_AT, HOSTILE)))
        events.tell_changed(SCAN, None)
    assert [event for event, _, _ in sent] == [events.STARTED, events.FINISHED, events.CHANGED]
    assert {resource["prefect.resource.id"] for _, resource, _ in sent} == {f"pulsar.scan.{SCAN.id}"}
    assert sent[1][1]["pulsar.status"] == "FAILURE"
    assert sent[1][2]["error"] == "nmap: broke [31m"
    assert (sent[2][2]["changed"], len(sent[2][2]["lines"])) == ({"new": 30}, events.LINES_SENT)
    assert not [char for char in str(sent) if char in "\x00\x1b\ud800"]


def test_without_an_address_nothing_is_sent_and_no_server_is_started(sent: Sent) -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        events.tell_started(SCAN)
    assert sent == []


def test_what_prefect_does_not_take_is_logged_and_harms_no_scan(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("too large")

    monkeypatch.setattr(events, "emit_event", broken)
    monkeypatch.setattr(events, "get_run_logger", lambda: logging.getLogger("tests"))
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        events.tell_started(SCAN)
    assert "Prefect was not told of pulsar.scan.started" in caplog.text
