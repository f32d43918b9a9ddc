"""The service_checks module, asked about services directly."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from footprint.records import Coverage, Finding, Outcome, Service
from tasks.service_checks import TOOL, ServiceChecksOptions
from tests.tasks.asking import asking

HERE = "127.0.0.1"


@dataclass
class Looked:
    """What one unit found: its findings in order, its coverage by subject, and how long it took."""

    findings: list[Finding] = field(default_factory=list)
    coverage: dict[str, Coverage] = field(default_factory=dict)
    reported: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rules(self) -> list[str]:
        """Which rules found something, without the module's name."""
        return [finding.rule.removeprefix("service_checks/") for finding in self.findings]

    @property
    def said(self) -> tuple[Outcome, str]:
        """The coverage of the one service that was asked about."""
        (entry,) = self.coverage.values()
        return entry.outcome, entry.note

    @property
    def finding(self) -> Finding:
        """The only one."""
        (finding,) = self.findings
        return finding


def look(*services: Service, options: dict[str, Any] | None = None, **under: Any) -> Looked:
    """Ask about services, in a hurry unless told otherwise; `under` are the scan's circumstances."""
    assert TOOL.probe is not None
    chosen = ServiceChecksOptions.model_validate({"rate": 1000, "timeout": 10, **(options or {})})
    looked = Looked()
    begun = time.monotonic()
    for found in TOOL.probe(services, chosen, asking(report=looked.reported.append, **under)):
        if isinstance(found, Coverage):
            looked.coverage[found.subject] = found
        else:
            assert isinstance(found, Finding)
            looked.findings.append(found)
    looked.seconds = time.monotonic() - begun
    return looked


@contextmanager
def directory_for_all() -> Iterator[Path]:
    """A directory that daemons may read which become another user."""
    with tempfile.TemporaryDirectory(prefix="pulsar-checks-") as made:
        Path(made).chmod(0o755)
        yield Path(made)
