"""The tables of the store. Natural unique keys make saving a thing twice harmless; times are UTC and aware."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time on every database: SQLite forgets the zone, so it is put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times, store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive time cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give aware UTC times back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now() -> datetime:
    """The present, aware, in UTC."""
    return datetime.now(UTC)


class Table(DeclarativeBase):
    """The parent of all tables; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime(), UUID: Uuid(), dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012 -- SQLAlchemy's own spelling


class Asset(Table):
    """An organisation as the scans see it: a name and the roots that belong to it."""

    __tablename__ = "assets"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    name: Mapped[str] = mapped_column(String(255), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class AssetRoot(Table):
    """A domain, address or network that belongs to one asset."""

    __tablename__ = "asset_roots"
    __table_args__ = (UniqueConstraint("asset_id", "kind", "value"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    asset_id: Mapped[UUID] = mapped_column(ForeignKey("assets.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(16))
    value: Mapped[str] = mapped_column(String(255), unique=True)


class Scan(Table):
    """One scan of one target, from the request to the verdict.

    `task_id` is the Prefect flow run; a row without one is a request in the making and shown to nobody.
    `modules` and `counts` are a digest of the module runs and sightings, so that reading a scan is reading one row.
    `attempt` is the fencing token: only the flow that holds the present one may write, and only while it is STARTED.
    `cancelled_at` is when its end was asked for; `processes_ended` of it were then ended, the last at
    `processes_gone_at`. `losses` counts the workers it lost, `spent_seconds` for how long it ran in
    all of its attempts, the waiting between them left out; from `resume_at` on it may be taken up again. `scope` is
    what assets said of its scope when it was asked for; `not_listed` counts what was left out and is not among the
    rows of that. `schedule_id` and `schedule_run` say which schedule asked for it, and at which of its times; they
    outlive the schedule.
    """

    __tablename__ = "scans"
    __table_args__ = (
        Index("ix_scans_created_at_id", "created_at", "id"),
        Index("ix_scans_status", "status"),
        Index("ix_scans_schedule_id", "schedule_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    asset_id: Mapped[UUID] = mapped_column(ForeignKey("assets.id"))
    target: Mapped[str] = mapped_column(String(255))
    target_kind: Mapped[str] = mapped_column(String(16))
    policy_name: Mapped[str] = mapped_column(String(64))
    policy: Mapped[dict[str, Any]]
    comment: Mapped[str] = mapped_column(Text, default="")
    origin: Mapped[str] = mapped_column(String(16))
    idempotency_key: Mapped[str | None] = mapped_column(String(255), unique=True)
    request_digest: Mapped[str | None] = mapped_column(String(64))
    task_id: Mapped[UUID | None] = mapped_column(unique=True)
    status: Mapped[str] = mapped_column(String(16), default="PENDING")
    state: Mapped[str] = mapped_column(String(64), default="Scheduled")
    progress: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    attempt: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime | None]
    warnings: Mapped[list[Any]] = mapped_column(default=list)
    error: Mapped[str | None] = mapped_column(Text)
    modules: Mapped[list[Any]] = mapped_column(default=list)
    counts: Mapped[dict[str, Any]] = mapped_column(default=dict)
    score: Mapped[float | None] = mapped_column(Float)
    cancelled_at: Mapped[datetime | None]
    processes_ended: Mapped[int | None]
    processes_gone_at: Mapped[datetime | None]
    resumed_from: Mapped[UUID | None]
    losses: Mapped[int] = mapped_column(default=0, server_default="0")
    spent_seconds: Mapped[float | None] = mapped_column(Float)
    resume_at: Mapped[datetime | None]
    waiting: Mapped[str | None] = mapped_column(Text)
    scope: Mapped[dict[str, Any]] = mapped_column(default=dict)
    not_listed: Mapped[int] = mapped_column(default=0)
    schedule_id: Mapped[UUID | None]
    schedule_run: Mapped[int | None]


class ModuleRun(Table):
    """One unit of a scan: one module against one batch of records. `inputs` are the records, packed."""

    __tablename__ = "module_runs"
    __table_args__ = (UniqueConstraint("scan_id", "module", "batch"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    scan_id: Mapped[UUID] = mapped_column(ForeignKey("scans.id", ondelete="CASCADE"))
    module: Mapped[str] = mapped_column(String(32))
    batch: Mapped[int]
    attempt: Mapped[int]
    depth: Mapped[int] = mapped_column(default=0)
    status: Mapped[str] = mapped_column(String(16), default="planned")
    inputs: Mapped[list[Any]]
    progress: Mapped[int] = mapped_column(default=0)
    records: Mapped[int] = mapped_column(default=0)
    coverage: Mapped[dict[str, Any]] = mapped_column(default=dict)
    command: Mapped[str] = mapped_column(Text, default="")
    version: Mapped[str | None] = mapped_column(String(64))
    containment: Mapped[str | None] = mapped_column(String(32))
    degraded: Mapped[str | None] = mapped_column(Text)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error: Mapped[str | None] = mapped_column(Text)
    hint: Mapped[str | None] = mapped_column(Text)
    stderr: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class CoverageRow(Table):
    """What became of one target of a module run: the ground on which "gone" may later be said."""

    __tablename__ = "coverage"

    module_run_id: Mapped[int] = mapped_column(ForeignKey("module_runs.id", ondelete="CASCADE"), primary_key=True)
    subject: Mapped[str] = mapped_column(String(400), primary_key=True)
    outcome: Mapped[str] = mapped_column(String(16))
    note: Mapped[str] = mapped_column(Text, default="")


class Sighting(Table):
    """Which module run of which scan saw what, and what it knew of it then."""

    __tablename__ = "sightings"
    __table_args__ = (
        UniqueConstraint("module_run_id", "kind", "entity_id"),
        Index("ix_sightings_scan_id_kind_entity_id", "scan_id", "kind", "entity_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    scan_id: Mapped[UUID] = mapped_column(ForeignKey("scans.id", ondelete="CASCADE"))
    module_run_id: Mapped[int] = mapped_column(ForeignKey("module_runs.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(16))
    entity_id: Mapped[int]
    facts: Mapped[list[Any]]


class Domain(Table):
    """A DNS name of an asset, as last seen."""

    __tablename__ = "domains"
    __table_args__ = (UniqueConstraint("asset_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    asset_id: Mapped[UUID] = mapped_column(ForeignKey("assets.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(255))
    cname: Mapped[str | None] = mapped_column(String(255))
    wildcard: Mapped[bool] = mapped_column(default=False)
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]


class HostRow(Table):
    """An address of an asset. `order_key` sorts addresses as numbers."""

    __tablename__ = "hosts"
    __table_args__ = (UniqueConstraint("asset_id", "address"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    asset_id: Mapped[UUID] = mapped_column(ForeignKey("assets.id", ondelete="CASCADE"))
    address: Mapped[str] = mapped_column(String(45))
    order_key: Mapped[str] = mapped_column(String(34))
    names: Mapped[list[Any]] = mapped_column(default=list)
    os: Mapped[str | None] = mapped_column(Text)
    asn: Mapped[int | None] = mapped_column(BigInteger)
    prefix: Mapped[str | None] = mapped_column(String(64))
    holder: Mapped[str | None] = mapped_column(Text)
    country: Mapped[str | None] = mapped_column(String(8))
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]


class ServiceRow(Table):
    """An open port of a host and what answered there, as last seen."""

    __tablename__ = "services"
    __table_args__ = (UniqueConstraint("asset_id", "address", "protocol", "port"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    asset_id: Mapped[UUID] = mapped_column(ForeignKey("assets.id", ondelete="CASCADE"))
    address: Mapped[str] = mapped_column(String(45))
    order_key: Mapped[str] = mapped_column(String(34))
    port: Mapped[int]
    protocol: Mapped[str] = mapped_column(String(8))
    name: Mapped[str | None] = mapped_column(Text)
    product: Mapped[str | None] = mapped_column(Text)
    version: Mapped[str | None] = mapped_column(Text)
    detail: Mapped[str | None] = mapped_column(Text)
    tunnel: Mapped[str | None] = mapped_column(String(16))
    cpes: Mapped[list[Any]] = mapped_column(default=list)
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]


class DetailRow(Table):
    """What is known beside names, addresses, services and findings: a record of its kind, as last seen.

    `key` is the SHA-256 of the record's identity; `subject` is what it is about.
    """

    __tablename__ = "details"
    __table_args__ = (
        UniqueConstraint("asset_id", "kind", "key"),
        Index("ix_details_asset_id_kind_subject", "asset_id", "kind", "subject"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    asset_id: Mapped[UUID] = mapped_column(ForeignKey("assets.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(16))
    key: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(400))
    facts: Mapped[dict[str, Any]]
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]


class FindingRow(Table):
    """A weakness of an asset, as last seen. `status` is what was decided of it: open, accepted or false_positive."""

    __tablename__ = "findings"
    __table_args__ = (UniqueConstraint("asset_id", "rule", "subject"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    asset_id: Mapped[UUID] = mapped_column(ForeignKey("assets.id", ondelete="CASCADE"))
    rule: Mapped[str] = mapped_column(String(128))
    subject: Mapped[str] = mapped_column(String(400))
    title: Mapped[str] = mapped_column(Text)
    severity: Mapped[str] = mapped_column(String(16))
    confidence: Mapped[float]
    evidence: Mapped[str] = mapped_column(Text, default="")
    reference: Mapped[str] = mapped_column(Text, default="")
    cvss: Mapped[str | None] = mapped_column(String(255))
    score: Mapped[float | None] = mapped_column(Float)
    module: Mapped[str | None] = mapped_column(String(32))
    fingerprint: Mapped[str] = mapped_column(String(32), default="")
    status: Mapped[str] = mapped_column(String(16), default="open")
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]


class Token(Table):
    """A key to the API: only its SHA-256 is kept."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[Any]] = mapped_column(default=list)
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime | None]
