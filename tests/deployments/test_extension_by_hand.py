"""`pulsar extension` with one that reaches its record: in a scanner's namespace, held as in scans."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments import extension_reach
from deployments.extension_reach import reach_by_hand
from deployments.home import Running
from footprint.errors import NotAuthorized, TargetRefused
from footprint.extensions import Extension, add
from footprint.manifest import Manifest
from footprint.records import DomainName, Host, Service
from footprint.settings import Settings
from tests.deployments.invoking import COMMAND
from tests.estate.name_server import NameServer
from tests.estate.namespaces import Namespaces
from tests.tasks.held import require_sandbox
from tests.tasks.test_fence_live import LISTEN, POWERLESS

TARGET, NEIGHBOUR = "10.87.0.10", "10.87.0.11"
ASKS = f"""
import os, socket
for address in (os.environ["DOM_ADDRS"], "{NEIGHBOUR}"):
    try:
        socket.create_connection((address, 22), timeout=3)
        print("reached", address)
    except OSError as error:
        print("held", address)
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(namespaces: Namespaces, tmp_path: Path) -> Iterator[Run]:
    """Runs `pulsar extension` inside, where a target and its neighbour listen, with one that asks both."""
    require_sandbox(tmp_path)
    manifest = {"name": "asks", "accepts": ("host", "domain"), "script": "script", "interpreter": "python3"}
    add(tmp_path, Extension(Manifest.model_validate({**manifest, "network": "scoped"}), ASKS))
    namespaces.add(TARGET, NEIGHBOUR)
    env = {**os.environ, "PULSAR_HOME": str(tmp_path), "COLUMNS": "200", "PULSAR_SCOPE_ALLOW": "10.87.0.0/24"}

    def asked(*words: str, before: tuple[str, ...] = (), **more: str) -> subprocess.CompletedProcess[str]:
        return namespaces.scanner.run([*before, *COMMAND, "extension", *words], env={**env, **more}, timeout=60)

    listening = namespaces.estate.popen(
        [sys.executable, "-c", LISTEN, TARGET, NEIGHBOUR], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with listening:
        assert listening.stdout
        assert listening.stdout.readline() == "ready\n"
        yield asked
        listening.terminate()


def test_it_is_run_within_the_scope_and_held_to_it(namespaces: Namespaces, run: Run) -> None:
    assert run("check", "asks").stdout == "In order.\n"
    ran = run("run", "asks", TARGET)
    assert ran.stdout.splitlines()[:2] == [f"reached {TARGET}", f"held {NEIGHBOUR}"], ran
    assert ran.returncode == 1
    assert f"It reaches {TARGET}." in ran.stderr
    assert "to what is not its record's" in ran.stderr
    assert namespaces.packets()[TARGET] > 0
    assert namespaces.packets()[NEIGHBOUR] == 0


def _settings(home: Path, **said: object) -> Settings:
    return Settings(home=home, scope_allow=("10.87.0.0/24", "127.0.0.0/8"), **said)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"scope_allow": ()}, TargetRefused, "special-purpose"),
        ({"scope_exclude": (TARGET,)}, TargetRefused, "exclusion list"),
        ({"require_authorization": True}, NotAuthorized, "no authorisation that is valid now"),
    ],
    ids=["not allowed", "excluded", "not authorised"],
)
def test_what_a_scan_may_not_touch_it_does_not_either(
    tmp_path: Path, settings: dict[str, Any], error: type[Exception], said: str
) -> None:
    given = _settings(tmp_path).model_copy(update=settings)
    for record in (Host(TARGET), Service(TARGET, 22)):
        with pytest.raises(error, match=said):
            reach_by_hand(record, given)


def test_a_name_is_looked_up_and_its_addresses_are_held_against_the_scope(tmp_path: Path) -> None:
    zone = f"www.a.test A {TARGET}\nwww.a.test A 10.87.0.99\nnone.a.test TXT empty\n"
    with NameServer(zone) as server:
        settings = _settings(tmp_path, resolvers=(server.address,), scope_exclude=("10.87.0.99",))
        reach, around = reach_by_hand(DomainName("www.a.test"), settings)
        assert (reach.addresses, reach.ports) == ((TARGET,), None)
        assert set(around.addresses) == {TARGET, "10.87.0.99"}
        with pytest.raises(TargetRefused, match="nothing of it"):
            reach_by_hand(DomainName("none.a.test"), settings)


def test_of_this_machine_services_are_reached_and_not_the_platforms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(tmp_path, api_port=8111)
    with socket.create_server(("127.0.0.1", 0)) as ours:
        port = ours.getsockname()[1]
        assert reach_by_hand(Service("127.0.0.1", port), settings)[0].ports == (port,)
        running = Running(pid=os.getpid(), api="", prefect_api="")
        monkeypatch.setattr(extension_reach, "find_running", lambda settings: running)
        for own in (8111, port):
            with pytest.raises(TargetRefused, match="nothing of it"):
                reach_by_hand(Service("127.0.0.1", own), settings)
    with pytest.raises(TargetRefused, match="nothing of it"):
        reach_by_hand(Host("127.0.0.1"), settings)


def test_where_it_cannot_be_held_it_is_not_run(namespaces: Namespaces, run: Run) -> None:
    refused = run("run", "asks", TARGET, before=POWERLESS)
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "cannot be held to its record" in refused.stderr
    assert "not run: asks" in run("list", before=POWERLESS).stderr
    assert namespaces.packets()[TARGET] == 0
