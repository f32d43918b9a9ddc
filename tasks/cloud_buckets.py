"""Which buckets of public clouds bear an organisation's name, and whether anybody may list them.

Names are made by rule from the domain and asked for at S3, Google Cloud Storage and Azure Blob Storage, or where
`PULSAR_BUCKET_URLS` says. The requests go to the clouds, not to the target. A bucket's name proves no ownership, since
anybody may take one: a finding is as sure as the name is telling. Nothing is read but the beginning of a listing.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from footprint.errors import LookupFailed
from footprint.records import Coverage, DomainName, Finding, Outcome, Severity
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.store import Store
from tasks.clouds import CLOUDS, Cloud, State, candidates, clouds_of, judge
from tasks.effort import Effort, Sends
from tasks.outside import Manners, NoSuchName, Outside, side_by_side, why_not
from tasks.tool import Asking, Batch, Found, Intake, Pace, Risk, Tool

PACES = ((1, 0.5), (1, 1), (2, 5), (5, 10), (10, 30), (20, 100))
"""Requests at once and requests per second, for the intensities 0 to 5."""
MOST_BYTES = 256 << 10
SHOWN = 10
FAILURES = 3
"""Requests in a row without an answer after which a cloud is not asked any more."""
CVSS, SCORE = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N", 5.3
"""Strangers may read names of files; what is in them was not looked at."""


class CloudBucketsOptions(BaseModel):
    """How many names are tried, and how the clouds are asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: int = Field(default=60, ge=1, le=150, description="Names tried at each cloud, the most telling first.")
    parallel: int = Field(default=5, ge=1, le=50, description="Requests at once.")
    rate: float = Field(default=10, ge=0.1, le=200, description="Requests per second.")
    timeout: float = Field(default=15, ge=0.1, le=120, description="Seconds a cloud has for one whole answer.")
    tries: int = Field(default=3, ge=1, le=10, description="How often a cloud is asked where it is busy or away.")
    pause: float = Field(default=2, ge=0.01, le=60, description="Seconds before the second attempt; doubled each time.")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one name at one cloud. `has_account` is False where not even the place for it exists."""

    cloud: Cloud
    bucket: str
    state: State
    url: str = ""
    keys: tuple[str, ...] = ()
    note: str = ""
    has_account: bool = True

    @property
    def exists(self) -> bool:
        return self.state in (State.PRIVATE, State.LISTABLE, State.ELSEWHERE)


def configure(options: dict[str, Any], pace: Pace) -> CloudBucketsOptions:
    """Complete the policy's options with what its intensity means here."""
    parallel, rate = PACES[pace.intensity]
    return CloudBucketsOptions.model_validate({"parallel": parallel, "rate": rate, **options})


def effort(batch: Batch, options: CloudBucketsOptions, scope: Scope) -> Effort:
    """Requests: one for each name at a cloud at least, at the public ones at most; first one for a name of nobody."""
    names = sum(len(candidates(record.name, options.names)) for record in batch if isinstance(record, DomainName))
    most = sum(len(cloud.containers) * (names + 1) for cloud in CLOUDS)
    return Effort(Sends.REQUESTS, names + 1, most, options.rate)


def check(settings: Settings, store: Store | None) -> None:
    """Raise `PlatformError` where the installation's own addresses of buckets cannot be used."""
    clouds_of(settings)


class Clerk:
    """Asks clouds for buckets, and gives up those that do not answer."""

    def __init__(self, options: CloudBucketsOptions, asking: Asking) -> None:
        manners = Manners(options.timeout, MOST_BYTES, options.rate, options.tries, options.pause)
        self._outside = Outside("cloud_buckets", asking.settings, manners)
        self._parallel = options.parallel
        self._asking = asking
        self._failures: Counter[str] = Counter()

    def ask(self, questions: Sequence[tuple[Cloud, str]]) -> Iterator[list[Verdict]]:
        """What the clouds say of each name: one verdict, or one for each container that may be listed."""
        return side_by_side(questions, self._ask, self._asking, parallel=self._parallel, around=self._outside)

    async def _ask(self, question: tuple[Cloud, str]) -> list[Verdict]:
        cloud, name = question
        listable: list[Verdict] = []
        for container in cloud.containers:
            verdict = await self._look(cloud, name, container)
            if not container or not verdict.has_account:
                return [verdict]
            if verdict.state is State.UNKNOWN:
                return [*listable, verdict]
            if verdict.state is State.LISTABLE:
                listable.append(verdict)
        return listable or [Verdict(cloud, name, State.PRIVATE)]

    async def _look(self, cloud: Cloud, name: str, container: str) -> Verdict:
        url = cloud.url(name, container)
        if url is None:
            return Verdict(cloud, name, State.ABSENT, has_account=False)
        if self._failures[cloud.key] >= FAILURES:
            return Verdict(cloud, name, State.UNKNOWN, note=f"{cloud.title} was given up")
        try:
            reply = await self._outside.get(url, cut=True)
        except NoSuchName:
            return Verdict(cloud, name, State.ABSENT, has_account=False)
        except LookupFailed as error:
            self._failures[cloud.key] += 1
            return Verdict(cloud, name, State.UNKNOWN, note=error.detail)
        self._failures[cloud.key] = 0
        state, keys = judge(reply)
        bucket = f"{name}/{container}" if container else name
        return Verdict(cloud, bucket, state, url, keys, f"{cloud.title} answered {reply.status}")


def probe(batch: Batch, options: CloudBucketsOptions, asking: Asking) -> Iterator[Found]:
    """Look for every domain's buckets; yield those that may be listed, the domain's coverage last.

    Raises `LookupFailed` at the end where no cloud could be asked.
    """
    roots = dict.fromkeys(record.name for record in batch if isinstance(record, DomainName))
    clerk = Clerk(options, asking)
    clouds, doubtful = _trustworthy(clerk, clouds_of(asking.settings))
    for number, root in enumerate(roots):
        names = candidates(root, options.names)
        questions = _questions(names, clouds)
        verdicts: list[Verdict] = []
        for done, some in enumerate(clerk.ask(questions), start=1):
            verdicts += some
            yield from (_finding(root, each) for each in some if each.state is State.LISTABLE)
            asking.report(100 * (number + done / len(questions)) / len(roots))
        yield _coverage(root, len(names), clouds, [*doubtful, *verdicts], asking)
    if not clouds and not asking.is_over():
        raise LookupFailed(
            f"cloud_buckets: no cloud could be asked: {doubtful[0].note}",
            hint="see whether this worker reaches them; PULSAR_PROXY names a proxy",
        )


def _trustworthy(clerk: Clerk, clouds: Sequence[Cloud]) -> tuple[list[Cloud], list[Verdict]]:
    """The clouds that deny a bucket which nobody has; of others no answer means anything."""
    nobody = f"px{secrets.token_hex(8)}"
    verdicts = [each for some in clerk.ask([(cloud, nobody) for cloud in clouds]) for each in some]
    trusted = [each.cloud for each in verdicts if each.state is State.ABSENT]
    return [cloud for cloud in clouds if cloud in trusted], [
        Verdict(each.cloud, "", State.UNKNOWN, note=_doubt(each)) for each in verdicts if each.state is not State.ABSENT
    ]


def _doubt(verdict: Verdict) -> str:
    if verdict.exists:
        return f"{verdict.cloud.title} was not asked: it claims to have any bucket"
    return verdict.note


def _questions(names: Sequence[str], clouds: Sequence[Cloud]) -> list[tuple[Cloud, str]]:
    """What to ask of which cloud, no address twice: some clouds leave characters out of names."""
    places = {(cloud, cloud.url(name, "")): name for name in reversed(names) for cloud in clouds}
    return [(cloud, name) for (cloud, url), name in reversed(places.items()) if url]


def _finding(root: str, verdict: Verdict) -> Finding:
    bucket, cloud = verdict.bucket, verdict.cloud
    is_telling = root in bucket or root.replace(".", "-") in bucket
    holds = f"its first keys: {', '.join(verdict.keys)}" if verdict.keys else "it holds nothing just now"
    return Finding(
        rule=f"cloud_buckets/listable-{cloud.key}-{bucket}"[:128],
        subject=root,
        title=f"Anybody may list the bucket {bucket} ({cloud.title}), which bears this domain's name",
        severity=Severity.MEDIUM if verdict.keys else Severity.LOW,
        confidence=0.8 if is_telling else 0.5,
        evidence=f"GET {verdict.url} was answered with a listing; {holds}",
        reference=cloud.reference,
        cvss=CVSS if verdict.keys else None,
        score=SCORE if verdict.keys else None,
    )


def _told(state: State, verdicts: Sequence[Verdict]) -> str:
    these = [f"{each.bucket} ({each.cloud.key})" for each in verdicts if each.state is state]
    return f"{len(these)} {state}: {', '.join(these[:SHOWN])}{', …' if len(these) > SHOWN else ''}"


def _coverage(root: str, names: int, clouds: Sequence[Cloud], verdicts: Sequence[Verdict], asking: Asking) -> Coverage:
    existing = [each for each in verdicts if each.exists]
    unknown = [each.note for each in verdicts if each.state is State.UNKNOWN]
    if not clouds and asking.is_over():
        return Coverage(root, Outcome.NOT_LOOKED_AT, why_not(asking))
    said = [f"{names} names asked for at {', '.join(cloud.title for cloud in clouds) or 'no cloud'}"]
    said += [_told(state, existing) for state in State if any(each.state is state for each in existing)]
    said += [] if existing else ["none exists"]
    said += [f"{len(unknown)} without an answer ({unknown[0]})"] if unknown else []
    said += [why_not(asking)] if asking.is_over() else []
    outcome = Outcome.ANSWERED if existing else Outcome.SILENT
    return Coverage(root, Outcome.TIMED_OUT if unknown or asking.is_over() else outcome, "; ".join(said))


TOOL = Tool(
    name="cloud_buckets",
    summary="Looks for buckets in public clouds by the organisation's name, and whether anybody may list them.",
    risk=Risk.SAFE,
    accepts=(Intake(DomainName, batch=1, key=lambda record: record.name, roots_only=True),),
    produces=(Finding,),
    options=CloudBucketsOptions,
    configure=configure,
    effort=effort,
    probe=probe,
    check=check,
)
