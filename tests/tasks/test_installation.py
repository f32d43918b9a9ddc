"""A process that begins while its store is away waits for it, and not for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from footprint.errors import StoreUnavailable
from footprint.store import Store, engine, migrate, open_store
from tasks import installation
from tests.conftest import free_port


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits are short."""
    monkeypatch.setattr(engine, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(engine, "RETRY_SECONDS", 0.01)


def test_a_store_that_comes_back_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, tries = f"sqlite:///{tmp_path / 'pulsar.db'}", 0
    migrate(url)

    def open_at_last(url: str) -> Store:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise StoreUnavailable("away")
        return open_store(url)

    monkeypatch.setattr(installation, "open_store", open_at_last)
    opened = installation._opened(url)
    opened.close()
    assert tries == 3


def test_one_that_does_not_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/nothing"
    with pytest.raises(StoreUnavailable):
        installation._opened(url)
    monkeypatch.setattr(engine, "PATIENCE_SECONDS", 3600)
    monkeypatch.setattr(installation, "is_winding_down", lambda: True)
    with pytest.raises(StoreUnavailable):
        installation._opened(url)
