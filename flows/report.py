"""What an operator sees of a scan in the Prefect UI: a table of its services, with the verdict on top."""

from __future__ import annotations

import re

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from footprint.store import Store
from footprint.store.scans import Begun
from footprint.store.views import services_of_scan
from footprint.text import clean
from footprint.verdict import Verdict

ROWS_SHOWN = 500


def publish_report(store: Store, scan: Begun, verdict: Verdict) -> None:
    """Make the artifacts of a scan that has ended. What a scanned host said is data: cleaned, and never markup."""
    with store.read() as session:
        services, total = services_of_scan(session, scan.id, 0, ROWS_SHOWN)
    rows = [
        {
            "host": service.host,
            "port": f"{service.port}/{service.protocol}",
            "service": clean(service.service or "", 100),
            "product": clean(service.product or "", 200),
            "version": clean(service.version or "", 100),
        }
        for service in services
    ]
    shown = f"{len(rows)} of {total}" if total > len(rows) else str(total)
    create_table_artifact(rows, key="services", description=f"{shown} services found by scan {scan.id}")
    lines = [f"# {verdict.status}", "", *([verdict.error, ""] if verdict.error else [])]
    lines += ["## Warnings", "", fenced("\n".join(verdict.warnings))] if verdict.warnings else []
    create_markdown_artifact("\n".join(lines), key="verdict", description=f"How scan {scan.id} ended")


def fenced(text: str) -> str:
    """A text as a Markdown code block that it cannot break out of."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"
