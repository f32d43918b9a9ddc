"""What an operator sees of a scan in the Prefect UI: a table of its services, with the verdict on top."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.exceptions import PrefectException, PrefectHTTPStatusError

from flows.changes_report import changes_told, fenced, publish_changes
from footprint.records import subject_of
from footprint.store import Store
from footprint.store.differences import Drift
from footprint.store.scans import Begun
from footprint.store.views import services_of_scan
from footprint.text import clean
from footprint.verdict import Verdict

ROWS_SHOWN = 500
PROGRESS_SECONDS = 5.0
"""How often the progress in the Prefect UI is renewed: each time costs a call."""

CLOSING_SECONDS = 15.0


class ProgressReport:
    """A scan's progress in the Prefect UI: an artifact that comes with the first renewal and goes up to 100.

    It is written from a thread of its own: a Prefect that does not answer must not hold the scan up.
    """

    def __init__(self, scan_id: UUID) -> None:
        self._key = key_of("progress", scan_id)
        self._id: UUID | None = None
        self._due = time.monotonic() + PROGRESS_SECONDS
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="progress")
        self._writing: Future[None] | None = None

    def show(self, progress: int, modules: list[dict[str, Any]]) -> None:
        """Renew it where it is due: the percentage, and the modules at work."""
        if time.monotonic() < self._due or (self._writing and not self._writing.done()):
            return
        self._due = time.monotonic() + PROGRESS_SECONDS
        at_work = ", ".join(line["name"] for line in modules if line["running"]) or _pause(modules)
        self._writing = self._writer.submit(copy_context().run, self._write, float(progress), at_work)

    def complete(self, publish: Callable[[], None]) -> None:
        """The scan has ended: show so, and publish the rest, but do not wait for a Prefect that is away."""

        def close() -> None:
            if self._id is not None:
                self._write(100.0, "ended")
            publish()

        closing = self._writer.submit(copy_context().run, close)
        try:
            closing.result(timeout=CLOSING_SECONDS)
        except TimeoutError:
            get_run_logger().warning("Prefect takes no artifacts: the scan's report is not to be seen there")

    def close(self) -> None:
        """Begin nothing more."""
        self._writer.shutdown(wait=False, cancel_futures=True)

    def _write(self, progress: float, at_work: str) -> None:
        with told_if_away():
            if self._id is None:
                made = create_progress_artifact(progress, key=self._key, description=at_work)
                assert isinstance(made, UUID)
                self._id = made
            else:
                update_progress_artifact(self._id, progress=progress, description=at_work)


def _pause(modules: list[dict[str, Any]]) -> str:
    """Why no module is at work."""
    waits = (f"{line['name']} waits for {line['waiting_for']}" for line in modules if line["waiting_for"])
    return ", ".join(waits) or "between two units"


def key_of(what: str, scan_id: UUID) -> str:
    """The key of one scan's artifact: Prefect shows all artifacts of one key as versions of the same thing."""
    return f"{what}-{str(scan_id)[:8]}"


@contextmanager
def told_if_away() -> Iterator[None]:
    """What is shown in Prefect is a copy: where it cannot be written, that is said, and the scan goes on."""
    try:
        yield
    except (httpx.HTTPError, PrefectException, PrefectHTTPStatusError) as away:
        get_run_logger().warning("Prefect did not take an artifact: %s", type(away).__name__)


def publish_report(store: Store, scan: Begun, verdict: Verdict, drift: Drift | None = None) -> None:
    """Make the artifacts of a scan that has ended. What a scanned host said is data: cleaned, and never markup.

    `drift` is what changed against the last comparable scan, if there was one.
    """
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
    with told_if_away():
        create_table_artifact(
            rows, key=key_of("services", scan.id), description=f"{shown} services found by scan {scan.id}"
        )
    if drift is not None:
        with told_if_away():
            publish_changes(scan.id, drift)
    asked = f"{subject_of(scan.target)}, policy {scan.policy.name}: {total} services"
    lines = [f"# {verdict.status}", "", asked, "", *([verdict.error, ""] if verdict.error else [])]
    lines += changes_told(drift)
    lines += ["## Warnings", "", fenced("\n".join(verdict.warnings))] if verdict.warnings else []
    with told_if_away():
        create_markdown_artifact(
            "\n".join(lines), key=key_of("verdict", scan.id), description=f"How scan {scan.id} ended"
        )
