"""What a platform is made of: its addresses, and the command and environment of each part."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from deployments.processes import Process, free_port, trouble_listening
from footprint.errors import PlatformError
from footprint.settings import Settings

CODE_ROOT = Path(__file__).resolve().parent.parent
POOL = "pulsar"
SET_DIRECTORY = "prefect.deployments.steps.set_working_directory"
"""The one step Prefect notes for code that is where it was deployed from."""
LOOPBACK = "127.0.0.1"
WILDCARDS = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - read here, not listened on
MARK = "PULSAR_PLATFORM"
"""The variable by which a platform knows the processes that came of it."""
PRIVATE = frozenset({"api_url", "api_token"})
"""Settings of the `pulsar` command that no part of the platform needs."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the parts of a platform are reached."""

    api: str
    docs: str
    prefect_ui: str
    prefect_api: str


@dataclass(frozen=True, slots=True)
class Blueprint:
    """One platform: settings whose ports are free, the Prefect API to use, and its `user:password` (or nothing)."""

    settings: Settings
    prefect_api: str
    prefect_auth: str
    embeds_prefect: bool
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def draw(cls, settings: Settings, secret: str, *, free_ports: bool) -> Self:
        """Plan a platform. Raises `PlatformError` where a port is taken and `free_ports` does not allow another."""
        named = os.environ.get("PREFECT_API_URL")
        api_port = _port(settings.api_host, settings.api_port, "PULSAR_API_PORT", free_ports=free_ports)
        if named:
            kept = settings.model_copy(update={"api_port": api_port})
            return cls(kept, named.rstrip("/"), os.environ.get("PREFECT_API_AUTH_STRING", ""), embeds_prefect=False)
        prefect_port = _port(LOOPBACK, settings.prefect_port, "PULSAR_PREFECT_PORT", free_ports=free_ports)
        if prefect_port == api_port:
            raise PlatformError(
                f"port {api_port} cannot be both the API's and Prefect's", hint="set PULSAR_API_PORT to another"
            )
        kept = settings.model_copy(update={"api_port": api_port, "prefect_port": prefect_port})
        return cls(kept, f"http://{LOOPBACK}:{prefect_port}/api", secret, embeds_prefect=True)

    @property
    def addresses(self) -> Addresses:
        """Where this platform is reached from its own machine."""
        host = WILDCARDS.get(self.settings.api_host, self.settings.api_host)
        api = f"http://{f'[{host}]' if ':' in host else host}:{self.settings.api_port}"
        return Addresses(api, f"{api}/docs", self.prefect_api.removesuffix("/api"), self.prefect_api)

    @property
    def stray_mark(self) -> str:
        """What the environment of each process of this platform holds."""
        return f"{MARK}={self.mark}"

    def server(self) -> Process:
        """Start the Prefect server."""
        port = self.settings.prefect_port
        own = {
            "PREFECT_SERVER_API_AUTH_STRING": self.prefect_auth,
            "PREFECT_SERVER_UI_API_URL": self.prefect_api,
            "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": f"http://{LOOPBACK}:{port},http://localhost:{port}",
        }
        where = ("--host", LOOPBACK, "--port", str(port))
        return self._start("the Prefect server", "prefect", "prefect", "server", "start", *where, own=own)

    def worker(self, notify: str) -> Process:
        """Start a worker that tells `notify` when it is ready."""
        # One name for ever, so that workers of former starts do not pile up. Its leash is a soft one: it outlives a
        # killed platform for as long as it takes to stop its scans. They get no grace for this: who stops a platform
        # waits for it (deployments/worker.py).
        name, own = socket.gethostname(), {"NOTIFY_SOCKET": notify} if notify else {}
        return self._start("the worker", "worker", "deployments.worker", name, own=own, soft=signal.SIGINT)

    def api(self) -> Process:
        """Start the API."""
        where = ("--host", self.settings.api_host, "--port", str(self.settings.api_port))
        manner = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--no-server-header")
        # Clients and proxies keep connections for up to a minute. Who closes one first loses no request of the other's.
        patience = ("--timeout-keep-alive", "75", "--timeout-graceful-shutdown", "3")
        app = ("--factory", "api.app:create_app", *patience)
        # A caller of the API rather hears that Prefect is away than waits for a minute of retries; it has its own.
        own = {"PREFECT_CLIENT_MAX_RETRIES": "0"}
        return self._start("the API", "api", "uvicorn", *app, *where, *manner, own=own)

    def deploying(self) -> Process:
        """Start what deploys what `prefect.yaml` says."""
        return self._start("prefect deploy", "deploy", "prefect", "--no-prompt", "deploy", "--all")

    def environment(self) -> dict[str, str]:
        """What each part finds in its environment."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PULSAR_")}
        # Prefect refuses empty values; a profile or a key of Prefect's cloud would lead the parts elsewhere.
        unwanted = [name for name, value in kept.items() if name.startswith("PREFECT_") and not value]
        leading = ("PREFECT_PROFILE", "PREFECT_API_KEY") if self.embeds_prefect else ()
        for name in (*unwanted, *leading, "PREFECT_API_AUTH_STRING", "NOTIFY_SOCKET"):
            kept.pop(name, None)
        auth = {"PREFECT_API_AUTH_STRING": self.prefect_auth} if self.prefect_auth else {}
        prefect = {"PREFECT_HOME": str(self.settings.home / "prefect"), "PREFECT_API_URL": self.prefect_api}
        return kept | {"DO_NOT_TRACK": "1", MARK: self.mark} | prefect | auth | _variables(self.settings)

    def _start(
        self,
        name: str,
        log: str,
        *command: str,
        own: Mapping[str, str] | None = None,
        soft: signal.Signals | None = None,
    ) -> Process:
        return Process(
            name,
            (sys.executable, "-m", *command),
            env=self.environment() | dict(own or {}),
            cwd=CODE_ROOT,
            log=self.settings.home / "logs" / f"{log}.log",
            leash=soft or signal.SIGKILL,
            stop_signal=soft or signal.SIGTERM,
        )


def _variables(settings: Settings) -> dict[str, str]:
    """The `PULSAR_*` variables that mean these settings."""
    found: dict[str, str] = {}
    for name, value in settings:
        if name not in PRIVATE and value not in (None, ()):
            found[f"PULSAR_{name.upper()}"] = _written(value)
    return found


def _written(value: object) -> str:
    """A setting as its variable says it."""
    match value:
        case tuple():
            return ",".join(map(str, value))
        case dict():
            return ",".join(f"{name}={one}" for name, one in value.items())
        case _:
            return str(value)


def _port(host: str, port: int, variable: str, *, free_ports: bool) -> int:
    trouble = trouble_listening(host, port)
    if trouble is None:
        return port
    if free_ports and trouble.errno == errno.EADDRINUSE:
        return free_port(host)
    raise PlatformError(
        f"nothing can listen on port {port} of {host}: {trouble.strerror}",
        hint=f"stop what does, or set {variable} to another port",
    )
