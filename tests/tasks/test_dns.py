"""Names looked up at a real name server on loopback, with the faults that real ones have."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError

from footprint.errors import LookupFailed, PlatformError
from footprint.records import Coverage, DnsRecord, DomainName, Finding, Host, Outcome, Record
from tasks.dns import PACES, TOOL, DnsOptions, configure, probe, servers_of
from tasks.lookup import MAX_ADDRESSES, MAX_ALIASES, Answer, Trail, Wildcard
from tasks.tool import Found, Pace, Risk
from tests.estate.name_server import NameServer, free_port
from tests.tasks.asking import asking
from tests.tasks.rotating import Rotating

CHAIN = "".join(f"l{n}.chain.test CNAME l{n + 1}.chain.test\n" for n in range(25)) + "l25.chain.test A 127.0.0.1\n"
MANY = "".join(f"many.example.test A 127.1.0.{n}\n" for n in range(1, 101))
LARGE = "".join(f"large.example.test A 127.1.0.{n}\n" for n in range(1, 51))

ZONE = f"""
www.example.test      A 127.0.0.1
www.example.test      AAAA ::1
www.example.test      AAAA 2001:DB8:0:0::1
shop.example.test     CNAME web.example.test
web.example.test      CNAME edge.cdn.test
edge.cdn.test         A 127.0.0.5
_srv.example.test     CNAME www.example.test
text.example.test     TXT "nothing here"
gone.example.test     CNAME nowhere.cdn.test
broken.example.test   SERVFAIL
refused.example.test  REFUSED
mute.example.test     DROP
half.example.test     A 127.0.0.6
half.example.test     DROP AAAA
sick.example.test     A 127.0.0.7
sick.example.test     SERVFAIL AAAA
odd.example.test      CNAME a\\032b.example.test
a\\032b.example.test  A 127.0.0.8
short.example.test    CNAME tld
tld                   A 127.0.0.8
strange.example.test  CNAME through\\010.cdn.test
through\\010.cdn.test CNAME edge.cdn.test
ring1.example.test    CNAME ring2.example.test
ring2.example.test    CNAME ring1.example.test
*.any.example.test    A 127.0.0.9
real.any.example.test A 127.0.0.10
same.any.example.test A 127.0.0.9
*.park.test           CNAME parking.cdn.test
parking.cdn.test      A 127.0.0.11
real.park.test        A 127.0.0.11
own.park.test         A 127.0.0.12
*.empty.test          TXT "anything"
text.empty.test       TXT "something"
full.empty.test       A 127.0.0.13
one.single            A 127.0.0.14
*.dark.test           DROP
lit.dark.test         A 127.0.0.15
{CHAIN}{MANY}{LARGE}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[NameServer]:
    with NameServer(ZONE) as running:
        yield running


def options(**given: object) -> DnsOptions:
    """Addresses and aliases only: what else a zone says is `test_dns_records`'s matter."""
    return DnsOptions.model_validate({"timeout": 5, "tries": 1, "rate": 1000, "records": False, **given})


IMPATIENT = options(timeout=1)


def look_up(server: NameServer, *names: str, how: DnsOptions | None = None) -> list[Found]:
    batch = [DomainName(name) for name in names]
    return list(probe(batch, how or options(), asking(server.address)))


def shown(found: list[Found]) -> list[Record]:
    return [entry for entry in found if not isinstance(entry, Coverage | Finding)]


def coverage(found: list[Found]) -> dict[str, tuple[Outcome, str]]:
    entries = [entry for entry in found if isinstance(entry, Coverage)]
    assert len({entry.subject for entry in entries}) == len(entries)
    return {entry.subject: (entry.outcome, entry.note) for entry in entries}


def in_full(records: Sequence[Record]) -> list[str]:
    """Descriptive fields do not count when records are compared, so compare their text."""
    return [repr(record) for record in records]


def test_a_name_with_addresses_of_both_families(server: NameServer) -> None:
    found = look_up(server, "www.example.test")
    assert in_full(shown(found)) == in_full(
        [
            DomainName("www.example.test"),
            Host("127.0.0.1", name="www.example.test"),
            Host("2001:db8::1", name="www.example.test"),
            Host("::1", name="www.example.test"),
        ]
    )
    assert coverage(found) == {"www.example.test": (Outcome.ANSWERED, "")}


@pytest.mark.parametrize("chases", [True, False], ids=["recursive", "authoritative"])
def test_aliases_are_followed_and_recorded_link_by_link(*, chases: bool) -> None:
    with NameServer(ZONE, chases=chases) as server:
        found = look_up(server, "shop.example.test")
    assert in_full(shown(found)) == in_full(
        [
            DomainName("shop.example.test", cname="web.example.test"),
            DomainName("web.example.test", cname="edge.cdn.test"),
            DomainName("edge.cdn.test"),
            Host("127.0.0.5", name="shop.example.test", via="edge.cdn.test"),
        ]
    )
    assert coverage(found) == {"shop.example.test": (Outcome.ANSWERED, "")}


def test_a_recursive_server_is_not_asked_again_for_what_an_alias_lacks(server: NameServer) -> None:
    look_up(server, "shop.example.test", how=options(wildcards=False))
    assert [asked.rdtype for asked in server.questions("shop.example.test")][-2:] == ["A", "AAAA"]
    assert not server.questions("edge.cdn.test")


def test_names_with_underscores_are_names(server: NameServer) -> None:
    found = look_up(server, "_srv.example.test")
    assert DomainName("_srv.example.test") in shown(found)
    assert Host("127.0.0.1") in shown(found)


@pytest.mark.parametrize(
    ("name", "outcome", "note", "recorded"),
    [
        ("absent.example.test", Outcome.SILENT, "does not exist (NXDOMAIN)", []),
        ("text.example.test", Outcome.ANSWERED, "has no address", ["text.example.test"]),
        ("example.test", Outcome.ANSWERED, "has no address", ["example.test"]),
        ("broken.example.test", Outcome.NOT_LOOKED_AT, "the name servers answered SERVFAIL", []),
        ("refused.example.test", Outcome.NOT_LOOKED_AT, "the name servers answered REFUSED", []),
        ("half.example.test", Outcome.ANSWERED, "AAAA: no answer", ["half.example.test", "127.0.0.6"]),
        ("sick.example.test", Outcome.ANSWERED, "AAAA: SERVFAIL", ["sick.example.test", "127.0.0.7"]),
        (
            "gone.example.test",
            Outcome.ANSWERED,
            "an alias of a name that does not exist (NXDOMAIN)",
            ["gone.example.test"],
        ),
    ],
)
def test_what_became_of_a_name(server: NameServer, name: str, outcome: Outcome, note: str, recorded: list[str]) -> None:
    found = look_up(server, name, how=IMPATIENT)
    assert coverage(found) == {name: (outcome, note)}
    assert [getattr(record, "name" if isinstance(record, DomainName) else "address") for record in shown(found)] == (
        recorded
    )


def test_a_dangling_alias_keeps_its_target(server: NameServer) -> None:
    (record,) = shown(look_up(server, "gone.example.test"))
    assert isinstance(record, DomainName)
    assert record.cname == "nowhere.cdn.test"


def test_a_silent_server_times_one_name_out_and_not_the_others(server: NameServer) -> None:
    found = look_up(server, "mute.example.test", "www.example.test", how=IMPATIENT)
    assert coverage(found)["mute.example.test"] == (Outcome.TIMED_OUT, "no name server answered")
    assert coverage(found)["www.example.test"][0] is Outcome.ANSWERED


def test_a_nonexistent_name_is_asked_for_once(server: NameServer) -> None:
    look_up(server, "once.example.test")
    assert len(server.questions("once.example.test")) == 1


@pytest.mark.parametrize("name", ["odd.example.test", "short.example.test"])
def test_an_address_behind_an_alias_that_is_no_host_name_is_nobodys(server: NameServer, name: str) -> None:
    found = look_up(server, name, how=options(wildcards=False))
    assert in_full(shown(found)) == in_full([DomainName(name)])
    assert coverage(found)[name][0] is Outcome.ANSWERED
    assert "left out" in coverage(found)[name][1]


def test_a_name_that_cannot_be_kept_is_skipped_within_a_chain(server: NameServer) -> None:
    found = look_up(server, "strange.example.test", how=options(wildcards=False))
    assert in_full(shown(found)) == in_full(
        [
            DomainName("strange.example.test"),
            DomainName("edge.cdn.test"),
            Host("127.0.0.5", name="strange.example.test", via="edge.cdn.test"),
        ]
    )


@pytest.mark.parametrize("chases", [True, False], ids=["recursive", "authoritative"])
def test_loops_and_endless_chains_end_with_a_note(*, chases: bool) -> None:
    with NameServer(ZONE, chases=chases) as server:
        found = look_up(server, "ring1.example.test", "l0.chain.test")
        assert coverage(found)["ring1.example.test"][0] is Outcome.ANSWERED
        assert "loop" in coverage(found)["ring1.example.test"][1]
        assert f"more than {MAX_ALIASES} aliases" in coverage(found)["l0.chain.test"][1]
        assert not [record for record in shown(found) if isinstance(record, Host)]
        assert not server.questions("l20.chain.test")


def test_a_chain_of_just_the_longest_length_is_followed(server: NameServer) -> None:
    found = look_up(server, f"l{25 - MAX_ALIASES}.chain.test")
    assert Host("127.0.0.1") in shown(found)


def test_a_truncated_answer_is_asked_for_over_tcp(server: NameServer) -> None:
    found = look_up(server, "large.example.test")
    assert len([record for record in shown(found) if isinstance(record, Host)]) == 50
    assert [asked.transport for asked in server.questions("large.example.test")] == ["udp", "tcp", "udp"]


def test_a_zone_cannot_flood_us_with_addresses(server: NameServer) -> None:
    found = look_up(server, "many.example.test")
    kept = [record for record in shown(found) if isinstance(record, Host)]
    assert len(kept) == MAX_ADDRESSES
    assert kept == [record for record in shown(look_up(server, "many.example.test")) if isinstance(record, Host)]
    assert "of its 100 addresses" in coverage(found)["many.example.test"][1]


@pytest.mark.parametrize(
    ("name", "wildcard"),
    [
        ("whatever.any.example.test", True),
        ("same.any.example.test", True),
        ("real.any.example.test", False),
        ("whatever.park.test", True),
        ("real.park.test", True),
        ("own.park.test", False),
        ("text.empty.test", True),
        ("full.empty.test", False),
        ("www.example.test", False),
        ("text.example.test", False),
        ("gone.example.test", False),
    ],
)
def test_names_that_only_a_wildcard_answers_for(server: NameServer, name: str, *, wildcard: bool) -> None:
    found = [record for record in shown(look_up(server, name)) if isinstance(record, DomainName)]
    assert {record.name: record.wildcard for record in found if record.name == name} == {name: wildcard}
    assert not [record for record in found if record.wildcard and record.name != name]


def test_each_parent_is_asked_for_its_wildcard_once() -> None:
    with NameServer(ZONE) as server:
        look_up(server, "a.any.example.test", "b.any.example.test", "www.example.test", "one.single")
        made_up = [asked.name for asked in server.asked if re.match(r"px[0-9a-f]{16}\.", asked.name)]
    below = [name.partition(".")[2] for name in made_up]
    # Two labels over both families below the wildcard; one NXDOMAIN ends it elsewhere; a lone label is left alone.
    assert sorted(below) == ["any.example.test"] * 4 + ["example.test"]
    assert len(set(made_up)) == 3


def test_wildcards_are_left_alone_where_the_policy_says_so() -> None:
    with NameServer(ZONE) as server:
        found = look_up(server, "a.any.example.test", how=options(wildcards=False))
        assert {asked.name for asked in server.asked} == {"a.any.example.test"}
    assert in_full(shown(found))[0] == repr(DomainName("a.any.example.test"))


def test_a_wildcard_that_could_not_be_asked_for_is_said_so(server: NameServer) -> None:
    found = look_up(server, "lit.dark.test", how=IMPATIENT)
    assert "wildcard" in coverage(found)["lit.dark.test"][1]


@pytest.mark.parametrize(
    ("one", "other", "name", "covered"),
    [
        (["1.1.1.1"], ["2.2.2.2"], ["2.2.2.2"], True),
        (["1.1.1.1"], ["2.2.2.2"], ["1.1.1.1", "2.2.2.2"], True),
        (["1.1.1.1"], ["2.2.2.2"], ["3.3.3.3"], False),
        (["1.1.1.1", "2.2.2.2"], ["1.1.1.1", "2.2.2.2"], ["1.1.1.1"], False),
        (["1.1.1.1"], ["1.1.1.1"], [], False),
    ],
)
def test_wildcards_with_rotating_addresses(one: list[str], other: list[str], name: list[str], *, covered: bool) -> None:
    first, second, asked = (
        Answer("a.example.test", (Trail("A", "NOERROR", addresses=tuple(addresses)),))
        for addresses in (one, other, name)
    )
    assert Wildcard((first, second)).covers(asked) is covered


@pytest.mark.parametrize(("alias", "covered"), [("pool.cdn.test", True), ("own.cdn.test", False), (None, False)])
def test_a_wildcards_alias_is_known_by_its_name_whatever_its_addresses(alias: str | None, *, covered: bool) -> None:
    def answer(aliases: tuple[str, ...], address: str) -> Answer:
        return Answer("a.example.test", (Trail("A", "NOERROR", aliases, (address,)),))

    wildcard = Wildcard((answer(("pool.cdn.test",), "1.1.1.1"), answer(("pool.cdn.test",), "2.2.2.2")))
    assert wildcard.covers(answer((alias,) if alias else (), "3.3.3.3")) is covered


@pytest.mark.parametrize("size", [4, None], ids=["a pool", "never the same"])
def test_a_wildcard_of_many_addresses_is_known_for_one(size: int | None) -> None:
    names = [f"n{number}.pool.test" for number in range(6)]
    with Rotating(size) as server:
        found = look_up(server, *names, "mail.pool.test")
    marks = {record.name: record.wildcard for record in shown(found) if isinstance(record, DomainName)}
    assert {name: marks[name] for name in names} == dict.fromkeys(names, True)
    assert not marks["mail.pool.test"]
    assert {record.name for record in shown(found) if isinstance(record, Host)} == {*names[:3], "mail.pool.test"}


def test_no_server_at_all_is_a_failure_that_names_the_remedy() -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    found: list[Found] = []
    with pytest.raises(LookupFailed) as caught:
        found.extend(probe([DomainName("a.example.test")], IMPATIENT, asking(nowhere)))
    assert "PULSAR_RESOLVERS" in caught.value.hint


def test_the_next_server_is_asked_where_one_does_not_answer(server: NameServer) -> None:
    with NameServer({"www.example.test": "SERVFAIL"}) as broken:
        resolvers = (f"127.0.0.1:{free_port()}", broken.address, server.address)
        found = list(probe([DomainName("www.example.test")], IMPATIENT, asking(*resolvers)))
        assert broken.questions("www.example.test")
    assert Host("127.0.0.1") in shown(found)
    assert coverage(found) == {"www.example.test": (Outcome.ANSWERED, "")}


def test_a_query_is_tried_as_often_as_asked_for(server: NameServer) -> None:
    before = len(server.questions("mute.example.test"))
    look_up(server, "mute.example.test", "www.example.test", how=options(timeout=0.5, tries=3))
    assert len(server.questions("mute.example.test")) - before == 6


def test_every_name_of_a_batch_has_its_coverage_and_progress_reaches_the_end(server: NameServer) -> None:
    names = [f"h{number}.any.example.test" for number in range(50)]
    told: list[float] = []
    ask = asking(server.address, report=told.append)
    found = list(probe([DomainName(name) for name in [*names, names[0]]], options(), ask))
    assert sorted(coverage(found)) == sorted(names)
    assert told == sorted(told)
    assert told[-1] == 100
    assert len(told) == 50


def test_a_stopped_scan_waits_for_no_name_server(server: NameServer) -> None:
    stopped = threading.Event()
    patient = options(timeout=30, tries=10)
    batch = [DomainName("www.example.test"), DomainName("mute.example.test"), DomainName("half.example.test")]
    found = []
    for entry in probe(batch, patient, asking(server.address, stopped=stopped)):
        found.append(entry)
        if isinstance(entry, Coverage):
            stopped.set()
    assert coverage(found)["www.example.test"][0] is Outcome.ANSWERED
    for name in ("mute.example.test", "half.example.test"):
        assert coverage(found)[name] == (Outcome.NOT_LOOKED_AT, "the scan was stopped")
    assert not _lookups_running()


def test_the_deadline_ends_a_lookup(server: NameServer) -> None:
    batch = [DomainName("mute.example.test"), DomainName("www.example.test")]
    found = list(probe(batch, options(timeout=30, tries=10), asking(server.address, seconds=2)))
    assert coverage(found)["mute.example.test"] == (Outcome.NOT_LOOKED_AT, "the time for this unit ran out")
    assert coverage(found)["www.example.test"][0] is Outcome.ANSWERED
    assert not _lookups_running()


def test_nothing_is_asked_once_the_deadline_is_past() -> None:
    with NameServer(ZONE) as server:
        found = list(probe([DomainName("www.example.test")], options(rate=0.1), asking(server.address, seconds=-1)))
    assert coverage(found) == {"www.example.test": (Outcome.NOT_LOOKED_AT, "the time for this unit ran out")}


def test_an_abandoned_lookup_leaves_no_thread(server: NameServer) -> None:
    batch = [DomainName("www.example.test"), DomainName("mute.example.test")]
    finding = iter(probe(batch, options(timeout=30), asking(server.address)))
    assert next(finding) == DomainName("www.example.test")
    assert _lookups_running()
    del finding
    assert not _lookups_running()


def _lookups_running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("dns")]


@pytest.mark.parametrize(("how", "sent"), [({"parallel": 2}, 2), ({"rate": 0.1}, 1)])
def test_parallelism_and_rate_are_bounded(how: dict[str, float], sent: int) -> None:
    """Six names that are never answered: so many questions are out as may be, and no more."""
    names = [f"n{number}.example.test" for number in range(6)]
    with NameServer(dict.fromkeys(names, "DROP")) as server:
        batch = [DomainName(name) for name in names]
        list(probe(batch, options(timeout=30, **how), asking(server.address, seconds=2)))
        assert len(server.asked) == sent


async def test_a_caller_with_an_event_loop_is_served_all_the_same(server: NameServer) -> None:
    assert Host("127.0.0.1") in shown(look_up(server, "www.example.test"))


def test_intensity_sets_the_pace_and_the_policy_overrides_it() -> None:
    paced = [configure({}, Pace(intensity, 60, "all")) for intensity in range(6)]
    assert [(each.parallel, each.rate) for each in paced] == list(PACES)
    assert list(PACES) == sorted(set(PACES))
    assert configure({"rate": 7, "tries": 3}, Pace(5, 60, "all")) == DnsOptions(rate=7, tries=3, parallel=50)


@pytest.mark.parametrize(
    "given",
    [{"shell": "id"}, {"timeout": 0}, {"timeout": float("nan")}, {"tries": 0}, {"parallel": 10_000}, {"rate": 0}],
)
def test_options_are_bounded(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        configure(given, Pace(3, 60, "all"))


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1", ("127.0.0.1", 53)),
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("::1", ("::1", 53)),
        ("[::1]:5353", ("::1", 5353)),
        ("[::1]", ("::1", 53)),
    ],
)
def test_name_servers_are_given_by_address(text: str, endpoint: tuple[str, int]) -> None:
    assert servers_of((text,)) == (endpoint,)


@pytest.mark.parametrize(
    "text", ["", "ns.example.test", "127.1", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:", "[::1", "https://[::1]/"]
)
def test_other_name_servers_are_an_error_of_the_installation(text: str) -> None:
    with pytest.raises(PlatformError) as caught:
        servers_of((text,))
    assert "PULSAR_RESOLVERS" in caught.value.hint


def test_without_any_the_systems_name_servers_are_asked(tmp_path: Path) -> None:
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("search example.test\nnameserver 127.0.0.53\nnameserver ::1\n")
    assert servers_of((), str(resolv_conf)) == (("127.0.0.53", 53), ("::1", 53))


def test_a_system_without_name_servers_is_told_where_to_name_some(tmp_path: Path) -> None:
    with pytest.raises(LookupFailed) as caught:
        servers_of((), str(tmp_path / "missing"))
    assert "PULSAR_RESOLVERS" in caught.value.hint


def test_the_module_sends_nothing_to_the_target_and_says_what_it_makes() -> None:
    assert TOOL.risk is Risk.PASSIVE
    assert TOOL.produces == (DomainName, Host, DnsRecord, Finding)
    assert TOOL.binary is None
    (intake,) = TOOL.accepts
    assert intake.key(DomainName("a.example.test", cname="b.example.test")) == "a.example.test"
