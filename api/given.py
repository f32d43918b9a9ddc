"""What a route may ask for: the store, Prefect, the settings, a page, an id."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Request
from pydantic import BeforeValidator

from api.asking import Desk
from api.follower import Follower
from api.lifecycle import Lifecycle
from api.reading import Reader
from footprint.errors import NotFound
from footprint.settings import Settings
from footprint.store import Store


def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def _lifecycle(request: Request) -> Lifecycle:
    lifecycle: Lifecycle = request.app.state.lifecycle
    return lifecycle


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _reader(request: Request) -> Reader:
    reader: Reader = request.app.state.reader
    return reader


def _follower(request: Request) -> Follower:
    follower: Follower = request.app.state.follower
    return follower


def canonical(text: str) -> UUID:
    """An id as it is written in answers, and in no other way. Raises `NotFound`."""
    try:
        parsed = UUID(text)
    except ValueError:
        raise NotFound("there is nothing of that id") from None
    if str(parsed) != text:
        raise NotFound("there is nothing of that id", hint="ids are written in lower case with hyphens")
    return parsed


StoreDep = Annotated[Store, Depends(_store)]
DeskDep = Annotated[Desk, Depends(_desk)]
LifecycleDep = Annotated[Lifecycle, Depends(_lifecycle)]
SettingsDep = Annotated[Settings, Depends(_settings)]
ReaderDep = Annotated[Reader, Depends(_reader)]
FollowerDep = Annotated[Follower, Depends(_follower)]
Id = Annotated[UUID, Path(description="An id in canonical form."), BeforeValidator(canonical)]
