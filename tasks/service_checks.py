"""Which services let strangers in: data stores without a password, anonymous FTP, open resolvers, unmade web sites.

Needs no program. Each check is one connection, a question or two that change nothing, and a bounded answer. Whether a
mail server relays is not asked: that would send mail.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from footprint.records import Coverage, Finding, Outcome, Service, subject_of
from footprint.text import clean
from tasks import anonymous_ftp, first_page, open_resolvers, open_stores
from tasks.checks import Check, Said
from tasks.outside import why_not
from tasks.talk import Garbled, Over, Place
from tasks.tool import Asking, Batch, Found, Intake, Pace, Risk, Tool

PACES = ((1, 1), (2, 5), (4, 20), (8, 50), (16, 100), (32, 200))
"""Hosts asked at once and conversations begun per second, for the intensities 0 to 5."""
SECURED = frozenset({"https", "https-alt", "ftps", "domain-s"})
"""Names of services that speak TLS from the first byte, whether it was seen or not."""


class ServiceChecksOptions(BaseModel):
    """How services are asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parallel: int = Field(default=8, ge=1, le=64, description="Hosts asked at once, each one thing at a time.")
    rate: float = Field(default=50, ge=0.1, le=1000, description="Conversations begun per second.")
    timeout: float = Field(default=5, ge=0.2, le=60, description="Seconds for a check of a service in all.")
    recursion_name: Annotated[
        str, Field(max_length=253, pattern=r"^(\.|[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?)$")
    ] = Field(default=".", description="Whose name servers an open resolver is asked for: the root's unless told.")


def configure(options: dict[str, Any], pace: Pace) -> ServiceChecksOptions:
    """Complete the policy's options with what its intensity means here."""
    parallel, rate = PACES[pace.intensity]
    return ServiceChecksOptions.model_validate({"parallel": parallel, "rate": rate, **options})


def checks(name: str = ".") -> tuple[Check, ...]:
    """Every check there is; `name` is what resolvers are asked for."""
    return (*open_stores.CHECKS, *anonymous_ftp.CHECKS, *first_page.CHECKS, *open_resolvers.checks(name))


def probe(batch: Batch, options: ServiceChecksOptions, asking: Asking) -> Iterator[Found]:
    """Ask each service what concerns it; yield what it was found to be, and its coverage, host by host."""
    hosts: dict[str, list[Service]] = {}
    for record in batch:
        if isinstance(record, Service):
            hosts.setdefault(record.address, []).append(record)
    round_ = Round(options, asking)
    with ThreadPoolExecutor(options.parallel, thread_name_prefix="checks") as pool:
        running = [pool.submit(round_.look_at, services) for services in hosts.values()]
        try:
            yield from _as_they_come(running, asking)
        finally:
            for future in running:
                future.cancel()


def _as_they_come(running: list[Future[list[Found]]], asking: Asking) -> Iterator[Found]:
    for done, future in enumerate(as_completed(running), start=1):
        yield from future.result()
        asking.report(100 * done / len(running))


@dataclass(slots=True)
class Round:
    """One unit's conversations: which there are, and when the next one may begin."""

    options: ServiceChecksOptions
    asking: Asking
    _next: float = field(default_factory=time.monotonic)
    _lock: Lock = field(default_factory=Lock)

    def look_at(self, services: list[Service]) -> list[Found]:
        """The findings of services of one host, one after the other, each with its coverage behind."""
        every = checks(self.options.recursion_name)
        return [found for service in services for found in self._look(service, every)]

    def _look(self, service: Service, every: tuple[Check, ...]) -> Iterator[Found]:
        subject = subject_of(service)
        secured = service.tunnel == "ssl" or service.name in SECURED
        place = Place(service.address, service.port, secured, self.options.timeout, self.asking.is_over)
        notes, outcomes = [], []
        for check in every:
            if check.matches(service):
                outcome, said = self._ask(check, place)
                outcomes.append(outcome)
                notes.append(f"{check.name} ({check.question}): {said.note}")
                if said.finding:
                    yield replace(said.finding, subject=subject)
        yield Coverage(subject, _worst(outcomes), clean("; ".join(notes), 1000))

    def _ask(self, check: Check, place: Place) -> tuple[Outcome, Said]:
        try:
            self._take_turn()
            return Outcome.ANSWERED, check.ask(place)
        except Garbled as strange:
            return Outcome.ANSWERED, Said(str(strange))
        except TimeoutError as late:
            return Outcome.TIMED_OUT, Said(late.strerror or str(late))
        except Over:
            return Outcome.NOT_LOOKED_AT, Said(why_not(self.asking))
        except OSError as failure:
            return Outcome.SILENT, Said(failure.strerror or type(failure).__name__)

    def _take_turn(self) -> None:
        """Wait until a conversation may begin. Raises `Over`."""
        with self._lock:
            begin = max(self._next, time.monotonic())
            self._next = begin + 1 / self.options.rate
        self.asking.stopped.wait(max(0, min(begin, self.asking.deadline) - time.monotonic()))
        if self.asking.is_over():
            raise Over


def _worst(outcomes: list[Outcome]) -> Outcome:
    """What is to be said of a service that was asked several things: what was not found out counts most."""
    order = (Outcome.NOT_LOOKED_AT, Outcome.TIMED_OUT, Outcome.ANSWERED, Outcome.SILENT)
    return next((outcome for outcome in order if outcome in outcomes), Outcome.NOT_LOOKED_AT)


_EVERY = checks()

TOOL = Tool(
    name="service_checks",
    summary="Finds services that let strangers in: open data stores, anonymous FTP, open resolvers, default pages.",
    risk=Risk.SAFE,
    accepts=(
        Intake(
            Service,
            batch=32,
            key=lambda service: service.address,
            where=lambda service: any(check.matches(service) for check in _EVERY),
        ),
    ),
    produces=(Finding,),
    options=ServiceChecksOptions,
    configure=configure,
    probe=probe,
)
