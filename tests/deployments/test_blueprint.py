"""What a platform tells its processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.blueprint import PRIVATE, _variables
from footprint.settings import Settings


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"destination_rate": 200, "tool_limits": {"amass": 2, "nuclei": 3}, "max_addresses": 256},
        {"scope_allow": "10.0.0.0/8,fd87::/64", "scope_exclude": "10.0.0.1", "resolvers": "127.0.0.1:53"},
    ],
)
def test_a_platforms_processes_read_the_settings_that_it_has(
    said: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.model_validate({"home": tmp_path, **said})
    for name, value in _variables(settings).items():
        monkeypatch.setenv(name, value)
    assert Settings().model_dump(exclude=set(PRIVATE)) == settings.model_dump(exclude=set(PRIVATE))
