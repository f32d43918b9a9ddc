"""Which services let strangers in: data stores without a password, anonymous FTP, open resolvers, unmade web sites.

Needs no program. Each check is one connection, a question or two that change nothing, and a bounded answer. Whether a
mail server relays is not asked: that would send mail.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from footprint.records import Coverage, Finding, Outcome, Service, subject_of
from footprint.text import clean
from tasks import open_doors, open_resolvers, open_stores
from tasks.checks import Check, Said
from tasks.talk import Garbled, Over, Place
from tasks.tool import Asking, Batch, Found, Intake, Pace, Risk, Tool

PACES = (1, 2, 4, 8, 16, 32)
"""Services asked at once, for the intensities 0 to 5."""


class ServiceChecksOptions(BaseModel):
    """How services are asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parallel: int = Field(default=8, ge=1, le=64, description="Services asked at once.")
    timeout: float = Field(default=5, ge=0.2, le=60, description="Seconds for a check of a service in all.")
    recursion_name: Annotated[str, Field(max_length=253, pattern=r"^(\.|([A-Za-z0-9_-]{1,63}\.?)+)$")] = Field(
        default=".", description="Whose name servers an open resolver is asked for: the root's unless told."
    )


def configure(options: dict[str, Any], pace: Pace) -> ServiceChecksOptions:
    """Complete the policy's options with what its intensity means here."""
    return ServiceChecksOptions.model_validate({"parallel": PACES[pace.intensity], **options})


def checks(name: str = ".") -> tuple[Check, ...]:
    """Every check there is; `name` is what resolvers are asked for."""
    return (*open_stores.CHECKS, *open_doors.CHECKS, *open_resolvers.checks(name))


def probe(batch: Batch, options: ServiceChecksOptions, asking: Asking) -> Iterator[Found]:
    """Ask each service what concerns it; yield what it was found to be, and its coverage, as they come."""
    services = [record for record in batch if isinstance(record, Service)]
    every = checks(options.recursion_name)
    with ThreadPoolExecutor(options.parallel, thread_name_prefix="checks") as pool:
        running: dict[Future[list[Found]], Service] = {
            pool.submit(_look, service, every, options, asking): service for service in services
        }
        for done, future in enumerate(as_completed(running), start=1):
            yield from future.result()
            asking.report(100 * done / len(services))


def _look(service: Service, every: tuple[Check, ...], options: ServiceChecksOptions, asking: Asking) -> list[Found]:
    """The findings of one service, and its coverage."""
    subject = subject_of(service)
    secured = service.tunnel == "ssl" or service.name in ("https", "https-alt")
    place = Place(service.address, service.port, secured, options.timeout, asking.is_over)
    found: list[Finding] = []
    notes: list[str] = []
    outcomes: list[Outcome] = []
    for check in every:
        if check.matches(service):
            outcome, said = _asked(check, place)
            outcomes.append(outcome)
            notes.append(f"{check.name}: {said.note}")
            found += [replace(said.finding, subject=subject)] if said.finding else []
    return [*found, Coverage(subject, _worst(outcomes), clean("; ".join(notes), 1000))]


def _asked(check: Check, place: Place) -> tuple[Outcome, Said]:
    if place.is_over():
        return Outcome.NOT_LOOKED_AT, Said("the scan was over before")
    try:
        return Outcome.ANSWERED, check.ask(place)
    except Garbled as strange:
        return Outcome.ANSWERED, Said(str(strange))
    except TimeoutError as late:
        return Outcome.TIMED_OUT, Said(str(late) or "no answer in time")
    except Over:
        return Outcome.NOT_LOOKED_AT, Said("the scan was over before it answered")
    except OSError as failure:
        return Outcome.SILENT, Said(clean(failure.strerror or str(failure), 200))


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
            key=lambda service: (service.address, service.port, service.protocol),
            where=lambda service: any(check.matches(service) for check in _EVERY),
        ),
    ),
    produces=(Finding,),
    options=ServiceChecksOptions,
    configure=configure,
    probe=probe,
)
