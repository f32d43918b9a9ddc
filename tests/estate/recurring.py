"""`make recurring`: scans that repeat, on an estate that changes; who is told of what, and what is cleaned up.

Everything happens in two network namespaces of this machine, with no way out of either. Needs root, and some seven
minutes, as a schedule comes due once a minute at most. Exit codes: 0 all is as it must be; 1 something is not; 2 it
cannot be walked here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import update

from deployments.show import say
from footprint.store import open_store
from footprint.store.tables import Scan as ScanRow
from tests.estate.account import Account, until
from tests.estate.recurring_estate import OLD, ROOT, RecurringEstate, lacking
from tests.estate.recurring_platform import (
    START_SECONDS,
    TOLD_SECONDS,
    Scan,
    Schedule,
    Told,
    Watched,
    differences,
    pulsar_beside,
    watched,
)
from tests.estate.recurring_truth import after_the_change, after_the_outage
from tests.receivers import http_receiver, mail_server

RECEIVERS = ["smtp-mail/oncall", "signed-webhook/siem"]
POLICY: dict[str, Any] = {
    "name": "recurring",
    "modules": {"dns": {}, "dns_brute": {"wordlist": "small"}, "nmap": {}, "tls": {}, "http_probe": {}},
    "ports": "21,22,25,80,443,6379",
    "intensity": 5,
    "required": ["nmap"],
    "notify": {"to": RECEIVERS},
}
BROKEN = "#!/bin/sh\necho 'nmap: error while loading shared libraries: libpcap.so.0.8' >&2\nexit 127\n"
LONG_AGO = timedelta(hours=2)
"""Scans that ended within the last hour are left alone by the cleanup."""


class Walk:
    """The story, told once. Its thread is in the scanner's namespace."""

    def __init__(self, estate: RecurringEstate, home: Path, told: Told) -> None:
        self.account = Account()
        self._estate = estate
        self._home = home
        self._told = told
        self._tools = home.parent / "tools"
        self._tools.mkdir()
        self._pulsar = pulsar_beside(estate, home, self._tools)
        self._secret = ""
        self._schedule: Schedule = {}

    def walk(self) -> None:
        """All of it."""
        with self._running() as platform:
            self._set_up(platform)
            self._first(platform)
            self._second(platform)
            self._third(platform)
            fourth = self._fourth(platform)
        (self._tools / "nmap").unlink()
        with self._running() as platform:
            self._fifth(platform, fourth)
            self._clean(platform)
        self.account.same("nothing was sent beside the estate", self._estate.trespasses(), {})

    @contextmanager
    def _running(self) -> Iterator[Watched]:
        with self._pulsar.platform(START_SECONDS), watched(self._home) as platform:
            yield platform

    def _set_up(self, platform: Watched) -> None:
        self.account.step("The platform is up; who is to be told; a schedule")
        platform.add_mail_block("oncall", self._told.mail.port)
        made = json.loads(self._pulsar.output(["webhook", "add", "siem", self._told.hook.url, "--json"]))
        self._secret = made["secret"]
        self._keep_policy([])
        words = ["schedule", "add", ROOT, "--policy", "recurring", "--every", "60s", "--comment", "every minute"]
        self._schedule = json.loads(self._pulsar.output([*words, "--json"]))
        self._seen("schedule", "list")

    def _first(self, platform: Watched) -> None:
        self.account.step("The first run")
        first = self._ended(platform, 1, "SUCCESS")
        self._shows_the_schedule(platform)
        self._pause()
        self.account.same("nobody is told anything", self._told.count, (0, 0))
        self.account.same("it is decided so", set(platform.told(first).values()), {"not_needed"})
        refused = platform.api.get(f"/api/scans/{first['id']}/diff/")
        self.account.same("there is nothing to compare with", refused.status_code, 404)
        self.account.saw(refused.json()["detail"])

    def _second(self, platform: Watched) -> None:
        self.account.step("The estate changes; the second run")
        self._estate.change()
        self._resume()
        second = self._ended(platform, 2, "SUCCESS")
        self._pause()
        self._seen("diff", second["id"])
        lines, told = differences(self._pulsar, second)
        self.account.same_set("the diff is exactly what changed", lines, after_the_change(self._estate))
        until(lambda: platform.delivered(second), "not everybody is told", TOLD_SECONDS)
        self.account.same("one mail and one call of the webhook have come", self._told.count, (1, 1))
        self._agree(second, told)
        self._artifacts(platform, second, {"services", "changes", "verdict"})

    def _third(self, platform: Watched) -> None:
        self.account.step("nmap is broken, and a server ends that nobody can see; the third run")
        self._break_nmap()
        self._estate.end("ssh")
        self._resume()
        third = self._ended(platform, 3, "FAILURE")
        self._pause()
        self._nothing_gone(third)
        until(lambda: platform.delivered(third), "not everybody is told", TOLD_SECONDS)
        self.account.same("its rules ask for a message of failure: one each", self._told.count, (2, 2))
        said = self._told.hook.contents[-1]
        self.account.same("the webhook says that it failed", (said["type"], said["status"]), ("scan.failed", "FAILURE"))
        self._show_mail()

    def _fourth(self, platform: Watched) -> Scan:
        self.account.step("The policy does not need nmap any more; the fourth run, nmap still broken")
        self._keep_policy(["--replace"], required=["dns"])
        self._resume()
        fourth = self._ended(platform, 4, "SUCCESS")
        self.account.holds("it warns of nmap", any("nmap" in line for line in fourth["warnings"]), fourth["warnings"])
        self._nothing_gone(fourth)
        self.account.same("its rules ask for no message", self._told.count, (2, 2))
        self.account.same("it is decided so", set(platform.told(fourth).values()), {"not_needed"})
        return fourth

    def _fifth(self, platform: Watched, fourth: Scan) -> None:
        self.account.step("Everything was stopped and is up again, nmap is whole; the fifth run")
        before = len(platform.scans(self._schedule))
        self.account.holds("scans are what they were", before >= 4, before)
        fifth = self._whole(platform, fourth)
        self._pause()
        self._seen("diff", fifth["id"])
        lines, told = differences(self._pulsar, fifth)
        self.account.same_set("the diff is what ended unseen, and nothing else", lines, after_the_outage())
        until(lambda: platform.delivered(fifth), "not everybody is told", TOLD_SECONDS)
        self.account.same("one message more each, and none twice", self._told.count, (3, 3))
        self._agree(fifth, told)

    def _whole(self, platform: Watched, fourth: Scan) -> Scan:
        """The first scan after the restart for which nmap was whole."""
        number = len(platform.scans(self._schedule))
        number += platform.scans(self._schedule)[-1]["id"] == fourth["id"]
        while True:
            scan = self._ended(platform, number, "SUCCESS")
            if not scan["warnings"]:
                return scan
            number += 1

    def _clean(self, platform: Watched) -> None:
        self.account.step("Two hours later: cleanup")
        self._age()
        pulsar = pulsar_beside(self._estate, self._home, self._tools, keep_scans="1")
        scans = platform.scans(self._schedule)
        self.account.saw(pulsar.output(["cleanup", "--dry-run"]))
        planned = {scan["id"] for scan in json.loads(pulsar.output(["cleanup", "--dry-run", "--json"]))["scans"]}
        self.account.same("a dry run deletes nothing", platform.scans(self._schedule), scans)
        last_good = [scan["id"] for scan in scans if scan["status"] == "SUCCESS"][-1]
        others = {scan["id"]: scan["task_id"] for scan in scans if scan["id"] != last_good}
        witness = scans[0]["id"]
        self.account.saw(f"{witness} was the last to see {OLD}:80/tcp, of which it is not known that it is gone")
        wanted = others.keys() - {witness}
        self.account.same_set("it would delete all but the last good scan and the last witness", planned, wanted)
        self.account.saw(pulsar.output(["cleanup"]))
        left = {scan["id"] for scan in platform.scans(self._schedule)}
        self.account.same_set("just that is deleted", {scan["id"] for scan in scans} - left, planned)
        self.account.holds("the last good scan stays", last_good in left)
        runs = {platform.prefect.get(f"/flow_runs/{others[one]}").status_code for one in planned}
        self.account.same("their runs in Prefect are deleted as well", runs, {404})

    def _ended(self, platform: Watched, number: int, status: str) -> Scan:
        scan = platform.next_end(self._schedule, number)
        self._seen("status", scan["id"])
        self.account.same(f"scan {number} ended as {status}", scan["status"], status)
        self.account.same("it names its schedule", scan["schedule"], self._schedule["id"])
        return scan

    def _shows_the_schedule(self, platform: Watched) -> None:
        (there,) = platform.in_prefect(self._schedule)
        self.account.holds("the schedule is active in Prefect", there["active"])
        ours = platform.read(f"schedules/{self._schedule['id']}/")
        until(lambda: len(platform.due_in_prefect(self._schedule)) >= 5, "Prefect makes no runs ahead", TOLD_SECONDS)
        theirs = platform.due_in_prefect(self._schedule)
        self.account.same("Prefect's next runs are the API's", _moments(theirs)[:5], _moments(ours["next_runs"]))

    def _nothing_gone(self, scan: Scan) -> None:
        self._seen("diff", scan["id"])
        lines, told = differences(self._pulsar, scan)
        words = {line.split()[0] for line in lines}
        self.account.same("the diff says 'not looked at', and of nothing else anything", words, {"not_looked_at"})
        services = told["counts"].get("services", {}).get("not_looked_at", 0)
        self.account.holds("services are among what was not looked at", services)

    def _agree(self, scan: Scan, diff: dict[str, Any]) -> None:
        """The mail, the call of the webhook and the diff say the same."""
        self._show_mail()
        said = self._told.hook.contents[-1]
        self.account.holds("the webhook's signature is right", self._told.is_signed(-1, self._secret))
        self.account.same("it is of this scan", (said["type"], said["scan"]), ("scan.changed", scan["id"]))
        counts: dict[str, int] = {}
        for kind in diff["counts"].values():
            for change, number in kind.items():
                counts |= {change: counts.get(change, 0) + number} if number else {}
        self.account.same("it counts what the diff counts", said["changed"], counts)
        text = self._told.mails()[-1].get_content()
        self.account.holds("the mail has the webhook's lines", all(line in text for line in said["lines"]))
        self.account.holds("both link to the scan and its run", all(link in text for link in said["links"].values()))
        numbers = [content["id"] for content in self._told.hook.contents]
        self.account.same("each event has its own id", len(set(numbers)), len(numbers))

    def _artifacts(self, platform: Watched, scan: Scan, wanted: set[str]) -> None:
        until(lambda: wanted <= set(platform.artifacts(scan)), f"Prefect does not have all of {wanted}", TOLD_SECONDS)
        self.account.holds(
            "Prefect has the artifacts: report, services, changes", wanted <= set(platform.artifacts(scan))
        )
        self.account.saw(platform.artifacts(scan)["verdict"]["data"])

    def _show_mail(self) -> None:
        mail = self._told.mails()[-1]
        self.account.saw(f"Subject: {mail['Subject']}\n\n{mail.get_content()}")

    def _keep_policy(self, words: Sequence[str], **other: Any) -> None:
        file = self._home.parent / "policy.json"
        file.write_text(json.dumps(POLICY | other))
        self._pulsar.output(["policy", "add", str(file), *words])

    def _break_nmap(self) -> None:
        broken = self._tools / "nmap"
        broken.write_text(BROKEN)
        broken.chmod(0o755)

    def _pause(self) -> None:
        self._pulsar.output(["schedule", "pause", self._schedule["id"]])

    def _resume(self) -> None:
        self.account.saw(self._pulsar.output(["schedule", "resume", self._schedule["id"]]))

    def _seen(self, *words: str) -> None:
        self.account.saw(f"$ pulsar {' '.join(words)}\n{self._pulsar.output(words)}")

    def _age(self) -> None:
        """Have all scans been so much earlier: a clock cannot be turned for one home."""
        store = open_store(self._pulsar.store_url)
        try:
            with store.write() as session:
                for scan in session.query(ScanRow):
                    at = {name: getattr(scan, name) - LONG_AGO for name in ("created_at", "finished_at")}
                    session.execute(update(ScanRow).where(ScanRow.id == scan.id).values(**at))
        finally:
            store.close()


def _moments(texts: list[str]) -> list[datetime]:
    return [datetime.fromisoformat(text) for text in texts]


@contextmanager
def _receivers() -> Iterator[Told]:
    with http_receiver() as hook, mail_server() as mail:
        yield Told(hook, mail)


def main() -> int:
    """Walk through it, and say how it was."""
    if reason := lacking():
        say(f"This cannot be walked here: {reason}.", stderr=True)
        return 2
    with RecurringEstate() as estate, tempfile.TemporaryDirectory(prefix="pulsar-walk-") as place:
        home = Path(place) / "home"
        with estate.scanner.entered(), _receivers() as told:
            walk = Walk(estate, home, told)
            try:
                walk.walk()
            except (TimeoutError, subprocess.CalledProcessError, httpx.HTTPError) as trouble:
                walk.account.holds("the walk comes to its end", False, trouble)
                walk.account.saw(getattr(trouble, "stderr", ""))
    wrong = len(walk.account.wrong)
    say(f"\n{walk.account.checked} claims, {wrong} of them wrong.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
