"""A budget on the wire: what arrives at a destination, second by second, from scans that share a store only.

The full measurement, each intensity and more modules, is `python -m tests.bench budget`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select

from footprint.policy import ScanPolicy
from footprint.store.ledger import claims_now
from footprint.store.tables import ModuleRun, Scan
from tests.estate.meter import Meter, Reading
from tests.estate.namespaces import Namespaces
from tests.estate.playing import Playing

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(shutil.which("nmap") is None, reason="nmap is not installed here"),
]

TARGET, EXCLUDED = "10.87.0.8/29", "10.87.0.12"
HOSTS = [f"10.87.0.{last}" for last in range(8, 16)]
BUDGET = 300
SECONDS = 120.0
TALKER = """
import socket, time
speaker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for pause, count in ((0.0, 10), (1.0, 30)):
    time.sleep(pause + 0.5)
    for _ in range(count):
        speaker.sendto(b"x", ("10.87.0.8", 9))
time.sleep(0.5)
"""
"""Ten packets, and thirty packets more than a second later."""


def test_three_scans_of_the_same_hosts_are_no_heavier_than_one_and_waste_nothing(
    namespaces: Namespaces, tmp_path: Path
) -> None:
    namespaces.add(*HOSTS)
    policy = ScanPolicy(
        name="own", modules={"nmap_discovery": {}, "nmap": {}}, intensity=5, budget=BUDGET, ports="20000-20159"
    )
    playing = Playing(namespaces.scanner, tmp_path, scope_allow="10.87.0.0/24", scope_exclude=EXCLUDED)
    scans = [playing.ask(TARGET, policy) for _ in range(3)]
    with Meter(namespaces) as meter:
        playing.carry_out(*scans, seconds=SECONDS)
    with playing.store.read() as session:
        assert set(session.scalars(select(Scan.status))) == {"SUCCESS"}
        assert claims_now(session) == []
        sweeps = select(func.min(ModuleRun.started_at), func.max(ModuleRun.finished_at)).where(ModuleRun.depth == 1)
        begin, end = (moment.timestamp() for moment in session.execute(sweeps).one())
    reading = meter.reading()
    assert reading.packets >= 3 * 7 * 160
    assert reading.peak(after=1.0) <= 1.1 * BUDGET
    assert reading.between(begin + 1, end - 1).rate >= 0.7 * BUDGET
    assert namespaces.packets()[EXCLUDED] == 0
    playing.store.close()


def test_a_meter_counts_what_comes_within_any_second(namespaces: Namespaces) -> None:
    namespaces.add("10.87.0.8")
    with Meter(namespaces) as meter:
        namespaces.scanner.run([sys.executable, "-c", TALKER], check=True)
    reading = meter.reading()
    assert 40 <= reading.packets <= 60, "the cable's own talk is counted too"
    assert 30 <= reading.peak() <= 40
    assert reading.seconds > 1.4


def test_a_meter_takes_the_fullest_window_wherever_it_begins() -> None:
    reading = Reading(((0.0, 0), (0.5, 10), (1.4, 60), (1.6, 70), (3.0, 71)))
    assert reading.peak() == 50
    assert reading.peak(after=1.5) == 0
    assert reading.between(0.4, 1.5).packets == 50
