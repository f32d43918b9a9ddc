"""Pages as Django REST framework gives them: `{count, next, previous, results}`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query, Request
from pydantic import BaseModel

from footprint.errors import NotFound

T = TypeVar("T")
PAGE_SIZE = 10
PAGE_SIZE_MAX = 100
PAGE_MAX = 100_000


class Page(BaseModel, Generic[T]):
    """One page. `count` is of all pages; `next` and `previous` are addresses, or null at the ends."""

    count: int
    next: str | None
    previous: str | None
    results: list[T]


class Paging:
    """Which page was asked for. `page` counts from 1."""

    def __init__(
        self,
        request: Request,
        page: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 1,
        page_size: Annotated[int, Query(ge=1, le=PAGE_SIZE_MAX)] = PAGE_SIZE,
    ) -> None:
        self._request = request
        self._page = page
        self.limit = page_size
        self.offset = (page - 1) * page_size

    def of(self, results: Sequence[T], count: int) -> Page[T]:
        """Make the page of these results. Raises `NotFound` for a page beyond the last."""
        if self._page > 1 and self.offset >= count:
            raise NotFound("there is no such page")
        following = self._page + 1 if self.offset + self.limit < count else None
        earlier = self._page - 1 if self._page > 1 else None
        return Page[T].model_construct(
            count=count, next=self._url(following), previous=self._url(earlier), results=list(results)
        )

    def _url(self, page: int | None) -> str | None:
        return str(self._request.url.include_query_params(page=page)) if page else None


PagingDep = Annotated[Paging, Depends()]
