"""What tests share: a store on each database, and a home of their own."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text

from deployments import processes
from footprint.store import Store, migrate, open_store
from tests.estate.namespaces import Namespaces, trouble

os.environ["DO_NOT_TRACK"] = "1"
"""Prefect's client reports to its maker otherwise, and tests speak to this machine only."""

NOBODY = "127.0.0.1:9"
for _service in ("CT", "RIPESTAT", "NVD", "EPSS", "KEV"):
    os.environ[f"PULSAR_{_service}_URL"] = f"http://{NOBODY}/"
os.environ["PULSAR_BUCKET_URLS"] = f"http://{NOBODY}/{{bucket}}"
os.environ["PULSAR_RESOLVERS"] = NOBODY
"""What a test does not stand in for is asked on this machine, where nobody listens; platforms and scans inherit it."""

POSTGRES_USER = "nobody"
"""PostgreSQL refuses to run as root; this account is on every Debian and Ubuntu."""


@pytest.fixture(autouse=True)
def in_turn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where tests are spread over processes, one that is marked `alone` runs while no other does."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    folder = tmp_path_factory.getbasetemp().parent
    with (folder / "next").open("w") as next_one, (folder / "running").open("w") as running:
        # Whoever waits to be alone keeps the next ones from beginning.
        fcntl.flock(next_one, fcntl.LOCK_EX)
        fcntl.flock(running, fcntl.LOCK_EX if request.node.get_closest_marker("alone") else fcntl.LOCK_SH)
        fcntl.flock(next_one, fcntl.LOCK_UN)
        yield


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    return processes.free_port("127.0.0.1")


def _postgres_binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of this test session, on a free port of loopback."""
    binaries = _postgres_binaries()
    if binaries is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL's server is not installed: apt-get install postgresql")
        pytest.skip("PostgreSQL's server is not installed: apt-get install postgresql")
    directory = Path("/tmp") / f"pulsar-postgres-{uuid4().hex[:8]}"
    directory.mkdir(mode=0o700)
    user: dict[str, str] = {"user": POSTGRES_USER} if os.geteuid() == 0 else {}
    if user:
        shutil.chown(directory, POSTGRES_USER)
    data, port = directory / "data", free_port()
    subprocess.run(
        [binaries / "initdb", "--pgdata", data, "--username", "pulsar", "--auth", "trust", "--no-sync"],
        check=True, capture_output=True, cwd=directory, **user,
    )  # fmt: skip
    options = f"-h 127.0.0.1 -p {port} -k {directory} -c fsync=off -c max_connections=200"
    control = [binaries / "pg_ctl", "--pgdata", data, "--log", directory / "log", "--wait"]
    subprocess.run([*control, "--options", options, "start"], check=True, capture_output=True, cwd=directory, **user)
    try:
        yield f"postgresql+psycopg://pulsar@127.0.0.1:{port}/"
    finally:
        subprocess.run([*control, "--mode", "fast", "stop"], check=True, capture_output=True, cwd=directory, **user)
        shutil.rmtree(directory)


def new_postgres_database(server: str) -> str:
    """The address of a new, empty database of that server."""
    name = f"pulsar_{uuid4().hex[:12]}"
    engine = create_engine(f"{server}postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f"{server}{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'pulsar.db'}"
    return new_postgres_database(request.getfixturevalue("postgres_url"))


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A migrated store, once on each database."""
    migrate(store_url)
    opened = open_store(store_url)
    yield opened
    opened.close()


@pytest.fixture
def namespaces() -> Iterator[Namespaces]:
    """A scanner's and an estate's network namespace, joined to each other and to nothing else."""
    if reason := trouble():
        if os.environ.get("CI") and os.geteuid() == 0:
            pytest.fail(reason)
        pytest.skip(reason)
    with Namespaces() as made:
        yield made
