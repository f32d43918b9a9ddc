"""The real application in this process, with a Prefect that is away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from api.app import create_app
from footprint.settings import Settings
from footprint.store import Store, ensure_home_token, migrate, open_store
from tests.conftest import free_port


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation of its own, which allows a piece of loopback and never touches another."""
    return Settings(
        home=tmp_path,
        scope_allow=("127.0.0.0/16",),
        scope_exclude=("127.0.9.9", "never.example"),  # type: ignore[arg-type]
    )


@pytest.fixture
def opened(settings: Settings) -> Iterator[Store]:
    """The installation's store, to look behind the API."""
    migrate(settings.store_url)
    store = open_store(settings.store_url)
    yield store
    store.close()


@pytest.fixture
def token(opened: Store, settings: Settings) -> str:
    """The installation's token."""
    return ensure_home_token(opened, settings.home)[0]


@pytest.fixture
def anyone(settings: Settings, token: str) -> Iterator[TestClient]:
    """A client without a token."""
    nobody = f"http://127.0.0.1:{free_port()}/api"
    with (
        temporary_settings({PREFECT_API_URL: nobody, PREFECT_CLIENT_MAX_RETRIES: 0}),
        TestClient(create_app(settings), base_url="http://127.0.0.1") as client,
    ):
        yield client


@pytest.fixture
def client(anyone: TestClient, token: str) -> TestClient:
    """A client with the installation's token."""
    anyone.headers["Authorization"] = f"Token {token}"
    return anyone
