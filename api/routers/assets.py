"""`/api/assets/`: organisations, and what is known of them now."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import AwareDatetime
from sqlalchemy.orm import Session

from api.given import Id, ReaderDep, StoreDep
from api.paging import Page, PagingDep
from api.reading import ReadingDep
from api.routing import router
from api.schemas import AssetOut, CountsOut, Judgement, Root, ScoresOut
from footprint.store import Store
from footprint.store.asset_views import (
    AssetView,
    asset_by_id,
    asset_domains,
    asset_findings,
    asset_hosts,
    asset_services,
    assets_page,
)
from footprint.store.scoring import judge_finding, scores_of_asset
from footprint.store.views import DomainView, FindingView, HostView, ServiceView

assets = router("assets")

Fingerprint = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="A finding's fingerprint.")]

AsOf = Annotated[
    AwareDatetime | None,
    Query(description="What was known then (ISO 8601, with a zone): seen by then, and not known to be gone."),
]


def shown(asset: AssetView) -> AssetOut:
    """An asset of the store, as it is shown."""
    return AssetOut(
        id=asset.id,
        name=asset.name,
        roots=[Root(kind=kind, value=value) for kind, value in asset.roots],
        counts=CountsOut(**asset.counts),
        created_at=asset.created_at,
        first_seen=asset.first_seen,
        last_seen=asset.last_seen,
    )


@assets.get("/", response_model=Page[AssetOut])
async def list_assets(paging: PagingDep, reading: ReadingDep) -> Response:
    """Assets, by name."""

    def page(session: Session) -> Page[AssetOut]:
        found, count = assets_page(session, paging.offset, paging.limit)
        return paging.of([shown(asset) for asset in found], count)

    return await reading(page)


@assets.get("/{asset_id}/", response_model=AssetOut)
async def read_asset(asset_id: Id, reading: ReadingDep) -> Response:
    """One asset."""
    return await reading(lambda session: shown(asset_by_id(session, asset_id)))


@assets.get("/{asset_id}/domains/", response_model=Page[DomainView])
async def read_asset_domains(asset_id: Id, paging: PagingDep, reading: ReadingDep, as_of: AsOf = None) -> Response:
    """The DNS names known of the asset."""
    return await reading(
        lambda session: paging.of(*asset_domains(session, asset_id, paging.offset, paging.limit, as_of))
    )


@assets.get("/{asset_id}/hosts/", response_model=Page[HostView])
async def read_asset_hosts(asset_id: Id, paging: PagingDep, reading: ReadingDep, as_of: AsOf = None) -> Response:
    """The addresses known of the asset."""
    return await reading(lambda session: paging.of(*asset_hosts(session, asset_id, paging.offset, paging.limit, as_of)))


@assets.get("/{asset_id}/services/", response_model=Page[ServiceView])
async def read_asset_services(asset_id: Id, paging: PagingDep, reading: ReadingDep, as_of: AsOf = None) -> Response:
    """The services known of the asset."""
    return await reading(
        lambda session: paging.of(*asset_services(session, asset_id, paging.offset, paging.limit, as_of))
    )


@assets.get("/{asset_id}/findings/", response_model=Page[FindingView])
async def read_asset_findings(asset_id: Id, paging: PagingDep, reading: ReadingDep, as_of: AsOf = None) -> Response:
    """The weaknesses known of the asset."""
    return await reading(
        lambda session: paging.of(*asset_findings(session, asset_id, paging.offset, paging.limit, as_of))
    )


@assets.get("/{asset_id}/scores/", response_model=ScoresOut)
async def read_asset_scores(asset_id: Id, reading: ReadingDep) -> Response:
    """How bad it is: the score of the asset, of each of its domains, and of each host."""
    return await reading(lambda session: ScoresOut.of(scores_of_asset(session, asset_by_id(session, asset_id).id)))


@assets.patch("/{asset_id}/findings/{fingerprint}/", status_code=204)
async def mark_finding(
    asset_id: Id, fingerprint: Fingerprint, judged: Judgement, store: StoreDep, reader: ReaderDep
) -> None:
    """Mark a finding: a false positive no score counts any more, an accepted one is open again once it came back."""
    await run_in_threadpool(_judge, store, asset_id, fingerprint, judged.status)
    reader.forget()


def _judge(store: Store, asset_id: UUID, fingerprint: str, status: str) -> None:
    with store.write() as session:
        judge_finding(session, asset_id, fingerprint, status)
