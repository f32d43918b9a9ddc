"""`/api/assets/`: organisations, and what is known of them now."""

from __future__ import annotations

from api.given import Id, StoreDep
from api.paging import Page, PagingDep
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


@assets.get("/")
def list_assets(paging: PagingDep, store: StoreDep) -> Page[AssetOut]:
    """Assets, by name."""
    with store.read() as session:
        found, count = assets_page(session, offset=paging.offset, limit=paging.limit)
        return paging.of([_shown(asset) for asset in found], count)


@assets.get("/{asset_id}/")
def read_asset(asset_id: Id, store: StoreDep) -> AssetOut:
    """One asset."""
    with store.read() as session:
        return _shown(asset_by_id(session, asset_id))


@assets.get("/{asset_id}/domains/")
def read_asset_domains(asset_id: Id, paging: PagingDep, store: StoreDep) -> Page[DomainView]:
    """The DNS names known of the asset."""
    with store.read() as session:
        return paging.of(*asset_domains(session, asset_id, offset=paging.offset, limit=paging.limit))


@assets.get("/{asset_id}/hosts/")
def read_asset_hosts(asset_id: Id, paging: PagingDep, store: StoreDep) -> Page[HostView]:
    """The addresses known of the asset."""
    with store.read() as session:
        return paging.of(*asset_hosts(session, asset_id, offset=paging.offset, limit=paging.limit))


@assets.get("/{asset_id}/services/")
def read_asset_services(asset_id: Id, paging: PagingDep, store: StoreDep) -> Page[ServiceView]:
    """The services known of the asset."""
    with store.read() as session:
        return paging.of(*asset_services(session, asset_id, offset=paging.offset, limit=paging.limit))


@assets.get("/{asset_id}/findings/")
def read_asset_findings(asset_id: Id, paging: PagingDep, store: StoreDep) -> Page[FindingView]:
    """The weaknesses known of the asset."""
    with store.read() as session:
        return paging.of(*asset_findings(session, asset_id, offset=paging.offset, limit=paging.limit))
