"""When a notification is tried again, when it is given up, and when many become one digest."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from footprint.notification import NAMESPACE

FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=10), timedelta(hours=1)
MOST_TRIES, LONGEST = 40, timedelta(hours=24)
BURST, WINDOW = 5, timedelta(minutes=10)
"""Messages that one receiver gets within so long; what comes after them waits, and goes together."""
MOST_IN_DIGEST = 100


@dataclass(frozen=True, slots=True)
class Waiting:
    """A notification that is due, oldest first in its list."""

    id: int
    event_id: UUID
    digest_id: UUID | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes out next, in one message: a digest where it has an id."""

    ids: tuple[int, ...]
    digest_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing goes out before then."""

    until: datetime


def next_batch(due: Sequence[Waiting], sent: Sequence[datetime]) -> Batch | Hold:
    """What of the due notifications of one receiver, at least one, goes out next.

    `sent` are the times within the last `WINDOW` at which it was sent something.
    """
    again = next((one.digest_id for one in due if one.digest_id), None)
    if again:
        return Batch(tuple(one.id for one in due if one.digest_id == again), again)
    if len(sent) >= BURST:
        return Hold(min(sent) + WINDOW)
    if len(due) <= BURST:
        return Batch((due[0].id,))
    some = due[:MOST_IN_DIGEST]
    names = " ".join(sorted(str(one.event_id) for one in some))
    return Batch(tuple(one.id for one in some), uuid5(NAMESPACE, f"digest {names}"))


def pause_after(tries: int) -> timedelta:
    """How long to wait after so many failed tries: twice as long each time, and not all at the same moment."""
    longest: timedelta = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(tries - 1, 20))
    return longest * random.uniform(0.5, 1)  # noqa: S311 -- no secret


def is_hopeless(tries: int, since: datetime, at: datetime) -> bool:
    """Whether a notification is given up after so many tries."""
    return tries >= MOST_TRIES or at - since > LONGEST
