"""Assets as their owners describe them: a name, roots, what their scans may touch besides, and never."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import cast
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from footprint.area import Area, domains_above, networks_above
from footprint.asset_scope import AssetScope
from footprint.errors import Conflict, InvalidTarget, NotFound
from footprint.records import DomainName, subject_of
from footprint.store.asset_tables import EXCLUDE, INCLUDE, ScopeRow
from footprint.store.packing import record_of
from footprint.store.tables import Asset, AssetRoot
from footprint.store.upsert import upsert
from footprint.target import Target, parse_target


def add_asset(session: Session, name: str, said: AssetScope) -> UUID:
    """Keep a new asset with these roots and this scope; returns its id.

    Raises `Conflict` where its name or a root is another asset's.
    """
    asset = Asset(name=name)
    try:
        with session.begin_nested():
            session.add(asset)
    except IntegrityError:
        raise _taken() from None
    _set_roots(session, asset, said.roots)
    set_scope(session, asset.id, said)
    return asset.id


def change_asset(session: Session, asset_id: UUID, name: str | None, roots: Sequence[str] | None) -> None:
    """Give an asset another name, or other roots in the place of those it has. Raises `NotFound`, `Conflict`."""
    asset = _held(session, asset_id)
    try:
        with session.begin_nested():
            asset.name = name or asset.name
            session.flush()
    except IntegrityError:
        raise _taken() from None
    _set_roots(session, asset, roots or roots_of(session, [asset_id]))


def scope_of_asset(session: Session, asset_id: UUID) -> AssetScope:
    """What an asset's scans may touch besides their target, and never. Raises `NotFound`."""
    if session.get(Asset, asset_id) is None:
        raise _missing()
    return AssetScope(include=_entries(session, [asset_id], INCLUDE), exclude=_entries(session, [asset_id], EXCLUDE))


def set_scope(session: Session, asset_id: UUID, said: AssetScope) -> None:
    """Have an asset include and exclude this, and nothing else, from now on. Raises `NotFound`."""
    _held(session, asset_id)
    session.execute(delete(ScopeRow).where(ScopeRow.asset_id == asset_id))
    for rule, entries in ((INCLUDE, said.include), (EXCLUDE, said.exclude)):
        session.add_all(ScopeRow(asset_id=asset_id, rule=rule, value=entry) for entry in dict.fromkeys(entries))
    session.flush()


def roots_of(session: Session, assets: Sequence[UUID]) -> tuple[str, ...]:
    """The roots of these assets, in the order in which they became theirs."""
    return tuple(session.scalars(select(AssetRoot.value).where(AssetRoot.asset_id.in_(assets)).order_by(AssetRoot.id)))


def assets_around(session: Session, target: Target) -> list[UUID]:
    """The assets that a target belongs to, as a root or below one, the nearest root first."""
    above = domains_above(target.name) if isinstance(target, DomainName) else networks_above(target)
    places = {root: place for place, root in enumerate(above)}
    roots = select(AssetRoot.asset_id, AssetRoot.value).where(AssetRoot.value.in_(places)).order_by(AssetRoot.id)
    nearest = sorted(session.execute(roots).all(), key=lambda root: places[root.value])
    return list(dict.fromkeys(root.asset_id for root in nearest))


def asset_of(session: Session, target: Target) -> UUID:
    """The asset that a scan of this target belongs to; the first scan of what belongs to none makes one."""
    if around := assets_around(session, target):
        return around[0]
    name = subject_of(target)
    (asset_id,) = upsert(session, Asset, [{"name": name}], ["name"], lambda new: {"name": new.name}, [Asset.id])[0]
    root = {"asset_id": asset_id, "kind": target.kind, "value": name}
    keys = ["asset_id", "kind", "value"]
    upsert(session, AssetRoot, [root], keys, lambda new: {"value": new.value}, [AssetRoot.id])
    return cast(UUID, asset_id)


def scope_for(session: Session, target: Target) -> AssetScope:
    """What the assets that a target belongs to say of its scans, at this moment.

    Below a root, a scan keeps to its target and to what is included; a scan of a root may touch the others as well.
    """
    around = assets_around(session, target)
    own = select(AssetRoot.asset_id).where(AssetRoot.asset_id.in_(around), AssetRoot.value == subject_of(target))
    roots = roots_of(session, session.scalars(own).all())
    scope = AssetScope(roots=roots, include=_entries(session, around, INCLUDE))
    return scope.excluding(exclusions_over(session, (target, *scope.targets())))


def exclusions_over(session: Session, targets: Iterable[Target]) -> tuple[str, ...]:
    """What is excluded by any asset that shares something with these targets, at this moment."""
    excluding = select(ScopeRow.asset_id).where(ScopeRow.rule == EXCLUDE)
    roots = session.scalars(select(AssetRoot).where(AssetRoot.asset_id.in_(excluding))).all()
    area = Area.of(targets)
    met = [root.asset_id for root in roots if area.meets(record_of(root.kind, root.value))]
    return _entries(session, met, EXCLUDE)


def _entries(session: Session, assets: Sequence[UUID], rule: str) -> tuple[str, ...]:
    wanted = select(ScopeRow.value).where(ScopeRow.asset_id.in_(assets), ScopeRow.rule == rule).order_by(ScopeRow.id)
    return tuple(dict.fromkeys(session.scalars(wanted)))


def _set_roots(session: Session, asset: Asset, roots: Sequence[str]) -> None:
    _refuse_misleading(asset.name, roots)
    own = set(roots_of(session, [asset.id]))
    session.execute(delete(AssetRoot).where(AssetRoot.asset_id == asset.id, AssetRoot.value.not_in(roots)))
    new = [parse_target(root) for root in dict.fromkeys(roots) if root not in own]
    try:
        with session.begin_nested():
            session.add_all(AssetRoot(asset_id=asset.id, kind=root.kind, value=subject_of(root)) for root in new)
    except IntegrityError:
        raise _anothers(session, asset, roots) from None


def _anothers(session: Session, asset: Asset, roots: Sequence[str]) -> Conflict:
    others = select(AssetRoot.value).where(AssetRoot.value.in_(roots), AssetRoot.asset_id != asset.id)
    taken = set(session.scalars(others))
    places = ", ".join(str(place) for place, root in enumerate(roots, start=1) if root in taken)
    return Conflict(f"root no. {places} is another asset's", hint="`GET /api/assets/` lists them; change that one")


def _refuse_misleading(name: str, roots: Sequence[str]) -> None:
    # The first scan of a target that belongs to no asset makes one of that name: it must not find somebody else's.
    with suppress(InvalidTarget):
        if subject_of(parse_target(name)) not in roots:
            raise Conflict("an asset that is called like a domain, an address or a network has it as a root")


def _taken() -> Conflict:
    return Conflict("there is an asset of this name already", hint="`GET /api/assets/` lists them")


def _missing() -> NotFound:
    return NotFound("there is no asset of that id")


def _held(session: Session, asset_id: UUID) -> Asset:
    asset = session.scalars(select(Asset).where(Asset.id == asset_id).with_for_update()).one_or_none()
    if asset is None:
        raise _missing()
    return asset
