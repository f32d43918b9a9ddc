"""What the REST API answers, as far as the `pulsar` command reads it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from footprint.states import TERMINAL, Status


class Answer(BaseModel):
    """What the API sends. Fields this command does not know are kept, so that `--json` loses nothing."""

    model_config = ConfigDict(extra="allow", frozen=True)

    def as_sent(self) -> dict[str, Any]:
        """The JSON object that it was read from."""
        return self.model_dump(mode="json", exclude_unset=True)


class ModuleRun(Answer):
    """One module's part of a scan: its units of work by how they ended, and its progress in per cent."""

    name: str
    status: str
    units: int = 0
    done: int = 0
    partial: int = 0
    failed: int = 0
    skipped: int = 0
    running: int = 0
    progress: int | float = 0
    waiting_for: str | None = None
    detail: str | None = None
    error: str | None = None

    @property
    def ended(self) -> int:
        """Units that nothing more will come of, well or not."""
        return self.done + self.partial + self.failed + self.skipped


class Counts(Answer):
    """How many records of each kind a scan found."""

    domains: int = 0
    hosts: int = 0
    services: int = 0
    findings: int = 0


class Scan(Answer):
    """A scan as `/api/scans/{id}/` shows it. Times are ISO 8601 text; `progress` is 0-100."""

    id: str
    target: str
    policy: str
    status: Status
    progress: int | float = 0
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None
    comment: str = ""
    warnings: tuple[str, ...] = ()
    error: str | None = None
    modules: tuple[ModuleRun, ...] = ()
    counts: Counts = Counts()
    waiting: str | None = None
    schedule: str | None = None
    processes_ended: int | None = None

    @property
    def is_over(self) -> bool:
        """True once the status will never change again."""
        return self.status in TERMINAL


class Purge(Answer):
    """How many scans were revoked that had not begun."""

    revoked: int


class Service(Answer):
    """An open port. `host` is its address."""

    host: str
    port: int
    protocol: str = "tcp"
    service: str | None = None
    product: str | None = None
    version: str | None = None


class Name(Answer):
    """A DNS name that a scan came upon, and the name it is an alias of."""

    name: str
    cname: str | None = None


class HostFound(Answer):
    """An address, and the names that led to it."""

    address: str
    names: tuple[str, ...] = ()


class TechnologyFound(Answer):
    """A product that a service shows to be made with."""

    subject: str
    name: str
    version: str | None = None


class FindingFound(Answer):
    """A weakness and where it is. `confidence` is 0-1, `score` a CVSS base score."""

    rule: str
    subject: str
    title: str = ""
    severity: str = "none"
    confidence: float = 1.0
    score: float | None = None


class FieldChanged(Answer):
    """One field of a thing, from what to what."""

    field: str
    before: Any = None
    after: Any = None


class Difference(Answer):
    """A thing that differs between two scans. `reason` says how it is known that it is gone, or why that is not."""

    change: str
    kind: str
    subject: str
    title: str | None = None
    severity: str | None = None
    fields: tuple[FieldChanged, ...] = ()
    reason: str = ""


class ComparedScan(Answer):
    """The scan that another was compared with."""

    id: str
    policy: str = ""
    created_at: str = ""


class Diff(Answer):
    """All that differs in a scan. `counts` is by kind and change."""

    scan: str
    against: ComparedScan
    counts: dict[str, dict[str, int]] = {}
    results: tuple[Difference, ...] = ()


class FeedState(Answer):
    """How far a vulnerability feed was read, and when; times are ISO 8601 text."""

    name: str
    source: str = ""
    entries: int = 0
    updated_at: str | None = None
    error: str | None = None


class Module(Answer):
    """A module and the state of its tool where it runs: ready, degraded, missing, too_old or quarantined."""

    name: str
    summary: str = ""
    risk: str = ""
    installed: bool
    version: str | None = None
    state: str
    privileged: bool | None = None
    remedy: str = ""
    fence: str | None = None


class Policy(Answer):
    """A policy, by the name that `--policy` takes."""

    name: str
    description: str = ""


class Webhook(Answer):
    """A signed webhook; `secret` is there only when it was just made."""

    name: str
    url: str
    receiver: str = ""
    created_at: str = ""
    secret: str | None = None


class Trial(Answer):
    """What became of a test of a webhook."""

    delivered: bool
    event_id: str = ""
    error: str | None = None


class Cause(Answer):
    """One reason why a scan is where it is; `since` is ISO 8601 text."""

    code: str
    detail: str
    remedy: str = ""
    since: str | None = None


class Explanation(Answer):
    """Why a scan is where it is."""

    status: Status
    explanation: str
    causes: tuple[Cause, ...] = ()


class LogLine(Answer):
    """A line of a scan's log; `at` is ISO 8601 text, `stderr` what the tool of a failed unit said last."""

    id: str
    at: str
    level: str
    module: str | None = None
    batch: int | None = None
    message: str
    stderr: tuple[str, ...] = ()


class Part(Answer):
    """One part of the platform or of this machine: ok, warn or fail, and what to do."""

    name: str
    status: str
    detail: str = ""
    remedy: str = ""


class HealthFound(Answer):
    """How the platform is, part by part."""

    status: str
    parts: tuple[Part, ...]


class Scans(Answer):
    """One page of scans, newest first."""

    count: int
    next: str | None = None
    results: tuple[Scan, ...]
