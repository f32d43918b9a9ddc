"""`make promises`: a policy of one's own on the estate, from its first line to its last scan, judged on the wire.

Everything happens in two network namespaces of this machine, with no way out of either. Needs root. Exit codes: 0 all
is as it must be; 1 something is not; 2 it cannot be walked here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from deployments.show import say
from tests.estate import addresses as at
from tests.estate.account import Account, until
from tests.estate.estate import Estate, lacking
from tests.estate.promises_platform import Curl, Runs, Scan, at_once, prefect_of
from tests.estate.scanning import Pulsar
from tests.estate.stand_ins import StandIns
from tests.estate.zone import ROOT
from tests.processes import marked

START_SECONDS = 180.0
TARGET, ONE, EXCLUDED = "10.87.0.0/27", at.WWW, at.DEV
BUDGET = 250
POLICY: dict[str, Any] = {
    "name": "careful",
    "modules": {"nmap_discovery": {}, "nmap": {}, "http_probe": {}, "tls": {}, "ssh_audit": {}, "service_checks": {}},
    "ports": "1-250,443,465,587,993,6379,8080,8443,11211",
    "intensity": 2,
    "budget": BUDGET,
    "concurrency": 8,
    "required": ["nmap"],
}
FIRST_WINDOW, PAUSE, SECOND_WINDOW = timedelta(seconds=8), timedelta(seconds=60), timedelta(minutes=15)
BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "an intensity that there is not": ({"intensity": 6}, "intensity", "5"),
    "no unit at once": ({"concurrency": 0}, "concurrency", "1"),
    "a budget of nothing": ({"budget": 0}, "budget", "1"),
    "a port that there is not": ({"ports": "1-70000"}, "ports", "65535"),
    "a module that there is not": ({"modules": {"nmap": {}, "nessus": {}}}, "modules", "there are amass"),
    "an option out of bounds": ({"modules": {"nmap": {"timing": 9}}}, "modules.nmap.timing", "5"),
    "a day that there is not": ({"windows": [{"days": ["noday"], "from": "22:00", "until": "06:00"}]}, "windows", ""),
    "a field that there is not": ({"speed": "fast"}, "policy", "there are name"),
}
"""What is asked for, the field that is at fault, and a word of its bound."""

LEFT_OUT = re.compile(r"not touched: outside of the scope$|more records were left out$")


class Walk:
    """The story, told once. Its thread is in the scanner's namespace."""

    def __init__(self, estate: Estate, home: Path, stand_ins: StandIns) -> None:
        self.account = Account()
        self._estate = estate
        self._home = home
        self._settings: dict[str, str] = {"scope_exclude": f"{at.EXCLUDED},{EXCLUDED}", **stand_ins.settings}
        self._found: dict[str, list[str]] = {}

    def walk(self) -> None:
        """All of it."""
        with self._running() as (curl, runs):
            self._refuse(curl)
            self._write(curl)
            self._preview(curl)
            first = self._side_by_side(curl, runs)
            self._one_by_one(curl, runs)
            self._windowed(curl, runs)
            self._gone(curl, first)
            self._passive(curl)
        with self._running(fence="on") as (curl, _):
            self._fenced(curl)
        self._untouched()

    @contextmanager
    def _running(self, **settings: str) -> Iterator[tuple[Curl, Runs]]:
        pulsar = Pulsar(self._estate, self._home, **(self._settings | settings))
        with pulsar.platform(START_SECONDS), prefect_of(self._home) as runs:
            yield Curl(self._estate, self._home), runs

    def _refuse(self, curl: Curl) -> None:
        self.account.step("Policies that cannot be carried out")
        for what, (change, field, bound) in BAD.items():
            answer = curl("POST", "policies/", POLICY | change)
            faults = {one["field"]: one["problem"] for one in answer.body.get("fields", ())}
            told = next((problem for name, problem in faults.items() if name.startswith(field)), None)
            is_refused = answer.status == httpx.codes.UNPROCESSABLE_ENTITY and told is not None and bound in told
            self.account.holds(f"{what}: 422, the field and its bound", is_refused, answer)
            self.account.saw(json.dumps(faults))

    def _write(self, curl: Curl) -> None:
        self.account.step("A policy by curl")
        made = curl("POST", "policies/", POLICY)
        self.account.same("it is kept", made.status, httpx.codes.CREATED)
        told = curl.made("GET", "policies/careful/")
        self.account.same("as it was written", {key: told[key] for key in POLICY}, POLICY)

    def _preview(self, curl: Curl) -> None:
        self.account.step("Its preview")
        before = self._estate.packets()
        told = curl.made("POST", "policies/careful/preview/", {"target": TARGET})
        self.account.saw(
            json.dumps({key: told[key] for key in ("addresses", "totals", "seconds", "remarks")}, indent=1)
        )
        self.account.same("it does not count what is excluded", told["addresses"], 32 - 1)
        alone = POLICY | {"name": "alone", "modules": {"nmap": {}}}
        told = curl.made("POST", "policies/preview/", {"target": ONE, "policy": alone})
        self.account.same("nothing is sent for it", self._estate.packets(), before)
        (step,) = told["steps"]
        self.account.saw(step["runs"][0]["command"])
        scan = curl.ended(curl.made("POST", "scans/", {"target": ONE, "policy": alone}))
        sent = self._sent(before).get(ONE, 0)
        self.account.same("a scan of one host alone succeeds", scan["status"], "SUCCESS")
        words = (
            f"it sent {sent:,} packets, at least the {step['least']:,} and at most the {step['most']:,} of its preview"
        )
        self.account.holds(words, step["least"] <= sent <= step["most"])

    def _side_by_side(self, curl: Curl, runs: Runs) -> Scan:
        self.account.step("Eight units at once")
        scan = self._measured(curl, runs, {"target": TARGET, "policy": "careful"})
        most = at_once(runs.tasks_of(scan))
        self.account.holds(f"its task runs in Prefect are side by side: {most} at once", 1 < most <= 8)
        self._found = curl.found_by(scan)
        self.account.saw(str({name: len(ones) for name, ones in self._found.items()}))
        return scan

    def _one_by_one(self, curl: Curl, runs: Runs) -> None:
        self.account.step("The policy is edited: one unit at a time")
        curl.made("PATCH", "policies/careful/", {"concurrency": 1})
        scan = self._measured(curl, runs, {"target": TARGET, "policy": "careful"})
        self.account.same("its task runs in Prefect are one after another", at_once(runs.tasks_of(scan)), 1)
        self._finds_the_same(curl, scan)

    def _windowed(self, curl: Curl, runs: Runs) -> None:
        self.account.step("A window that closes in mid-scan")
        begin = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)
        closes, opens = begin + FIRST_WINDOW, begin + FIRST_WINDOW + PAUSE
        windows = [_window(begin, closes), _window(opens, opens + SECOND_WINDOW)]
        curl.made("PATCH", "policies/careful/", {"windows": windows, "concurrency": 8})
        scan = curl.made("POST", "scans/", {"target": TARGET, "policy": "careful"})
        waiting = until(lambda: self._put_back(curl, scan), "the scan does not wait", PAUSE.total_seconds() + 60)
        self.account.saw(f"{waiting['status']} {waiting['progress']} %: {waiting['waiting']}")
        self.account.saw(curl.made("GET", f"scans/{scan['id']}/explain/")["explanation"])
        self.account.same("no process of it is left meanwhile", marked(UUID(scan["id"])), set())
        self.account.holds("its run waits in Prefect", runs.state_of(scan) in {"AwaitingRetry", "Scheduled", "Late"})
        ended = curl.ended(scan)
        self.account.same("the next window finishes it", ended["status"], "SUCCESS")
        between = [run for run in runs.tasks_of(scan) if closes.timestamp() + 1 < run.begin < opens.timestamp() - 1]
        self.account.same("no unit began between the windows", between, [])
        self._finds_the_same(curl, ended)

    def _put_back(self, curl: Curl, scan: Scan) -> Scan | None:
        told: Scan = curl.made("GET", f"scans/{scan['id']}/")
        return told if told["status"] == "RETRY" and not marked(UUID(scan["id"])) else None

    def _gone(self, curl: Curl, first: Scan) -> None:
        self.account.step("The policy is deleted")
        self.account.same("it is gone", curl("DELETE", "policies/careful/").status, httpx.codes.NO_CONTENT)
        self.account.same("nobody knows it", curl("GET", "policies/careful/").status, httpx.codes.NOT_FOUND)
        kept = curl.made("GET", f"scans/{first['id']}/policy/")
        self.account.same(
            "the first scan keeps the one it had", {key: kept[key] for key in POLICY if key in kept}, POLICY
        )
        self.account.same("and all that it found", curl.found_by(first), self._found)
        again = curl.made("POST", f"scans/{first['id']}/rerun/")
        repeated = curl.made("GET", f"scans/{again['id']}/policy/")
        self.account.same("it can be done again as it was", repeated["concurrency"], POLICY["concurrency"])
        curl.made("POST", f"scans/{again['id']}/cancel/")
        self.account.same("which is cancelled", curl.ended(again)["status"], "REVOKED")

    def _passive(self, curl: Curl) -> None:
        self.account.step("A scan that is passive")
        before = self._estate.packets()
        scan = curl.ended(curl.made("POST", "scans/", {"target": ROOT, "policy": "passive"}))
        self.account.same("it succeeds", scan["status"], "SUCCESS")
        self.account.holds(f"it finds {scan['counts']['domains']} names", scan["counts"]["domains"] > 1)
        servers = {at.NS1, at.NS2}
        sent = {one: count for one, count in self._sent(before).items() if _is_target(one) and one not in servers}
        self.account.same("not one packet to a host of the target", sent, {})

    def _fenced(self, curl: Curl) -> None:
        self.account.step("The same platform with the fence on")
        self._finds_the_same(curl, self._ended(curl, {"target": TARGET, "policy": POLICY}))

    def _untouched(self) -> None:
        self.account.step("What must not be touched")
        self.account.same("the excluded host saw no packet", self._estate.packets().get(EXCLUDED, 0), 0)
        self.account.same("nobody else did either", self._estate.trespasses(), {})

    def _measured(self, curl: Curl, runs: Runs, request: dict[str, Any]) -> Scan:
        """A scan while the packets are counted."""
        with self._estate.meter() as meter:
            scan = self._ended(curl, request)
        reading = meter.reading()
        self.account.saw("\n".join(run.name for run in runs.tasks_of(scan)))
        peak = reading.peak(after=1.0)
        words = f"{reading.packets:,} packets in {reading.seconds:.0f} s, {peak} in the fullest second after the first"
        self.account.holds(f"{words}: at most 110 % of {BUDGET}", 0 < peak <= 1.1 * BUDGET)
        return scan

    def _ended(self, curl: Curl, request: dict[str, Any]) -> Scan:
        scan = curl.ended(curl.made("POST", "scans/", request))
        self.account.same("it succeeds", scan["status"], "SUCCESS")
        amiss = [line for line in scan["warnings"] if not LEFT_OUT.search(line)]
        self.account.same("it warns of nothing but names outside of the scope, which certificates have", amiss, [])
        return scan

    def _finds_the_same(self, curl: Curl, scan: Scan) -> None:
        for name, found in curl.found_by(scan).items():
            self.account.same_set(f"it finds the same {name.replace('-', ' ')}", found, self._found[name])

    def _sent(self, before: dict[str, int]) -> dict[str, int]:
        return {one: n - before.get(one, 0) for one, n in self._estate.packets().items() if n > before.get(one, 0)}


def _window(opens: datetime, closes: datetime) -> dict[str, str]:
    return {"from": f"{opens:%H:%M:%S}", "until": f"{closes:%H:%M:%S}"}


def _is_target(address: str) -> bool:
    return any(ip_address(address) in ip_network(network) for network in (at.NET, at.NET6))


def main() -> int:
    """Walk through it, and say how it was."""
    if reason := lacking():
        say(f"This cannot be walked here: {reason}.", stderr=True)
        return 2
    with (
        Estate() as estate,
        StandIns(estate.scanner) as stand_ins,
        tempfile.TemporaryDirectory(prefix="pulsar-promises-") as place,
        estate.scanner.entered(),
    ):
        walk = Walk(estate, Path(place) / "home", stand_ins)
        try:
            walk.walk()
        except (TimeoutError, RuntimeError, subprocess.CalledProcessError, httpx.HTTPError) as trouble:
            walk.account.holds("the walk comes to its end", False, trouble)
    wrong = len(walk.account.wrong)
    say(f"\n{walk.account.checked} claims, {wrong} of them wrong.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
