"""The platform: Prefect server, worker and API of one home, started together and stopped together.

    platform = Platform(settings, on_event=print)
    with platform as addresses:
        print(addresses.api)
        platform.wait()

State is in the home. What runs is tied to this process: nothing outlives it, whichever way it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

import httpx

from deployments.blueprint import CODE_ROOT, Addresses, Blueprint
from deployments.log_files import LOOK_SECONDS as LOGS_SECONDS
from deployments.log_files import bound
from deployments.prefect_server import PrefectServer, fingerprint
from deployments.processes import Listener, Process, end_strays, until
from footprint.errors import PlatformError
from footprint.secret_files import write_secret
from footprint.settings import Settings

START_SECONDS = 180.0
"""The first start makes Prefect's database: seconds on an idle machine, over half a minute on a loaded one."""
FOREIGN_SECONDS = 30.0
"""What a Prefect server that is not ours gets to answer."""
LOOK_SECONDS = 0.5
MOST_RESTARTS, RESTART_WINDOW = 5, 600.0
"""Where parts end this often within so many seconds, none is started again."""
RESTARTED = frozenset({"worker", "server"})
"""Parts that the others wait for when they are gone."""
API_STOP, WORKER_STOP, RUN_STOP, SERVER_STOP = 5.0, 15.0, 10.0, 10.0
"""Seconds from SIGTERM to SIGKILL."""


class Platform:
    """A platform of this home. Enter it in a thread that lives as long as it does: its processes end with it.

    `on_event` takes sentences on what happens, also from another thread. With `free_ports`, ports that are taken are
    replaced by free ones. Entering raises `PlatformError` where the platform cannot be started as asked.
    """

    def __init__(self, settings: Settings, *, on_event: Callable[[str], None], free_ports: bool = False) -> None:
        self._settings = settings
        self._tell = on_event
        self._free_ports = free_ports
        self._claim = contextlib.ExitStack()
        self._blueprint: Blueprint | None = None
        self._parts: dict[str, Process] = {}
        self._watcher: threading.Thread | None = None
        self._restarts: deque[float] = deque()
        self._leaving = threading.Event()
        self._ended = threading.Event()
        self._failure: PlatformError | None = None

    def __enter__(self) -> Addresses:
        try:
            return self._start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait(self) -> None:
        """Return when the platform was stopped. Raises `PlatformError` when a part of it ended by itself."""
        self._ended.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stop everything, in order and within a bound; safe to repeat, and deaf to signals meanwhile."""
        with _deaf():
            self._leaving.set()
            if self._watcher is not None:
                self._watcher.join()
            self._stop_part("api", API_STOP)
            self._stop_part("deploy", 0)
            self._stop_part("worker", WORKER_STOP)
            if self._blueprint is not None:
                # Runs of a worker that was killed; before the server, so that they can still report their end.
                end_strays(self._blueprint.stray_mark, RUN_STOP)
            self._stop_part("server", SERVER_STOP)
            self._claim.close()
            self._ended.set()

    def _start(self) -> Addresses:
        home = self._settings.home
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._claim.enter_context(claimed(home))
        except OSError as trouble:
            raise PlatformError(
                f"the platform's home cannot be used: {trouble.strerror}", hint=f"PULSAR_HOME names it; it is {home}"
            ) from trouble
        blueprint = Blueprint.draw(self._settings, _secret(home / "prefect-auth"), free_ports=self._free_ports)
        self._blueprint = blueprint
        with Listener() as listener:
            self._start_prefect(blueprint, listener)
            with PrefectServer(blueprint.prefect_api, blueprint.prefect_auth) as server:
                self._until(server.is_there, "the Prefect server did not answer", "server")
                # Not before: it would take time from the others, and begin by finding Prefect away.
                self._parts["api"] = blueprint.api()
                self._prepare_prefect(blueprint, server)
            self._tell("The worker gets ready.")
            self._until(listener.has_heard, "the worker was not ready", "worker")
        self._until(lambda: _answers(blueprint.addresses.api), "the API did not answer", "api")
        self._claim.enter_context(_announced(home / "platform.json", blueprint.addresses))
        self._watcher = threading.Thread(target=self._watch, args=(blueprint,), name="pulsar-platform", daemon=True)
        self._watcher.start()
        return blueprint.addresses

    def _start_prefect(self, blueprint: Blueprint, listener: Listener) -> None:
        # Together: each imports for seconds before it needs the other.
        if blueprint.embeds_prefect:
            self._tell("The Prefect server starts; the first time it makes its database.")
            self._parts["server"] = blueprint.server()
        else:
            self._tell("The Prefect server that PREFECT_API_URL names is used.")
        self._parts["worker"] = blueprint.worker(listener.address)
        _prepare_store(self._settings)

    def _prepare_prefect(self, blueprint: Blueprint, server: PrefectServer) -> None:
        server.ensure_pool(self._settings.scans_at_once)
        mark = fingerprint(CODE_ROOT)
        if server.has_deployed(mark, CODE_ROOT):
            return
        self._tell("The flows are deployed.")
        server.ensure_watch()
        deploying = self._parts["deploy"] = blueprint.deploying()
        self._until(lambda: deploying.exit_code() == 0, "the flows were not deployed", "deploy")
        server.note_deployed(mark)
        self._stop_part("deploy", 0)

    def _until(self, truth: Callable[[], bool], failure: str, part: str) -> None:
        # What is waited for, and the server that it needs.
        needed = [self._parts[name] for name in dict.fromkeys((part, "server")) if name in self._parts]
        until(truth, failure, START_SECONDS if needed else FOREIGN_SECONDS, needed)

    def _stop_part(self, name: str, seconds: float) -> None:
        if (part := self._parts.pop(name, None)) is not None:
            part.stop(seconds)

    def _watch(self, blueprint: Blueprint) -> None:
        logs_due = time.monotonic()
        while not self._leaving.wait(LOOK_SECONDS):
            if time.monotonic() >= logs_due:
                logs_due = time.monotonic() + LOGS_SECONDS
                for part in self._parts.values():
                    bound(part.log)
            for name, part in list(self._parts.items()):
                if part.exit_code() is None:
                    continue
                if name not in RESTARTED or not self._may_restart():
                    self._fail(part)
                    return
                self._restart(blueprint, name, part)

    def _may_restart(self) -> bool:
        now = time.monotonic()
        while self._restarts and now - self._restarts[0] > RESTART_WINDOW:
            self._restarts.popleft()
        self._restarts.append(now)
        return len(self._restarts) <= MOST_RESTARTS

    def _restart(self, blueprint: Blueprint, name: str, dead: Process) -> None:
        called = dead.name[0].upper() + dead.name[1:]
        self._tell(f"{called} ended with status {dead.exit_code()} and is started again; its log is {dead.log}.")
        if not self._leaving.wait(2.0 ** len(self._restarts) / 2):
            self._parts[name] = blueprint.server() if name == "server" else blueprint.worker("")

    def _fail(self, part: Process) -> None:
        try:
            part.check()
        except PlatformError as failure:
            self._failure = failure
            self._tell(f"{part.name} ended by itself: the platform has to be stopped.")
        self._ended.set()


@contextlib.contextmanager
def claimed(home: Path) -> Iterator[None]:
    """Hold the home: the lock is the process's and is gone with it; its file stays, or two could hold it."""
    with (home / "platform.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PlatformError(
                f"a platform of this home {_whereabouts(home)}",
                hint="use that one or stop it; PULSAR_HOME names another home",
            ) from None
        yield


def _whereabouts(home: Path) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError):
        found = json.loads((home / "platform.json").read_text())
        return f"runs already, as process {found['pid']}, its API at {found['api']}"
    return "is being started or stopped"


@contextlib.contextmanager
def _announced(path: Path, addresses: Addresses) -> Iterator[None]:
    """Tell the home's other commands where this platform is, while it is there."""
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps({"pid": os.getpid()} | asdict(addresses), indent=2) + "\n")
    draft.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _secret(path: Path) -> str:
    """The `user:password` of this home's Prefect server, made at its first start and readable by its owner only."""
    if not path.exists() or not path.read_text().strip():
        write_secret(path, f"pulsar:{secrets.token_urlsafe(32)}")
    return path.read_text().strip()


def _prepare_store(settings: Settings) -> None:
    # Alembic and SQLAlchemy are slow to import, and by now others have a start on us.
    from footprint.store import ensure_home_token, migrate, open_store

    before = os.umask(0o077)
    try:
        migrate(settings.store_url)
        store = open_store(settings.store_url)
        try:
            ensure_home_token(store, settings.home)
        finally:
            store.close()
    finally:
        os.umask(before)


def _answers(api: str) -> bool:
    try:
        return httpx.get(f"{api}/api/health/", timeout=2, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Let no second Ctrl-C break off a stop; signals are only heard in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
