"""Events of scans in Prefect, for automations of the user's own: started, finished, changed.

Prefect's client sends them from a thread of its own: one that is away holds no scan up. The run, its flow and its
deployment are related resources, which the client adds by itself.
"""

from __future__ import annotations

from typing import Any

from prefect import get_run_logger
from prefect.events import emit_event
from prefect.settings import PREFECT_API_URL

from footprint.change_words import counts_of, lines_of
from footprint.drift import Change
from footprint.records import subject_of
from footprint.store.differences import Drift
from footprint.store.scans import Begun
from footprint.text import clean
from footprint.verdict import Verdict

STARTED, FINISHED, CHANGED = "pulsar.scan.started", "pulsar.scan.finished", "pulsar.scan.changed"
LINES_SENT = 20
WORD, LINE = 255, 500


def tell_started(scan: Begun) -> None:
    """A flow has taken a scan up."""
    _emit(scan, STARTED, {"attempt": scan.attempt})


def tell_finished(scan: Begun, verdict: Verdict) -> None:
    """A scan has its verdict."""
    error = clean(verdict.error, LINE) if verdict.error else None
    status = verdict.status.value
    _emit(scan, FINISHED, {"status": status, "error": error, "warnings": len(verdict.warnings)}, status)


def tell_changed(scan: Begun, drift: Drift | None) -> None:
    """What a scan found changed, if it did: counts, and the first lines."""
    changes = [each for each in drift.differences if each.change is not Change.NOT_LOOKED_AT] if drift else []
    if changes:
        counts = {change.value: count for change, count in counts_of(changes).items()}
        lines = [clean(line, LINE) for line in lines_of(changes)[:LINES_SENT]]
        _emit(scan, CHANGED, {"changed": counts, "lines": lines})


def _emit(scan: Begun, event: str, payload: dict[str, Any], status: str | None = None) -> None:
    target = clean(subject_of(scan.target), WORD)
    labels = {"prefect.resource.name": target, "pulsar.policy": scan.policy.name}
    resource = {"prefect.resource.id": f"pulsar.scan.{scan.id}", **labels}
    if status:
        resource["pulsar.status"] = status  # automations match labels, not payloads
    if not PREFECT_API_URL.value():
        return  # Prefect's client would start a server of its own
    asset = {"prefect.resource.id": f"pulsar.asset.{scan.asset_id}", "prefect.resource.role": "asset"}
    told = {"scan": str(scan.id), "target": target, "policy": scan.policy.name, **payload}
    try:
        emit_event(event, resource, related=[asset], payload=told)
    except Exception:
        # It is a message about the scan, and no part of it.
        get_run_logger().exception("Prefect was not told of %s", event)
