"""The installed nmap under an asset's exclusions, in a namespace from which nothing leads out: packets are counted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.estate.namespaces import Namespaces
from tests.tasks.nmap_inside import ALIVE, EXCLUDED, LATER, NEVER

pytestmark = pytest.mark.skipif(shutil.which("nmap") is None, reason="nmap is not installed here")
SECONDS = 90
PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}


def test_excluded_addresses_get_no_packet_and_those_excluded_in_mid_scan_get_no_more(
    namespaces: Namespaces, tmp_path: Path
) -> None:
    namespaces.add(*ALIVE)
    scan = namespaces.scanner.popen([sys.executable, "-m", "tests.tasks.nmap_inside", str(tmp_path)], **PIPES)
    with scan:
        assert scan.stdout
        assert scan.stdout.readline() == "swept\n"
        swept = namespaces.packets()
        told, _ = scan.communicate("go on\n", timeout=SECONDS)
    counted, said = namespaces.packets(), json.loads(told)

    assert [counted[address] for address in (EXCLUDED, NEVER)] == [0, 0]
    assert swept[LATER] > 0
    assert counted[LATER] == swept[LATER]
    for address in set(ALIVE) - {EXCLUDED, LATER}:
        assert counted[address] > swept[address] > 0
    assert said["errors"] == [None, None]
    assert all("--excludefile exclude" in command for command in said["commands"])
    assert said["refused"] == {LATER: "on the exclusion list of its asset"}
