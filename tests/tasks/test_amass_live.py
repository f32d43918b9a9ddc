"""The installed Amass, run as scans run it, in a namespace from which nothing leads out, against DNS of our own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.runner import search_path
from tests.estate.addresses import PUBLIC_RESOLVERS
from tests.estate.namespaces import GATEWAY, Namespaces
from tests.tasks.amass_inside import MAIL, NEIGHBOUR, NS, RESOLVER, ROOT, VPN, WWW

BRUTE = {"mode": "brute", "words": ["www", "mail", "vpn", "shop", "cdn", "nosuch"], "seconds": 100}
ALIASES = {f"shop.{ROOT}": f"www.{ROOT}", f"cdn.{ROOT}": "edge.neighbour.test", f"www.{ROOT}": None}
FOUND = (WWW, MAIL, VPN, NEIGHBOUR)
SECONDS = 90
"""Amass loads a list of networks for ten seconds and more before it looks anything up."""


@pytest.fixture(scope="module", autouse=True)
def _amass() -> None:
    if shutil.which("amass", path=search_path()) is None:
        if os.environ.get("CI"):
            pytest.fail("Amass is not installed: make tools TOOLS=amass")
        pytest.skip("Amass is not installed: make tools TOOLS=amass")


@pytest.fixture
def internet(namespaces: Namespaces, tmp_path: Path) -> Iterator[Namespaces]:
    """Two namespaces; in the estate's, name servers answer wherever Amass asks."""
    told = namespaces.scanner.run(["amass", "-version"], env={"PATH": search_path(), "HOME": str(tmp_path)})
    if "v4." not in told.stdout + told.stderr:
        pytest.skip("the Amass that is installed is not one that make tools builds")
    namespaces.add(*PUBLIC_RESOLVERS, RESOLVER, NS)
    server = namespaces.estate.popen(_inside("serve"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    with server:
        assert server.stdout.readline() == "ready\n"
        yield namespaces
        server.terminate()


def _inside(*words: str) -> list[str]:
    return [sys.executable, "-m", "tests.tasks.amass_inside", *words]


def _start(internet: Namespaces, home: Path) -> subprocess.Popen[str]:
    argv = _inside("scan", str(home), json.dumps(BRUTE))
    return internet.scanner.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _until(is_so: Callable[[], object]) -> bool:
    """Whether it came to be so in time."""
    end = time.monotonic() + SECONDS
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _hosts(said: dict[str, Any]) -> set[tuple[str, str | None, str | None]]:
    hosts = (record for record in said["records"] if record["kind"] == "host")
    return {(host["address"], host["name"], host.get("via")) for host in hosts}


def _printed(home: Path) -> str:
    return "".join(path.read_text() for path in home.glob("work/unit-*/stdout"))


def test_names_are_guessed_and_kept_when_the_scan_is_stopped(internet: Namespaces, tmp_path: Path) -> None:
    with _start(internet, tmp_path) as scan:
        assert _until(lambda: all(f"{address} (IPAddress)" in _printed(tmp_path) for address in FOUND))
        said = json.loads(scan.communicate("stop\n", timeout=SECONDS)[0])
    assert internet.scanner.pids() == []
    assert set(internet.packets()) <= {*PUBLIC_RESOLVERS, RESOLVER, GATEWAY}, "only name servers are asked"
    assert (said["version"][:2], said["status"], said["error"]) == ("4.", "partial", "scan_stopped"), said
    names = {record["name"]: record.get("cname") for record in said["records"] if record["kind"] == "domain"}
    assert names.items() >= ALIASES.items()
    assert _hosts(said) >= {
        (WWW, f"www.{ROOT}", None),
        (MAIL, f"mail.{ROOT}", None),
        (VPN, f"vpn.{ROOT}", None),
        (WWW, f"shop.{ROOT}", f"www.{ROOT}"),
        (NEIGHBOUR, f"cdn.{ROOT}", "edge.neighbour.test"),
    }


def test_a_scan_that_is_killed_takes_amass_with_it(internet: Namespaces, tmp_path: Path) -> None:
    with _start(internet, tmp_path) as scan:
        assert _until(lambda: internet.packets()[RESOLVER])
        assert len(internet.scanner.pids()) > 2
        scan.kill()
        assert _until(lambda: internet.scanner.pids() == [])
