"""`/api/assets/`: organisations, and what is known of them now."""

from __future__ import annotations

from fastapi import Response
from sqlalchemy.orm import Session

from api.given import Id
from api.paging import Page, PagingDep
from api.reading import ReadingDep
from api.routing import router
from api.schemas import AssetOut, CountsOut, Root
from footprint.store.views import (
    AssetView,
    DomainView,
    FindingView,
    HostView,
    ServiceView,
    asset_by_id,
    asset_domains,
    asset_findings,
    asset_hosts,
    asset_services,
    assets_page,
)

assets = router("assets")


def _shown(asset: AssetView) -> AssetOut:
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
        return paging.of([_shown(asset) for asset in found], count)

    return await reading(page)


@assets.get("/{asset_id}/", response_model=AssetOut)
async def read_asset(asset_id: Id, reading: ReadingDep) -> Response:
    """One asset."""
    return await reading(lambda session: _shown(asset_by_id(session, asset_id)))


@assets.get("/{asset_id}/domains/", response_model=Page[DomainView])
async def read_asset_domains(asset_id: Id, paging: PagingDep, reading: ReadingDep) -> Response:
    """The DNS names known of the asset."""
    return await reading(lambda session: paging.of(*asset_domains(session, asset_id, paging.offset, paging.limit)))


@assets.get("/{asset_id}/hosts/", response_model=Page[HostView])
async def read_asset_hosts(asset_id: Id, paging: PagingDep, reading: ReadingDep) -> Response:
    """The addresses known of the asset."""
    return await reading(lambda session: paging.of(*asset_hosts(session, asset_id, paging.offset, paging.limit)))


@assets.get("/{asset_id}/services/", response_model=Page[ServiceView])
async def read_asset_services(asset_id: Id, paging: PagingDep, reading: ReadingDep) -> Response:
    """The services known of the asset."""
    return await reading(lambda session: paging.of(*asset_services(session, asset_id, paging.offset, paging.limit)))


@assets.get("/{asset_id}/findings/", response_model=Page[FindingView])
async def read_asset_findings(asset_id: Id, paging: PagingDep, reading: ReadingDep) -> Response:
    """The weaknesses known of the asset."""
    return await reading(lambda session: paging.of(*asset_findings(session, asset_id, paging.offset, paging.limit)))
