"""What services are sent until nmap knows them: no more than is claimed, and not for ever."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from footprint.budget import INTENSITIES
from footprint.policy import ScanPolicy
from footprint.records import Host, Record, Service
from footprint.settings import Settings
from tasks import nmap, nmap_udp
from tasks.nmap_load import affordable
from tasks.pacing import load_of, paced
from tasks.tool import Pace
from tasks.unit import options_of
from tests.estate.meter import Meter
from tests.estate.namespaces import Namespaces

ADDRESS = "10.87.0.10"
PORTS = range(5000, 5003)
TALKATIVE = f"""
import socketserver, sys
class Odd(socketserver.BaseRequestHandler):
    def handle(self):
        if self.request.recv(1000):
            self.request.sendall(b"what do you want from me\\r\\n")
class Known(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\\r\\n")
        self.request.recv(1000)
class Many(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True
    request_queue_size = 50
import threading
for port in {list(PORTS)}:
    talker = Many(("{ADDRESS}", port), Known if port > {PORTS.start} else Odd)
    threading.Thread(target=talker.serve_forever, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""
"""One answers whatever it is asked at once, with what nmap makes nothing of; the others say what they are."""


def _services(count: int) -> list[Record]:
    return [Service(ADDRESS, 2000 + number) for number in range(count)]


def _timeout(batch: list[Record], said: dict[str, Any], pace: Pace) -> int:
    argv = nmap.command(batch, nmap.configure(said, pace)).argv
    return int(argv[argv.index("--host-timeout") + 1].removesuffix("s"))


@pytest.mark.parametrize(
    ("intensity", "services", "seconds"),
    [(1, 1, 180), (1, 20, 180), (1, 21, 360), (2, 8, 360), (3, 8, 480), (3, 31, 960)],
)
def test_services_that_are_slow_for_ever_hold_a_unit_for_minutes(intensity: int, services: int, seconds: int) -> None:
    assert _timeout(_services(services), {}, Pace(intensity, 3600, "all")) == seconds


def test_less_patience_is_kept_and_ports_have_the_time_of_the_unit() -> None:
    assert _timeout(_services(8), {"host_timeout": 60}, Pace(3, 3600, "all")) == 60
    assert _timeout(_services(8), {}, Pace(3, 100, "all")) == 85
    assert _timeout([Host(ADDRESS)], {}, Pace(3, 3600, "all")) == 3060


@pytest.mark.parametrize(("budget", "lowered"), [(10, 0), (50, 2), (100, 5), (10_000, 7), (float("inf"), 7)])
def test_how_long_nmap_guesses_fits_the_budget(budget: float, lowered: int) -> None:
    assert affordable(7, budget, has_scripts=False) == lowered
    assert affordable(7, budget, has_scripts=True) <= lowered
    assert affordable(1, budget, has_scripts=False) <= 1


@pytest.mark.parametrize("tool", [nmap.TOOL, nmap_udp.TOOL], ids=["nmap", "nmap_udp"])
def test_a_small_budget_guesses_less_rather_than_not_at_all(tool: Any) -> None:
    asked = {"version_intensity": 9, "scripts": []}
    small = ScanPolicy(name="own", modules={tool.name: asked}, intensity=3, budget=50)
    options = options_of(tool, small, Settings())
    assert options.version_intensity == 2
    batch = [Service(ADDRESS, 53, "udp" if tool is nmap_udp.TOOL else "tcp")]
    assert paced(tool, batch, options, INTENSITIES[1], None).version_intensity == 2, "it is not too heavy"
    held = Settings(destination_rate=50)
    assert options_of(tool, small.model_copy(update={"budget": None}), held).version_intensity == 2


@pytest.fixture
def talkative(namespaces: Namespaces) -> Iterator[Namespaces]:
    """A host with a service that nmap never recognises."""
    if shutil.which("nmap") is None:
        pytest.skip("nmap is not installed here")
    namespaces.add(ADDRESS)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with namespaces.estate.popen([sys.executable, "-c", TALKATIVE], **pipes) as serving:
        assert serving.stdout
        assert serving.stdout.readline() == "ready\n"
        yield namespaces
        serving.terminate()


@pytest.mark.alone
@pytest.mark.parametrize("intensity", [1, 2])
def test_what_is_claimed_for_services_holds_where_one_of_them_is_never_recognised(
    talkative: Namespaces, tmp_path: Path, intensity: int
) -> None:
    batch = [Service(ADDRESS, port) for port in PORTS]
    options = nmap.configure({}, Pace(intensity, 3600, "all"))
    command, load = nmap.command(batch, options), load_of(nmap.TOOL, batch, options)
    for name, text in command.files.items():
        (tmp_path / name).write_text(text)
    with Meter(talkative) as meter:
        ran = talkative.scanner.run(command.argv, cwd=tmp_path, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert load
    assert meter.reading().peak() <= 1.1 * load.packets
    alone = load_of(nmap.TOOL, batch[:1], options)
    assert alone
    assert meter.reading().peak() > 0.8 * alone.packets > 30, "what is not recognised is sent more than the others"
