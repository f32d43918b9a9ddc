"""Two platforms with two homes and four ports live side by side; the second keeps its store in PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from deployments.platform import Platform
from footprint.settings import Settings
from tests.conftest import free_port, new_postgres_database
from tests.e2e.conftest import PrefectClient, Running
from tests.estate.listeners import SSH, Listeners, Place

pytestmark = pytest.mark.platform


def test_a_second_platform_on_postgresql_scans_beside_the_first(
    platform: Running, postgres_url: str, tmp_path: Path
) -> None:
    settings = Settings(
        home=tmp_path,
        api_port=free_port(),
        prefect_port=free_port(),
        database_url=new_postgres_database(postgres_url),
        scope_allow=("127.0.0.0/8",),  # type: ignore[arg-type]
    )
    with (
        Listeners([Place("127.0.76.1", 2001, SSH), Place("127.0.76.2", 2001, SSH)]) as listeners,
        Platform(settings, on_event=lambda said: None) as addresses,
        httpx.Client(base_url=addresses.api, timeout=30) as api,
        PrefectClient(base_url=addresses.prefect_api) as prefect,
    ):
        api.headers["Authorization"] = f"Token {(tmp_path / 'token').read_text().strip()}"
        second = Running(settings, api, prefect)
        asked = [(platform, platform.ask("127.0.76.1")), (second, second.ask("127.0.76.2"))]
        ended = [running.finish(scan) for running, scan in asked]
        found = [running.services(scan) for running, scan in asked]
        assert api.get("/api/scans/").json()["count"] == 1
    assert [scan["status"] for scan in ended] == ["SUCCESS", "SUCCESS"]
    assert found[0] | found[1] == {tuple(there) for there in listeners.truth}
    assert found[0].isdisjoint(found[1])
    assert not (tmp_path / "pulsar.db").exists()
