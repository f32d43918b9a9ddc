"""A platform beside the recurring estate, as its users reach it: the command, the API, Prefect's API, two receivers."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.conftest import TERMINAL, PrefectClient, take_csrf_token
from tests.estate.account import until
from tests.estate.recurring_estate import NET, NS, RecurringEstate
from tests.estate.scanning import Pulsar
from tests.receivers import HttpReceiver, MailServer

API, PREFECT = "http://127.0.0.1:8000", "http://127.0.0.1:4200/api"
"""Where they are in a namespace that is nobody else's."""
START_SECONDS, SCAN_SECONDS, TOLD_SECONDS = 180.0, 300.0, 60.0
Scan = dict[str, Any]
Schedule = dict[str, Any]


def pulsar_beside(estate: RecurringEstate, home: Path, tools: Path, **settings: str) -> Pulsar:
    """The command, with what a scan every minute on this estate needs. `tools` is where tools are looked for first."""
    return Pulsar(
        estate,
        home,
        resolvers=NS,
        scope_allow=NET,
        scope_exclude="",
        schedule_min_interval="60",
        notify_allow="127.0.0.0/8",
        tools_path=str(tools),
        **settings,
    )


@dataclass(frozen=True, slots=True)
class Told:
    """What one receiver of each kind has got so far."""

    hook: HttpReceiver
    mail: MailServer

    @property
    def count(self) -> tuple[int, int]:
        """Mails, calls of the webhook."""
        return len(self.mail.raw), len(self.hook.came)

    def mails(self) -> list[EmailMessage]:
        """The mails."""
        return self.mail.mails

    def is_signed(self, number: int, secret: str) -> bool:
        """Whether a call of the webhook carries the signature that the README describes."""
        headers, body = self.hook.came[number]
        said = dict(part.split("=", 1) for part in headers["Pulsar-Signature"].split(","))
        mac = hmac.new(secret.encode(), said["t"].encode() + b"." + body, hashlib.sha256)
        return hmac.compare_digest(mac.hexdigest(), said["v1"])


class Watched:
    """The running platform, asked over HTTP as its clients do."""

    def __init__(self, api: httpx.Client, prefect: PrefectClient) -> None:
        self.api = api
        self.prefect = prefect

    def read(self, path: str, **wanted: Any) -> Any:
        """What the API answers."""
        return self.api.get(f"/api/{path}", params=wanted).raise_for_status().json()

    def scans(self, schedule: Schedule) -> list[Scan]:
        """A schedule's scans, the oldest first."""
        return list(reversed(self.read("scans/", schedule=schedule["id"], page_size=100)["results"]))

    def next_end(self, schedule: Schedule, number: int) -> Scan:
        """The scan of this number, once it has ended and all that is to be told of it is decided."""
        self._until(lambda: len(self.scans(schedule)) >= number, f"scan {number} of the schedule has not begun")
        ended: Scan = self._until(lambda: self._ended(schedule, number), f"scan {number} of the schedule has not ended")
        self._until(lambda: self._decided(ended), "it is not decided who is told")
        return ended

    def told(self, scan: Scan) -> dict[str, str]:
        """Who is told of a scan, and how far that is."""
        rows = self.read(f"scans/{scan['id']}/notifications/")["results"]
        return {row["receiver"]: row["status"] for row in rows}

    def delivered(self, scan: Scan) -> bool:
        """Whether all of its receivers have their message."""
        return set(self.told(scan).values()) == {"delivered"}

    def ask_prefect(self, path: str, **body: Any) -> Any:
        """What Prefect's API answers to a filter."""
        return self.prefect.post(path, json=body).raise_for_status().json()

    def artifacts(self, scan: Scan) -> dict[str, dict[str, Any]]:
        """The artifacts of a scan's run, by the first word of their keys."""
        wanted = {"flow_run_id": {"any_": [scan["task_id"]]}}
        found: list[dict[str, Any]] = self.ask_prefect("/artifacts/filter", artifacts=wanted)
        return {one["key"].partition("-")[0]: one for one in found}

    def in_prefect(self, schedule: Schedule) -> list[dict[str, Any]]:
        """The schedules of the deployment that are this one: one, or none."""
        deployment = self.prefect.get("/deployments/name/dispatch_scan/pulsar").raise_for_status().json()
        schedules: list[dict[str, Any]] = deployment["schedules"]
        return [one for one in schedules if (one["slug"] or "").endswith(schedule["id"])]

    def due_in_prefect(self, schedule: Schedule) -> list[str]:
        """When the runs that Prefect has made ahead for it are to begin, the next first."""
        wanted = {"state": {"type": {"any_": ["SCHEDULED"]}}}
        runs = self.ask_prefect("/flow_runs/filter", flow_runs=wanted, limit=200)
        own = [run for run in runs if run["parameters"].get("schedule_id") == schedule["id"]]
        return sorted(run["expected_start_time"] for run in own)

    def add_mail_block(self, name: str, port: int) -> None:
        """Set a block for mail up, as the Prefect UI does."""
        kind = until(self._mail_kind, "the block for mail is not offered in Prefect", START_SECONDS)
        schemas = {"block_type_id": {"any_": [kind]}}
        schema = self.ask_prefect("/block_schemas/filter", block_schemas=schemas)[0]["id"]
        data = {"host": "127.0.0.1", "port": port, "encryption": "none", "sender": "pulsar@example.test"}
        document = {"name": name, "block_type_id": kind, "block_schema_id": schema}
        document |= {"data": data | {"to": ["oncall@example.test"]}}
        self.prefect.post("/block_documents/", json=document).raise_for_status()

    def _mail_kind(self) -> str | None:
        found = self.prefect.get("/block_types/slug/smtp-mail")
        return str(found.json()["id"]) if found.is_success else None

    def _ended(self, schedule: Schedule, number: int) -> Scan | None:
        scan = self.scans(schedule)[number - 1]
        return scan if scan["status"] in TERMINAL else None

    def _decided(self, scan: Scan) -> bool:
        return "undecided" not in self.told(scan).values()

    def _until(self, look: Any, what: str) -> Any:
        return until(look, what, SCAN_SECONDS)


@contextmanager
def watched(home: Path) -> Iterator[Watched]:
    """Clients of the platform of this home, which runs in this thread's namespace."""
    user, _, password = (home / "prefect-auth").read_text().strip().partition(":")
    headers = {"Authorization": f"Token {(home / 'token').read_text().strip()}"}
    with (
        httpx.Client(base_url=API, headers=headers, timeout=30, trust_env=False) as api,
        PrefectClient(base_url=PREFECT, auth=(user, password), timeout=30, trust_env=False) as prefect,
    ):
        take_csrf_token(prefect)
        yield Watched(api, prefect)


def differences(pulsar: Pulsar, scan: Scan) -> tuple[list[str], dict[str, Any]]:
    """What `pulsar diff` says differs in a scan, a line each, and all that it says."""
    told = json.loads(pulsar.output(["diff", scan["id"], "--json"]))
    return [_line(each) for each in told["results"]], told


def _line(each: dict[str, Any]) -> str:
    fields = "; ".join(f"{step['field']} {step['before']} -> {step['after']}" for step in each["fields"])
    title = f" ({each['title']})" if each["title"] else ""
    return f"{each['change']} {each['kind']} {each['subject']}{title}{f': {fields}' if fields else ''}"
