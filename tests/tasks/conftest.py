"""What the tests of modules share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tasks.held import Hold, holder, require_sandbox


@pytest.fixture
def hold(tmp_path: Path) -> Hold:
    """Runs a text in the sandbox; nothing of it may be left."""
    require_sandbox(tmp_path)
    return holder(tmp_path)
