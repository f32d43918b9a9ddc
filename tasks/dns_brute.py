"""Which names of a wordlist a domain has: each is asked of the name servers that this installation knows.

Needs no program and no privilege. Nothing is sent to the target's hosts, but the zone's own name servers see thousands
of questions, so it counts as safe and not as passive. A zone with a wildcard (RFC 4592) answers any name: names that
nobody would choose are asked first, and what answers as they do is not reported but for one that stands for all.

Found names are yielded without their addresses: the `dns` module looks every one of them up.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from footprint.errors import LookupFailed
from footprint.records import Coverage, DomainName, Outcome
from footprint.target import MAX_NAME
from tasks.dns import servers_of
from tasks.lookup import Answer, Lookup, Wildcard, answered_with, answers
from tasks.outside import why_not
from tasks.tool import Asking, Batch, Found, Intake, Pace, Risk, Tool

PACES = ((1, 2), (4, 10), (20, 50), (50, 200), (100, 500), (200, 1000))
"""Queries at once and queries per second, for the intensities 0 to 5."""
SMALL = 300
"""Words of the small list: the first ones of the file, which begins with those that are met most."""
MAX_PARENTS = 20
MAX_STEMS = 50
MAX_PERMUTATIONS = 3000
FIRST_SAMPLES, MORE_SAMPLES, MAX_ROUNDS = 3, 8, 4
"""Names asked to find a wildcard, and to learn all that it answers with: rounds until one brings nothing new."""
TOLERATED_SILENCE = 0.05
"""The part of all names that may stay without an answer before the list does not count as asked."""
SHOWN = 3

AFFIXES = (
    *("dev", "test", "staging", "stage", "stg", "prod", "preprod", "qa", "uat", "old", "new", "int", "ext"),
    *("beta", "demo", "backup", "api", "admin", "internal", "legacy"),
)
NUMBERS = ("1", "2", "3", "01", "02")
_NUMBERED = re.compile(r"(.*?)([0-9]{1,3})")


class DnsBruteOptions(BaseModel):
    """Which names are tried, and how they are looked up."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wordlist: Literal["small", "full"] = Field(default="full", description="The first 300 words, or about 2,000.")
    permutations: bool = Field(default=False, description="Try variants of found names too: dev-www, www-dev, www2.")
    recursive: int = Field(default=0, ge=0, le=3, description="Levels below found names to try the small list at.")
    timeout: float = Field(default=2, ge=0.1, le=30, description="Seconds a name server has to answer a query.")
    tries: int = Field(default=2, ge=1, le=10, description="How often each name server is asked before giving up.")
    parallel: int = Field(default=50, ge=1, le=500, description="Queries at once.")
    rate: float = Field(default=200, ge=0.1, le=5000, description="Queries per second.")


def configure(options: dict[str, Any], pace: Pace) -> DnsBruteOptions:
    """Complete the policy's options with what its intensity means here."""
    parallel, rate = PACES[pace.intensity]
    return DnsBruteOptions.model_validate({"parallel": parallel, "rate": rate, **options})


@cache
def wordlist() -> tuple[str, ...]:
    """The labels that are shipped, the most frequent first."""
    return tuple((files("tasks") / "wordlists" / "subdomains.txt").read_text(encoding="ascii").split())


def permutations(labels: Iterable[str]) -> tuple[str, ...]:
    """Variants of labels: with the usual words before and behind, with numbers, and with the next numbers."""
    variants: dict[str, None] = {}
    for label in labels:
        words = [f"{affix}-{label}" for affix in AFFIXES] + [f"{label}-{affix}" for affix in AFFIXES]
        words += [f"{label}{number}" for number in NUMBERS] + [f"{label}-{number}" for number in NUMBERS[:3]]
        if match := _NUMBERED.fullmatch(label):
            stem, digits = match[1], match[2]
            words += [
                f"{stem}{int(digits) + step:0{len(digits)}d}" for step in (-1, 1, 2, 3) if int(digits) + step >= 0
            ]
        variants.update(dict.fromkeys(word for word in words if len(word) <= 63))
    return tuple(variants)[:MAX_PERMUTATIONS]


def probe(batch: Batch, options: DnsBruteOptions, asking: Asking) -> Iterator[Found]:
    """Try the names below every domain; yield those that exist as they are found, the domain's coverage last.

    Raises `LookupFailed` where no name server answers.
    """
    roots = dict.fromkeys(record.name for record in batch if isinstance(record, DomainName))
    unheard = False
    for number, root in enumerate(roots):
        guessing = Guessing(root, options, asking, number / len(roots), 1 / len(roots))
        yield from guessing.carry_out()
        yield guessing.coverage()
        asking.report(100 * (number + 1) / len(roots))
        unheard = unheard or guessing.is_unheard
    if unheard and not asking.is_stopped():
        raise LookupFailed(
            "dns_brute: no name server answered",
            hint="name servers that this worker can reach belong into PULSAR_RESOLVERS",
        )


@dataclass(slots=True)
class Level:
    """The names directly below one name, and what a wildcard answers there."""

    parent: str
    wildcard: Wildcard
    alike: list[str] = field(default_factory=list)
    """Names that the wildcard answers for: the first stands for all."""

    def is_own(self, answer: Answer) -> bool:
        """True where a name has an answer of its own, False where the wildcard's or none."""
        return answer.exists and not self.wildcard.covers(answer)


@dataclass(slots=True)
class Guessing:
    """What is tried below one domain, and what became of it so far. `start` and `share` place it in the progress."""

    root: str
    options: DnsBruteOptions
    asking: Asking
    start: float = 0.0
    share: float = 1.0
    asked: int = 0
    planned: int = 0
    unanswered: int = 0
    excluded: int = 0
    is_unheard: bool = False
    wildcards: list[Level] = field(default_factory=list)
    found: dict[str, None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _tried: set[str] = field(default_factory=set)
    _place: tuple[float, float] = (0.0, 1.0)

    def carry_out(self) -> Iterator[Found]:
        """Try the list, then variants of what it found, then the levels below."""
        words = wordlist()[: SMALL if self.options.wordlist == "small" else None]
        stage = 1 / (1 + self.options.permutations + self.options.recursive)
        level = self._level(self.root)
        if level is None:
            self.is_unheard = not self.asking.is_over()
            return
        self._place = (0.0, stage)
        yield from self._try(level, words)
        if self.options.permutations:
            self._place = (stage, stage)
            labels = [name.removesuffix(f".{self.root}") for name in self.found]
            yield from self._try(level, permutations(labels[:MAX_STEMS]))
        parents = list(self.found)
        for number in range(self.options.recursive):
            before = len(self.found)
            yield from self._descend(parents, 1 - stage * (self.options.recursive - number), stage)
            parents = list(self.found)[before:]

    def _descend(self, parents: list[str], begin: float, width: float) -> Iterator[Found]:
        if len(parents) > MAX_PARENTS:
            self.notes.append(f"below {len(parents) - MAX_PARENTS} found names nothing was tried")
        width /= min(len(parents), MAX_PARENTS) or 1
        for number, parent in enumerate(parents[:MAX_PARENTS]):
            self._place = (begin + width * number, width)
            if level := self._level(parent):
                yield from self._try(level, wordlist()[:SMALL])

    def _level(self, parent: str) -> Level | None:
        """Learn what a wildcard answers below a name; None where no name server says anything, or it is over."""
        first = self._random_names(parent, FIRST_SAMPLES)
        if first and not any(trail.is_answered for answer in first for trail in answer.trails):
            return None
        samples = [answer for answer in first if answer.exists]
        if not samples:
            return Level(parent, Wildcard())
        for _ in range(MAX_ROUNDS):
            known = answered_with(samples)
            samples += [answer for answer in self._random_names(parent, MORE_SAMPLES) if answer.exists]
            if answered_with(samples) <= known:
                return Level(parent, Wildcard(tuple(samples)))
        return Level(parent, Wildcard(tuple(samples), is_steady=False))

    def _random_names(self, parent: str, count: int) -> list[Answer]:
        room = MAX_NAME - len(parent) - 1
        names = tuple(f"{f'px{secrets.token_hex(8)}'[:room]}.{parent}" for _ in range(count)) if room > 0 else ()
        return list(answers(self._lookup(), names, self.asking))

    def _lookup(self) -> Lookup:
        return Lookup(
            servers_of(self.asking.resolvers),
            timeout=self.options.timeout,
            tries=self.options.tries,
            parallel=self.options.parallel,
            rate=self.options.rate,
            wildcards=False,
        )

    def _try(self, level: Level, words: Iterable[str]) -> Iterator[Found]:
        """Ask for each word below a name; of those that the wildcard answers, the first of the list is kept."""
        names = {name: number for number, name in enumerate(self._names(level.parent, words))}
        self.planned += len(names)
        alike: list[Answer] = []
        for done, answer in enumerate(answers(self._lookup(), tuple(names), self.asking), start=1):
            self.asked += 1
            self._report(done / len(names))
            if not self._is_answered(answer, level):
                self.unanswered += 1
            elif level.is_own(answer):
                self.found[answer.name] = None
                yield DomainName(answer.name, answer.alias)
            elif answer.exists:
                alike.append(answer)
        yield from self._collapsed(level, sorted(alike, key=lambda answer: names[answer.name]))

    def _collapsed(self, level: Level, alike: list[Answer]) -> Iterator[Found]:
        """One record for a level's wildcard, however often the level is tried."""
        if alike and not level.alike:
            self.wildcards.append(level)
            yield DomainName(alike[0].name, alike[0].alias, wildcard=True)
        level.alike += [answer.name for answer in alike]

    def _names(self, parent: str, words: Iterable[str]) -> Iterator[str]:
        """What to ask below a name: nothing twice, nothing that is excluded, nothing that is too long."""
        for word in words:
            name = f"{word}.{parent}"
            if name in self._tried or len(name) > MAX_NAME:
                continue
            self._tried.add(name)
            if self.asking.scope.decide(DomainName(name)).touch:
                yield name
            else:
                self.excluded += 1

    def _is_answered(self, answer: Answer, level: Level) -> bool:
        """Half an answer shows that a name exists, but not that it differs from the wildcard's."""
        known = [trail.is_answered for trail in answer.trails]
        return all(known) if level.wildcard.answers else any(known)

    def _report(self, done: float) -> None:
        begin, width = self._place
        self.asking.report(100 * (self.start + self.share * (begin + width * done)))

    def coverage(self) -> Coverage:
        """What is to be said of the domain."""
        if self.is_unheard:
            return Coverage(self.root, Outcome.TIMED_OUT, "no name server answered")
        said = [f"{len(self.found)} of {self.asked} names exist", *map(_wildcard_note, self.wildcards), *self.notes]
        if self.unanswered:
            said.append(f"{self.unanswered} were not answered")
        if self.excluded:
            said.append(f"{self.excluded} that are excluded were not asked")
        outcome = self._outcome()
        if outcome in (Outcome.TIMED_OUT, Outcome.NOT_LOOKED_AT) and self.asking.is_over():
            said.append(
                f"{why_not(self.asking)} before all {self.planned} were asked" if self.asked else why_not(self.asking)
            )
        return Coverage(self.root, outcome, "; ".join(said))

    def _outcome(self) -> Outcome:
        if self.asking.is_stopped() or (self.asking.is_over() and not self.asked):
            return Outcome.NOT_LOOKED_AT
        if self.asked < self.planned or self.unanswered > TOLERATED_SILENCE * self.asked:
            return Outcome.TIMED_OUT
        if self.wildcards:
            return Outcome.SAMPLED
        return Outcome.ANSWERED if self.found else Outcome.SILENT


def _wildcard_note(level: Level) -> str:
    seen = sorted(str(each) for each in answered_with(level.wildcard.answers) if each)
    shown = ", ".join(seen[:SHOWN]) + (", …" if len(seen) > SHOWN else "")
    with_what = f" ({shown}{'' if level.wildcard.is_steady else ', always with something new'})" if shown else ""
    return f"a wildcard answers below {level.parent}{with_what}: {level.alike[0]} stands for {len(level.alike)} names"


TOOL = Tool(
    name="dns_brute",
    summary="Tries the names of a wordlist, and tells those from what a wildcard answers.",
    risk=Risk.SAFE,
    accepts=(Intake(DomainName, batch=1, key=lambda record: record.name, roots_only=True),),
    produces=(DomainName,),
    options=DnsBruteOptions,
    configure=configure,
    probe=probe,
)
