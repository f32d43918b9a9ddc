"""Many who ask the same at once cost one read; what was written here is seen at once."""

from __future__ import annotations

import asyncio
from threading import Event
from uuid import uuid4

import pytest
from pydantic import BaseModel
from sqlalchemy.orm import Session

from api.reading import FRESH_SECONDS, Reader
from footprint.errors import NotFound
from footprint.store import Store


class Number(BaseModel):
    """How often the store was read."""

    value: int


class Counter:
    """A question that counts how often it is asked, and waits until it may answer."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = Event()
        self.may_answer.set()

    def __call__(self, session: Session) -> Number:
        self.asked += 1
        self.may_answer.wait(10)
        return Number(value=self.asked)


async def test_those_who_ask_at_once_get_one_answer(opened: Store) -> None:
    reader, question = Reader(opened), Counter()
    question.may_answer.clear()
    asking = [asyncio.create_task(reader.read("/a", question)) for _ in range(50)]
    await asyncio.sleep(0.1)
    question.may_answer.set()
    assert set(await asyncio.gather(*asking)) == {b'{"value":1}'}
    assert question.asked == 1


async def test_another_address_is_another_question(opened: Store) -> None:
    reader, question = Reader(opened), Counter()
    assert await reader.read("/a", question) != await reader.read("/b", question)


async def test_an_answer_grows_old(opened: Store) -> None:
    reader, question = Reader(opened), Counter()
    await reader.read("/a", question)
    await asyncio.sleep(FRESH_SECONDS * 1.5)
    assert await reader.read("/a", question) == b'{"value":2}'


async def test_what_was_written_is_seen_at_once(opened: Store) -> None:
    reader, question = Reader(opened), Counter()
    await reader.read("/a", question)
    reader.forget()
    assert await reader.read("/a", question) == b'{"value":2}'


async def test_one_who_goes_away_takes_nothing_from_the_others(opened: Store) -> None:
    reader, question = Reader(opened), Counter()
    question.may_answer.clear()
    gone, staying = (asyncio.create_task(reader.read("/a", question)) for _ in range(2))
    await asyncio.sleep(0.1)
    gone.cancel()
    question.may_answer.set()
    assert await staying == b'{"value":1}'


async def test_errors_are_passed_on(opened: Store) -> None:
    def missing(session: Session) -> Number:
        raise NotFound("there is nothing of that id")

    reader = Reader(opened)
    for _ in range(2):
        with pytest.raises(NotFound):
            await reader.read(f"/{uuid4()}", missing)
