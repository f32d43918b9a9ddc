"""What goes over the wire. Requests forbid what they do not know; answers leave nothing out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.policy_schemas import AskedPolicy
from footprint.policy import DEFAULT_POLICY, ModuleName
from footprint.score import Scores
from footprint.states import Status
from footprint.store.closings import closed_upon
from footprint.store.tables import Scan, now

Line = StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]*$")
PROBLEM_EXAMPLE = {"error": "invalid_target", "detail": "the target is not a domain, an address or a network"}


class ScanRequest(BaseModel):
    """What to scan, and how."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"target": "example.com", "policy": "full_discovery", "comment": "Monthly footprint scan"},
                {
                    "target": "example.com",
                    "policy": {"modules": {"dns": {}, "nmap": {"timing": 3}}, "ports": "top:100"},
                },
            ]
        },
    )

    target: str = Field(max_length=1024, description="A domain, an address or a network in CIDR notation.")
    policy: AskedPolicy = Field(default=DEFAULT_POLICY, description="A policy's name, or a policy for this scan alone.")
    comment: Annotated[str, Line] = Field(default="", max_length=1000, description="For you; kept with the scan.")


class ModuleOut(BaseModel):
    """How far one module of a scan is: its units by status, its progress (0-100), and an error of one of them."""

    name: str
    status: str
    progress: int
    units: int
    waiting: int
    waiting_for: str | None
    planned: int
    running: int
    done: int
    partial: int
    failed: int
    skipped: int
    error: str | None


class CountsOut(BaseModel):
    """How many different things a scan has seen."""

    domains: int
    hosts: int
    services: int
    findings: int
    technologies: int
    certificates: int
    web_pages: int
    dns_records: int


SCAN_EXAMPLE = {
    "id": "5aa0fc9a-44e3-43ac-9c34-e0f703384f8e",
    "target": "example.com",
    "asset": "45f3b42e-94ba-4c00-9a38-9d11d9a3f58c",
    "policy": "full_discovery",
    "comment": "Monthly footprint scan",
    "status": "STARTED",
    "progress": 42,
    "created_at": "2026-01-05T02:00:00.120000Z",
    "started_at": "2026-01-05T02:00:01.470000Z",
    "finished_at": None,
    "task_id": "f1720dae-932b-4802-936c-b327d728bec7",
    "state": "Running",
    "warnings": [],
    "error": None,
    "modules": [
        {
            "name": "nmap",
            "status": "running",
            "progress": 42,
            "units": 12,
            "waiting": 2,
            "waiting_for": None,
            "planned": 0,
            "running": 8,
            "done": 2,
            "partial": 0,
            "failed": 0,
            "skipped": 0,
            "error": None,
        }
    ],
    "waiting": None,
    "schedule": None,
    "resumed_from": None,
    "cancelled_at": None,
    "processes_ended": None,
    "processes_gone_at": None,
    "counts": {
        "domains": 12,
        "hosts": 3,
        "services": 17,
        "findings": 4,
        "technologies": 9,
        "certificates": 2,
        "web_pages": 3,
        "dns_records": 8,
    },
    "score": None,
}


class ScanOut(BaseModel):
    """A scan. `task_id` is its Prefect flow run, `state` Prefect's name for its state; times are UTC.

    `waiting` says what it waits for, if for more than a worker, or that its window has closed upon it; `schedule` is
    the one that asked for it, `resumed_from` the scan whose finished units it took over. A cancel leaves its receipt:
    when it was asked for, how many processes were ended, when none was left.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [SCAN_EXAMPLE]})  # type: ignore[list-item]

    id: UUID
    target: str
    asset: UUID
    policy: str
    comment: str
    status: Status
    progress: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    task_id: UUID
    state: str
    warnings: list[str]
    error: str | None
    modules: list[ModuleOut]
    counts: CountsOut
    score: float | None
    waiting: str | None
    schedule: UUID | None
    resumed_from: UUID | None
    cancelled_at: datetime | None
    processes_ended: int | None
    processes_gone_at: datetime | None

    @classmethod
    def of(cls, scan: Scan) -> ScanOut:
        """A row of the store, as it is shown: the row was checked when it was written."""
        assert scan.task_id is not None
        return cls.model_construct(
            id=scan.id,
            target=scan.target,
            asset=scan.asset_id,
            policy=scan.policy_name,
            comment=scan.comment,
            status=Status(scan.status),
            progress=scan.progress,
            created_at=scan.created_at,
            started_at=scan.started_at,
            finished_at=scan.finished_at,
            task_id=scan.task_id,
            state=scan.state,
            warnings=scan.warnings,
            error=scan.error,
            modules=[ModuleOut.model_construct(**{"waiting_for": None, **line}) for line in scan.modules],
            counts=CountsOut.model_construct(**{name: scan.counts.get(name, 0) for name in CountsOut.model_fields}),
            score=scan.score,
            waiting=scan.waiting or closed_upon(scan, now()),
            schedule=scan.schedule_id,
            resumed_from=scan.resumed_from,
            cancelled_at=scan.cancelled_at,
            processes_ended=scan.processes_ended,
            processes_gone_at=scan.processes_gone_at,
        )


class Resumption(BaseModel):
    """What of a scan is to be done that was not finished."""

    model_config = ConfigDict(extra="forbid", strict=True)

    module: ModuleName | None = Field(default=None, description="Only the units of this module that did not end well.")


class PurgeOut(BaseModel):
    """How many scans were revoked that had not begun."""

    revoked: int


class Root(BaseModel):
    """A domain, host or network that belongs to an asset."""

    kind: str
    value: str


class AssetOut(BaseModel):
    """An organisation as the scans see it; `counts` is what is known of it now."""

    id: UUID
    name: str
    roots: list[Root]
    counts: CountsOut
    created_at: datetime
    first_seen: datetime | None
    last_seen: datetime | None


class ScoresOut(BaseModel):
    """Scores from 0.0 to 10.0: of the whole, of each domain by name, of each host by address."""

    score: float
    domains: dict[str, float]
    hosts: dict[str, float]

    @classmethod
    def of(cls, scores: Scores) -> ScoresOut:
        """Scores, as they are shown."""
        return cls(score=scores.asset, domains=dict(scores.domains), hosts=dict(scores.hosts))


class Judgement(BaseModel):
    """What somebody decided of a finding."""

    model_config = ConfigDict(extra="forbid", strict=True)

    status: Literal["open", "accepted", "false_positive"]


class ModuleStateOut(BaseModel):
    """A module on the machine that answers: `state` is ready, degraded, missing, too_old or quarantined.

    `fence` says whether the kernel keeps its tool to its targets: on, off, or null where it has none to be kept.
    """

    name: str
    summary: str
    risk: str
    installed: bool
    version: str | None
    state: str
    privileged: bool | None
    remedy: str
    fence: str | None


class PartOut(BaseModel):
    """One part of the platform. `status` is ok, warn or fail; `remedy` is empty where there is nothing to do."""

    name: str
    status: str
    detail: str
    remedy: str


class HealthOut(BaseModel):
    """How the platform is: ok, degraded (scans wait) or down (nothing can be read)."""

    status: str
    parts: list[PartOut]


class FieldProblem(BaseModel):
    """A field that is at fault, by its place (`modules.nmap.timing`), and what it must be."""

    field: str
    problem: str


class Problem(BaseModel):
    """The body of every error: a stable word, a sentence, sometimes what to do, and the fields that are at fault."""

    model_config = ConfigDict(json_schema_extra={"example": {**PROBLEM_EXAMPLE}})

    error: str
    detail: str
    hint: str | None = None
    fields: list[FieldProblem] | None = None
