"""What a scan waits for, as the API and the command show it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from api.schemas import SCAN_EXAMPLE, ScanOut
from deployments.answers import ModuleRun
from deployments.answers import Scan as ScanAnswer
from deployments.progress import at_work
from footprint.store.tables import Scan

WAIT = "198.51.100.0/24, held by nmap of scan 5aa0fc9a-44e3-43ac-9c34-e0f703384f8e"


def _shown(**line: Any) -> dict[str, Any]:
    module = {**SCAN_EXAMPLE["modules"][0], **line}  # type: ignore[index]
    if line.get("waiting_for", "") is None:
        del module["waiting_for"]
    row = Scan(
        id=uuid4(), asset_id=uuid4(), target="198.51.100.7", policy_name="quick", policy={}, comment="", origin="api",
        status="STARTED", state="Running", progress=0, created_at=datetime.now(UTC), task_id=uuid4(), warnings=[],
        modules=[module], counts={},
    )  # fmt: skip
    shown: dict[str, Any] = ScanOut.of(row).model_dump(mode="json")
    return shown


def test_a_module_that_waits_says_for_what() -> None:
    (line,) = _shown(status="waiting", waiting_for=WAIT, waits_on="net:198.51.100.0/24")["modules"]
    assert (line["status"], line["waiting_for"]) == ("waiting", WAIT)
    assert "waits_on" not in line


def test_a_scan_of_before_there_were_budgets_is_shown_all_the_same() -> None:
    (line,) = _shown(waiting_for=None)["modules"]
    assert line["waiting_for"] is None


@pytest.mark.parametrize(("running", "said"), [(0, f"nmap waits for {WAIT}"), (1, "nmap 0 %")])
def test_the_command_says_what_a_scan_waits_for_while_nothing_runs(running: int, said: str) -> None:
    module = ModuleRun(name="nmap", status="waiting", units=1, running=running, waiting_for=WAIT)
    scan = ScanAnswer.model_construct(status="STARTED", modules=(module,))
    assert at_work(scan) == said
