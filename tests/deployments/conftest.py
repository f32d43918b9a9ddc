"""What the tests of the command share: a server that answers like the REST API, and a home without a platform."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments import client
from tests.deployments.rest_stand_in import TOKEN, StandIn, serving


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    with serving(StandIn()) as stand_in:
        monkeypatch.setenv("PULSAR_HOME", str(tmp_path))
        monkeypatch.setenv("PULSAR_API_URL", stand_in.url)
        monkeypatch.setenv("PULSAR_API_TOKEN", TOKEN)
        yield stand_in


@pytest.fixture
def no_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("PULSAR_API_URL", "PULSAR_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PULSAR_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll fast, give up soon, and have no terminal's habits."""
    monkeypatch.setattr(client, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(client, "PATIENCE_SECONDS", 0.3)
    for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
