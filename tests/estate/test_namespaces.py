"""The namespaces the estate is built in: what is sent is counted, and nothing is left behind."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.estate.namespaces import ETC, GATEWAY, PREFIX, RUN, Namespaces, remove_stale

ANSWERING = "import socket; s = socket.create_server(('10.87.0.10', 80)); print('ready', flush=True); s.accept()"
MAKING = """
import sys, time
from tests.estate.namespaces import Namespaces
made = Namespaces().__enter__()
made.estate.popen(["sleep", "60"])
print(made.scanner.name, made.estate.name, flush=True)
time.sleep(60)
"""


PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}


def _ask(made: Namespaces, address: str) -> int:
    return made.scanner.run(["curl", "--silent", "--max-time", "1", f"http://{address}/"]).returncode


def _left(name: str) -> list[Path]:
    return [path for path in (RUN / name, ETC / name) if path.exists()]


def test_what_a_thread_opens_while_it_is_inside_stays_there(namespaces: Namespaces) -> None:
    namespaces.add("10.87.0.14")
    with namespaces.estate.entered():
        listening = socket.create_server(("10.87.0.14", 80))
    with listening:
        with namespaces.scanner.entered(), socket.create_connection(("10.87.0.14", 80), timeout=5):
            pass
        with pytest.raises(OSError, match="assign requested address"):
            socket.create_server(("10.87.0.14", 80))


def test_the_scanner_reaches_what_the_estate_owns_and_packets_are_counted(namespaces: Namespaces) -> None:
    namespaces.add("10.87.0.10")
    server = namespaces.estate.popen([sys.executable, "-c", ANSWERING], stdout=subprocess.PIPE)
    assert server.stdout is not None
    with server, server.stdout:
        assert server.stdout.readline() == b"ready\n"
        before = namespaces.packets()["10.87.0.10"]
        assert _ask(namespaces, "10.87.0.10") in (52, 56)  # connected, and nothing came
        assert namespaces.packets()["10.87.0.10"] > before


def test_what_nobody_owns_is_counted_and_silent_and_there_is_no_way_out(namespaces: Namespaces) -> None:
    namespaces.add("10.87.0.11")
    namespaces.silence("10.87.0.11")
    for address in ("10.87.0.11", "10.88.0.1", "198.51.100.1"):
        assert _ask(namespaces, address) == 28  # timed out
        assert namespaces.packets()[address] > 0
    assert namespaces.packets()["10.88.0.2"] == 0


def test_the_systems_resolver_is_counted_too(namespaces: Namespaces) -> None:
    asked = namespaces.packets()[GATEWAY]
    assert _ask(namespaces, "somewhere.example") == 6  # not resolved
    assert namespaces.packets()[GATEWAY] > asked


def test_leaving_ends_what_runs_inside(namespaces: Namespaces) -> None:
    stubborn = namespaces.estate.popen(["sh", "-c", "trap '' TERM; echo ready; read never"], **PIPES)
    names = namespaces.scanner.name, namespaces.estate.name
    assert stubborn.stdout is not None
    with stubborn, stubborn.stdout:
        assert stubborn.stdout.readline() == b"ready\n"
        namespaces.close()
        assert stubborn.wait(1) == -signal.SIGKILL
    assert not [path for name in names for path in _left(name)]


@pytest.mark.usefixtures("namespaces")
def test_what_a_killed_maker_left_is_removed() -> None:
    maker = subprocess.Popen([sys.executable, "-c", MAKING], stdout=subprocess.PIPE, text=True)
    assert maker.stdout is not None
    with maker, maker.stdout:
        names = maker.stdout.readline().split()
        maker.kill()
    assert all(name.startswith(PREFIX) and _left(name) for name in names)
    remove_stale()
    assert not [path for name in names for path in _left(name)]
