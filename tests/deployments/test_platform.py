"""The platform: what it refuses, and that nothing of it is left, whichever way it ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.blueprint import Blueprint
from deployments.platform import Platform, _deaf, _secret
from deployments.processes import Process, end_strays, listening_ports, trouble_listening, until
from footprint.errors import PlatformError
from footprint.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
UP = """
import signal, sys
from deployments.platform import Platform
from footprint.settings import Settings
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
platform = Platform(Settings(), on_event=lambda said: print(said, flush=True), free_ports=True)
with platform as addresses:
    print("ready", flush=True)
    platform.wait()
"""
SLEEP = (sys.executable, "-c", "import time; time.sleep(120)")


def becomes_true(truth: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := truth():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not true within {seconds} s")


def processes_with(variable: str) -> list[int]:
    """The processes whose environment began with this; zombies have none."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if variable.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An installation of its own, whose configured ports are free."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    return Settings(home=tmp_path / "home", api_port=ports[0], prefect_port=ports[1])


@contextlib.contextmanager
def listening(port: int) -> Iterator[None]:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        yield


def refusal(settings: Settings) -> PlatformError:
    platform = Platform(settings, on_event=lambda _: None)
    with pytest.raises(PlatformError) as caught, platform:
        pytest.fail("it was started")
    assert not (settings.home / "logs").exists(), "something was started"
    return caught.value


def test_a_second_one_is_told_where_the_first_runs(settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "platform.json").write_text(json.dumps({"pid": 4711, "api": "http://127.0.0.1:8123"}))
    with (settings.home / "platform.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        error = refusal(settings)
    assert "4711" in error.detail
    assert "http://127.0.0.1:8123" in error.detail
    assert "PULSAR_HOME" in error.hint


def test_a_lock_file_alone_is_no_hindrance(settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "platform.lock").touch()
    with listening(settings.api_port):
        assert str(settings.api_port) in refusal(settings).detail


def test_a_home_that_cannot_be_used_is_refused(settings: Settings) -> None:
    settings.home.touch()
    with pytest.raises(PlatformError, match="home cannot be used"), Platform(settings, on_event=lambda _: None):
        pytest.fail("it was started")


@pytest.mark.parametrize(
    ("field", "variable"), [("api_port", "PULSAR_API_PORT"), ("prefect_port", "PULSAR_PREFECT_PORT")]
)
def test_a_taken_port_is_named_with_its_setting(settings: Settings, field: str, variable: str) -> None:
    port = getattr(settings, field)
    with listening(port):
        error = refusal(settings)
    assert str(port) in error.detail
    assert variable in error.hint


def test_one_port_for_two_servers_is_refused(settings: Settings) -> None:
    error = refusal(settings.model_copy(update={"prefect_port": settings.api_port}))
    assert "PULSAR_API_PORT" in error.hint


def test_taken_ports_are_replaced_where_that_is_wanted(settings: Settings) -> None:
    with listening(settings.api_port), listening(settings.prefect_port):
        plan = Blueprint.draw(settings, "pulsar:x", free_ports=True)
        assert {plan.settings.api_port, plan.settings.prefect_port}.isdisjoint(
            {settings.api_port, settings.prefect_port}
        )
    assert plan.addresses.prefect_api == f"http://127.0.0.1:{plan.settings.prefect_port}/api"
    assert plan.addresses.api == f"http://127.0.0.1:{plan.settings.api_port}"


def test_a_port_whose_connections_are_ending_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = server.accept()
            accepted.close()  # the server's side closes first, and so keeps the port in TIME_WAIT
    assert trouble_listening("127.0.0.1", port) is None


def test_an_own_prefect_server_is_used_where_one_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4999/api")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "someone:else")
    with listening(settings.prefect_port):
        plan = Blueprint.draw(settings, "pulsar:x", free_ports=False)
    assert not plan.embeds_prefect
    assert plan.environment()["PREFECT_API_URL"] == "http://127.0.0.1:4999/api"
    assert plan.environment()["PREFECT_API_AUTH_STRING"] == "someone:else"


def test_the_secret_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "prefect-auth"
    first = _secret(path)
    assert first.startswith("pulsar:")
    assert len(first) > 40
    assert path.stat().st_mode & 0o777 == 0o600
    assert _secret(path) == first


def test_the_parts_read_the_same_settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSAR_SCOPE_EXCLUDE", "left.example")
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "")
    wanted = Settings.model_validate(
        {**settings.model_dump(), "scope_allow": "127.0.0.0/8,::1/128", "scope_exclude": (), "worker_poll_seconds": 0.5}
    )
    environment = Blueprint.draw(wanted, "pulsar:x", free_ports=False).environment()
    assert all(environment[name] for name in environment if name.startswith(("PREFECT_", "PULSAR_")))
    for name in [name for name in os.environ if name.startswith("PULSAR_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Settings() == wanted


def test_a_process_ends_with_its_parent(tmp_path: Path) -> None:
    starts = (
        "import signal, sys, time; from pathlib import Path; from deployments.processes import Process;"
        f"print(Process('x', {SLEEP!r}, env={{}}, cwd=Path('/'), log=Path(sys.argv[1]), leash=signal.SIGKILL).pid,"
        " flush=True); time.sleep(120)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", starts, str(tmp_path / "x.log")], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        becomes_true(lambda: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1:2] == [b"-c"])
        parent.kill()
    becomes_true(lambda: is_gone(pid))


def test_what_ends_while_it_is_needed_is_reported_with_its_last_words(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "import sys; sys.exit('no such luck')")
    process = Process("the part", command, env={}, cwd=tmp_path, log=tmp_path / "logs" / "x.log", leash=signal.SIGKILL)
    with pytest.raises(PlatformError) as caught:
        until(lambda: False, "it was not ready", 30, [process])
    assert "the part ended with status 1" in caught.value.detail
    assert "no such luck" in caught.value.detail
    assert "x.log" in caught.value.hint


def test_strays_are_ended_and_nothing_else(tmp_path: Path) -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(120)"
    )
    mark = f"PULSAR_PLATFORM={os.getpid()}-stray"
    name, _, value = mark.partition("=")
    with (
        subprocess.Popen([sys.executable, "-c", stubborn], env={name: value}, stdout=subprocess.PIPE) as stray,
        subprocess.Popen(SLEEP, env={name: value + "-other"}) as other,
    ):
        assert stray.stdout is not None
        stray.stdout.readline()
        end_strays(mark, 0.5)
        assert stray.wait(10) == -signal.SIGKILL
        assert other.poll() is None
        other.kill()


def test_a_second_signal_does_not_break_off_a_stop() -> None:
    before = signal.getsignal(signal.SIGINT)
    with _deaf():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


class Up:
    """A platform in a process of its own."""

    def __init__(self, home: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "PULSAR"))}
        self.home = home
        self.said = home.with_suffix(".said")
        env = kept | {"PULSAR_HOME": str(home), "PYTHONPATH": str(REPOSITORY), "DO_NOT_TRACK": "1"}
        with self.said.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", UP], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def wait_until_ready(self) -> dict[str, Any]:
        becomes_true(lambda: "ready\n" in self.said.read_text() or self.process.poll() is not None, 240)
        assert self.process.poll() is None, self.said.read_text()
        found: dict[str, Any] = json.loads((self.home / "platform.json").read_text())
        return found

    def parts(self) -> list[int]:
        """All processes that came of it, and not itself."""
        return [pid for pid in processes_with(f"PULSAR_HOME={self.home}") if pid != self.process.pid]

    def part(self, word: str) -> int:
        [pid] = [pid for pid in self.parts() if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
        return pid

    def prefect(self, found: dict[str, Any]) -> httpx.Client:
        user, _, password = (self.home / "prefect-auth").read_text().strip().partition(":")
        return httpx.Client(base_url=found["prefect_api"], auth=(user, password), timeout=30)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    platform = Up(tmp_path / "home")
    try:
        yield platform
    finally:
        platform.process.terminate()
        try:
            platform.process.wait(60)
        finally:
            platform.process.kill()


@pytest.mark.platform
def test_it_starts_answers_mends_its_worker_and_leaves_nothing(up: Up) -> None:
    found = up.wait_until_ready()
    assert found["pid"] == up.process.pid
    assert httpx.get(f"{found['api']}/api/health/").status_code == 200
    with up.prefect(found) as prefect:
        deployment = prefect.get("/deployments/name/dispatch_scan/pulsar").json()
        assert deployment["entrypoint"] == "flows/scan.py:dispatch_scan"
        assert prefect.get("/work_pools/pulsar/queues/default").json()["concurrency_limit"] == Settings().scans_at_once
    assert httpx.get(f"{found['prefect_api']}/flows/count").status_code in (401, 405)

    with pytest.raises(PlatformError, match=str(up.process.pid)), Platform(Settings(home=up.home), on_event=print):
        pytest.fail("a second one was started")

    killed = up.part("deployments.worker")
    os.kill(killed, signal.SIGKILL)
    becomes_true(lambda: is_gone(killed) and any(pid != killed for pid in [*up.parts()] if _is_worker(pid)))
    assert "The worker ended with status -9" in up.said.read_text()

    up.process.terminate()
    assert up.process.wait(60) == 143
    assert up.parts() == []
    assert not (up.home / "platform.json").exists()


@pytest.mark.platform
def test_nothing_outlives_it_when_it_is_killed(up: Up) -> None:
    up.wait_until_ready()
    assert len(up.parts()) >= 4
    up.process.kill()
    becomes_true(lambda: up.parts() == [], 30)


@pytest.mark.platform
def test_it_ends_with_an_error_when_its_api_ends(up: Up) -> None:
    up.wait_until_ready()
    os.kill(up.part("uvicorn"), signal.SIGKILL)
    assert up.process.wait(60) == 1
    assert "the API ended with status -9" in up.said.read_text()
    assert up.parts() == []


def _is_worker(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"deployments.worker" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return False


def test_a_process_knows_the_ports_it_listens_on() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        assert port not in listening_ports()
        listening.listen()
        with socket.create_connection(("127.0.0.1", port)) as connected:
            found = listening_ports()
            assert port in found
            assert connected.getsockname()[1] not in found
