"""What may be looked at: assets as they are described, their scope and authorisations; and what scans left out."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request, Response
from sqlalchemy.orm import Session

from api.given import Id
from api.paging import Page, PagingDep
from api.reading import ReadingDep
from api.routers.assets import shown
from api.routing import router
from api.schemas import AssetOut
from api.scope_schemas import (
    AssetChange,
    AssetRequest,
    AuthorizationOut,
    AuthorizationRequest,
    LeftOutPage,
    ScanScopeOut,
    ScopeBody,
)
from api.writing import WritingDep
from footprint.asset_scope import AssetScope
from footprint.store.asset_views import asset_by_id
from footprint.store.assets import add_asset, change_asset, scope_of_asset, set_scope
from footprint.store.authorizations import add_authorization, authorizations_page, delete_authorization
from footprint.store.left_out import left_out_page
from footprint.store.views import scan_by_id

asset_scopes = router("assets")
scan_scopes = router("scans")
Number = Annotated[int, Path(ge=1, le=2**31 - 1, description="An authorisation's number.")]


@asset_scopes.post("/", status_code=201)
async def create_asset(asked: AssetRequest, request: Request, response: Response, writing: WritingDep) -> AssetOut:
    """Describe an asset before anything of it is scanned: its name, its roots, its scope."""
    said = asked.scope.said(asked.roots)
    made = await writing(lambda session: asset_by_id(session, add_asset(session, asked.name, said)))
    response.headers["Location"] = str(request.url_for("read_asset", asset_id=made.id))
    return shown(made)


@asset_scopes.patch("/{asset_id}/")
async def describe_asset(asset_id: Id, asked: AssetChange, writing: WritingDep) -> AssetOut:
    """Give an asset another name, or other roots."""

    def change(session: Session) -> AssetOut:
        change_asset(session, asset_id, asked.name, asked.roots)
        return shown(asset_by_id(session, asset_id))

    return await writing(change)


@asset_scopes.get("/{asset_id}/scope/", response_model=ScopeBody)
async def read_scope(asset_id: Id, reading: ReadingDep) -> Response:
    """What the asset's scans may touch besides their target, and what they never touch."""
    return await reading(lambda session: _scope(scope_of_asset(session, asset_id)))


@asset_scopes.put("/{asset_id}/scope/")
async def replace_scope(asset_id: Id, asked: ScopeBody, writing: WritingDep) -> ScopeBody:
    """Put another scope in its place. Exclusions hold at once, for scans under way too; inclusions for new scans."""
    await writing(lambda session: set_scope(session, asset_id, asked.said()))
    return asked


@asset_scopes.get("/{asset_id}/authorizations/", response_model=Page[AuthorizationOut])
async def list_authorizations(asset_id: Id, paging: PagingDep, reading: ReadingDep) -> Response:
    """The authorisations that the asset carries, the newest first."""

    def page(session: Session) -> Page[AuthorizationOut]:
        found, count = authorizations_page(session, asset_id, paging.offset, paging.limit)
        return paging.of([AuthorizationOut.of(one) for one in found], count)

    return await reading(page)


@asset_scopes.post("/{asset_id}/authorizations/", status_code=201)
async def create_authorization(asset_id: Id, asked: AuthorizationRequest, writing: WritingDep) -> AuthorizationOut:
    """Write down that somebody allowed the asset, or a part of it, to be looked at actively."""
    return AuthorizationOut.of(await writing(lambda session: add_authorization(session, asset_id, asked.said())))


@asset_scopes.delete("/{asset_id}/authorizations/{number}/", status_code=204)
async def revoke_authorization(asset_id: Id, number: Number, writing: WritingDep) -> None:
    """Take an authorisation back. What is active and rests on it stops before its next unit."""
    await writing(lambda session: delete_authorization(session, asset_id, number))


@scan_scopes.get("/{scan_id}/scope/", response_model=ScanScopeOut)
async def read_scan_scope(scan_id: Id, reading: ReadingDep) -> Response:
    """What assets said of the scan's scope when it was asked for: later edits change nothing here."""
    return await reading(lambda session: ScanScopeOut(**AssetScope.unpack(scan_by_id(session, scan_id).scope).pack()))


@scan_scopes.get("/{scan_id}/left-out/", response_model=LeftOutPage)
async def read_left_out(scan_id: Id, paging: PagingDep, reading: ReadingDep) -> Response:
    """What the scan came upon and did not touch, and by which rule."""

    def page(session: Session) -> LeftOutPage:
        found = paging.of(*left_out_page(session, scan_id, paging.offset, paging.limit))
        return LeftOutPage.model_construct(**dict(found), not_listed=scan_by_id(session, scan_id).not_listed)

    return await reading(page)


def _scope(said: AssetScope) -> ScopeBody:
    return ScopeBody.model_construct(include=list(said.include), exclude=list(said.exclude))
