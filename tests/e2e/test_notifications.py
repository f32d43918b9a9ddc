"""A change is told: by mail, by a signed webhook, and by events that an automation of Prefect's hears."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from tests.e2e.conftest import Running, Scan
from tests.estate.listeners import FTP, SSH, Listeners, Place, Script
from tests.receivers import MailServer, http_receiver, mail_server

pytestmark = pytest.mark.platform

ADDRESS = "127.0.84.1"
AUTOMATION = Path(__file__).parents[2] / "deployments" / "automations" / "many_scans_fail.yaml"
HOSTILE = Script(b"220 ProFTPD 1.3.5<!channel>[x](https://evil.test)\x1b[31m Server (x) [127.0.84.1]\r\n")
CHANGED = {"new": 1, "changed": 1}
Found = TypeVar("Found")


def until(look: Callable[[], Found], what: str, seconds: float = 60) -> Found:
    """What is seen, as soon as there is any of it."""
    give_up = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < give_up, what
        time.sleep(0.3)
    return found


def mail_block(platform: Running, name: str, port: int) -> None:
    """Set a block up for mail, as the Prefect UI does."""
    kinds = "/block_types/slug/smtp-mail"
    until(lambda: platform.prefect.get(kinds).status_code == 200, "the block for mail is not offered in Prefect")
    kind = platform.prefect.get(kinds).json()["id"]
    wanted = {"block_schemas": {"block_type_id": {"any_": [kind]}}}
    schema = until(lambda: platform.prefect.post("/block_schemas/filter", json=wanted).json(), "it has no schema")[0]
    data = {"host": "127.0.0.1", "port": port, "encryption": "none", "sender": "pulsar@example.test"}
    document = {
        "name": name,
        "block_type_id": kind,
        "block_schema_id": schema["id"],
        "data": {**data, "to": ["oncall@example.test"]},
    }
    platform.prefect.post("/block_documents/", json=document).raise_for_status()


def events_of(platform: Running, scan: Scan) -> dict[str, Any]:
    wanted = {
        "filter": {
            "event": {"prefix": ["pulsar.scan."]},
            "resource": {"id": [f"pulsar.scan.{scan['id']}"]},
            "occurred": {"since": "2020-01-01T00:00:00Z"},
        }
    }
    found = platform.prefect.post("/events/filter", json=wanted).raise_for_status().json()["events"]
    return {event["event"].removeprefix("pulsar.scan."): event for event in found}


def policy(name: str) -> dict[str, Any]:
    notify = {"to": [f"smtp-mail/{name}", f"signed-webhook/{name}", "slack-webhook/nobody"]}
    return {"modules": {"nmap": {}}, "ports": "2001,2121", "required": ["nmap"], "notify": notify}


def tellings(platform: Running, scan: Scan) -> dict[str, dict[str, Any]]:
    rows = platform.api.get(f"/api/scans/{scan['id']}/notifications/").json()["results"]
    return {row["receiver"].partition("/")[0]: row for row in rows}


def test_a_change_is_told_by_mail_and_webhook_and_in_prefects_events(platform: Running) -> None:
    name = f"told-{uuid4().hex[:8]}"
    with http_receiver() as hook, mail_server() as mails:
        mail_block(platform, name, mails.port)
        made = platform.api.post("/api/webhooks/", json={"name": name, "url": hook.url})
        assert made.status_code == 201, made.text
        with Listeners([Place(ADDRESS, 2121, FTP)]):
            first = platform.finish(platform.ask(ADDRESS, policy(name)))
        assert {row["status"] for row in tellings(platform, first).values()} == {"not_needed"}
        with Listeners([Place(ADDRESS, 2121, HOSTILE), Place(ADDRESS, 2001, SSH)]):
            second = platform.finish(platform.ask(ADDRESS, policy(name)))
        _is_told(platform, second, mails)
        until(lambda: tellings(platform, second)["signed-webhook"]["status"] == "delivered", "no webhook came")
        assert (len(mails.raw), len(hook.came)) == (1, 1)
        (said,) = hook.contents
    assert (said["type"], said["changed"], said["scan"]) == ("scan.changed", CHANGED, second["id"])
    assert said["links"]["prefect_run"].endswith(f"/runs/flow-run/{second['task_id']}")
    assert "Prefect has no such block" in str(
        until(lambda: tellings(platform, second)["slack-webhook"]["last_error"], "the missing block was not missed")
    )
    explained = platform.api.get(f"/api/scans/{second['id']}/explain/").json()["explanation"]
    assert f"Told of it: smtp-mail/{name}, signed-webhook/{name}." in explained
    events = until(lambda: _all_of(events_of(platform, second)), "Prefect was not told")
    assert events["finished"]["resource"]["pulsar.status"] == "SUCCESS"
    assert events["changed"]["payload"]["changed"] == CHANGED
    roles = {one["prefect.resource.role"] for one in events["started"]["related"]}
    assert {"flow-run", "deployment", "work-pool", "asset"} <= roles
    assert set(events_of(platform, first)) == {"started", "finished"}
    # With it goes what waits for the block that is not there: the platform is in order for the tests to come.
    platform.api.delete(f"/api/scans/{second['id']}/").raise_for_status()


def _all_of(events: dict[str, Any]) -> dict[str, Any] | None:
    return events if {"started", "finished", "changed"} <= set(events) else None


def _is_told(platform: Running, scan: Scan, mails: MailServer) -> None:
    until(lambda: tellings(platform, scan)["smtp-mail"]["status"] == "delivered", "no mail came")
    (mail,) = mails.mails
    assert mail["Subject"] == f"Pulsar: {ADDRESS}: 1 new, 1 changed"
    assert mail["Message-ID"] == f"<{tellings(platform, scan)['smtp-mail']['event_id']}@pulsar.invalid>"
    assert mail["Bcc"] is None
    text = mail.get_content()
    assert f"+ new service {ADDRESS}:2001/tcp" in text
    assert f"~ changed service {ADDRESS}:2121/tcp: product vsftpd → ProFTPD; version 3.0.3 → 1.3.5<!channel>" in text
    assert f"/api/scans/{scan['id']}/" in text
    assert "\x1b" not in text


def test_the_example_automation_is_taken_by_prefect_and_heard(platform: Running) -> None:
    pool = platform.prefect.post("/work_pools/", json={"name": f"spare-{uuid4().hex[:8]}", "type": "process"}).json()
    secret = (platform.settings.home / "prefect-auth").read_text().strip()
    environment = {
        **os.environ,
        "PREFECT_API_URL": str(platform.prefect.base_url).rstrip("/"),
        "PREFECT_API_AUTH_STRING": secret,
        "PREFECT_HOME": str(platform.settings.home / "prefect-client"),
    }
    command = [sys.executable, "-m", "prefect", "automation", "create", "--from-file", str(AUTOMATION)]
    made = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stdout + made.stderr
    automations = platform.prefect.post("/automations/filter", json={}).json()
    (kept,) = [one for one in automations if one["name"] == "pulsar-many-scans-fail"]
    try:
        give_up = time.monotonic() + 60
        while not platform.prefect.get(f"/work_pools/{pool['name']}").json()["is_paused"]:
            # A trigger that was just made is known to the server's other half a moment later.
            assert time.monotonic() < give_up, "the automation was not triggered"
            events = [_failed(pool["id"]) for _ in range(5)]
            platform.prefect.post("/events", json=events).raise_for_status()
            time.sleep(1)
    finally:
        platform.prefect.delete(f"/automations/{kept['id']}").raise_for_status()
        platform.prefect.delete(f"/work_pools/{pool['name']}").raise_for_status()


def _failed(pool_id: str) -> dict[str, Any]:
    """The event of a scan that failed, on another pool than that of these tests."""
    return {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "pulsar.scan.finished",
        "resource": {"prefect.resource.id": f"pulsar.scan.{uuid4()}", "pulsar.status": "FAILURE"},
        "related": [
            {"prefect.resource.id": f"prefect.work-pool.{pool_id}", "prefect.resource.role": "work-pool"},
        ],
        "payload": {},
    }
