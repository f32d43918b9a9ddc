"""What Amass says of a domain: names below it, their aliases and addresses, and how far it came.

Three kinds of output, told apart by where they are: the file of `-json` (version 3), triples on standard output
(version 4), and the file of names that `amass subs` printed (version 5). Only names below the domain are taken, with
what they are aliases of; an address is taken with the names that led to it, and never without them, as else it would
pass for the domain's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from footprint.errors import InvalidTarget, LookupFailed, OutputNotUnderstood, OutputTruncated, ToolCrashed
from footprint.records import Coverage, DomainName, Host, Outcome, subject_of
from footprint.target import canonical_address, parse_name
from footprint.text import clean
from tasks.dns_records import is_of_service
from tasks.tool import Batch, Ending, Found, Output

FOUND, NAMES, LOG = "found.json", "names", "amass.log"

ENDED = "The enumeration has finished"
"""Its last words, where it came to its end."""
NOTHING = ("No assets were discovered", "No names were discovered")
NO_RESOLVERS = "unable to build the pool of untrusted resolvers"
MAX_ALIASES = 16

_TRIPLE = re.compile(r"(\S+) \(([A-Za-z]+)\) --> ([a-z_]+) --> (.+) \(([A-Za-z]+)\)")
_ASKED = re.compile(r"^\S+ Querying (.+?) for ", re.MULTILINE)
_UNREACHED = re.compile(r"^\S+ ([^:\n]+): .*\b(?:dial (?:tcp|udp)|Client\.Timeout|deadline exceeded)", re.MULTILINE)
_OWN_SOURCES = {"Active Crawl", "Active DNS", "Alterations", "Brute Forcing", "DNS SRV", "Reverse DNS"}


@dataclass(slots=True)
class _Graph:
    """What was printed: names, the name each is an alias of, and its addresses. `lines` that were understood."""

    names: dict[str, None] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, dict[str, None]] = field(default_factory=dict)
    understood: int = 0
    unread: int = 0

    def name(self, text: str) -> str | None:
        """Take a name down; None where it is none that the DNS could hold."""
        try:
            name = parse_name(text)
        except InvalidTarget:
            return None
        self.names.setdefault(name)
        return name

    def links(self, owner: str) -> Iterator[str]:
        """The names that a name is an alias of, in order."""
        for _ in range(MAX_ALIASES):
            if owner not in self.aliases:
                return
            owner = self.aliases[owner]
            yield owner


_Taker = Callable[[_Graph, str], bool]
"""Takes one line down; False where it cannot be read."""


def parse(output: Output, batch: Batch) -> Iterator[Found]:
    """Names below each domain of the batch, with aliases and addresses, then one coverage for each.

    Raises at the end `ToolCrashed` or `LookupFailed` where Amass failed, `OutputTruncated` where its last words are
    missing, `OutputNotUnderstood` where nothing of what it wrote can be read.
    """
    graph = _read(output)
    for record in batch:
        if isinstance(record, DomainName):
            found = list(_records(graph, record.name))
            yield from found
            if not _failed(output):
                yield _coverage(record, found, output)
    if _failed(output):
        raise _failure(output)
    if graph.unread and not graph.understood:
        raise OutputNotUnderstood("amass: nothing of its output can be read")


def _read(output: Output) -> _Graph:
    graph = _Graph()
    if FOUND in output.files:
        _each_line(graph, output.files[FOUND], _take_json)
    elif NAMES in output.files:
        _each_line(graph, output.files[NAMES], _take_name)
    else:
        _each_line(graph, output.stdout, _take_triple)
    return graph


def _each_line(graph: _Graph, text: str, take: _Taker) -> None:
    # A line that was cut short is none: without its end, no name is below the domain and no address is marked as one.
    for line in text.split("\n"):
        words = line.strip()
        if not words or words in NOTHING or words == ENDED:
            continue
        if take(graph, words):
            graph.understood += 1
        else:
            graph.unread += 1


def _take_name(graph: _Graph, line: str) -> bool:
    return graph.name(line) is not None


def _take_json(graph: _Graph, line: str) -> bool:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return False
    name = entry.get("name") if isinstance(entry, dict) else None
    return isinstance(name, str) and graph.name(name) is not None


def _take_triple(graph: _Graph, line: str) -> bool:
    match = _TRIPLE.fullmatch(line)
    if match is None:
        # Version 4.0 printed bare names.
        return " " not in line and _take_name(graph, line)
    source, kind, relation, target, other = match.groups()
    left = graph.name(source) if kind == "FQDN" else None
    right = graph.name(target) if other == "FQDN" else None
    if left and right and left != right and relation == "cname_record":
        graph.aliases[left] = right
    if left and relation in ("a_record", "aaaa_record") and (address := canonical_address(target)):
        graph.addresses.setdefault(left, {}).setdefault(address)
    return True


def _records(graph: _Graph, root: str) -> Iterator[DomainName | Host]:
    # What services are looked up by is no host; the module `dns` keeps the record.
    below = sorted(name for name in graph.names if name.endswith(f".{root}") and not is_of_service(name))
    for name in (root, *below):
        links = list(graph.links(name))
        if name != root or links:
            yield DomainName(name, graph.aliases.get(name))
        via = links[-1] if links else None
        for address in graph.addresses.get(via or name, ()):
            yield Host(address, name, via)


def _failed(output: Output) -> bool:
    return output.is_complete and (bool(output.returncode) or not _has_ended(output))


def _has_ended(output: Output) -> bool:
    return ENDED in output.stderr or ENDED in output.stdout


def _failure(output: Output) -> Exception:
    last = clean((output.stderr.strip().splitlines() or [""])[-1], 200)
    if NO_RESOLVERS in output.stderr:
        return LookupFailed(
            "amass: it takes none of the name servers: they must resolve public names",
            hint="name others in PULSAR_RESOLVERS",
        )
    if output.returncode:
        return ToolCrashed(f"amass: it gave up (code {output.returncode})", hint=last)
    return OutputTruncated("amass: it ended without saying so", hint=last)


def _coverage(record: DomainName, found: list[DomainName | Host], output: Output) -> Coverage:
    names = len({record.name for record in found if isinstance(record, DomainName)} - {record.name})
    asked, unreached = _asked(output)
    note = f"{names or 'no'} name{'' if names == 1 else 's'} found"
    if asked:
        note += f"; {len(asked)} data sources asked, {len(unreached) or 'none'} of them out of reach"
    if not output.is_complete:
        outcome = Outcome.TIMED_OUT if output.ending is Ending.TIMED_OUT else Outcome.NOT_LOOKED_AT
        return Coverage(subject_of(record), outcome, f"Amass was ended before it was through: {note}")
    if asked and asked == unreached:
        return Coverage(subject_of(record), Outcome.NOT_LOOKED_AT, note)
    return Coverage(subject_of(record), Outcome.ANSWERED if names else Outcome.SILENT, note)


def _asked(output: Output) -> tuple[set[str], set[str]]:
    """The data sources that were asked, and those of them that could not be reached."""
    log = output.files.get(LOG, "")
    asked = set(_ASKED.findall(log)) - _OWN_SOURCES
    return asked, asked & set(_UNREACHED.findall(log))
