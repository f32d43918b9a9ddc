"""Names guessed at a real name server on loopback, wildcards of every kind included."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from footprint.errors import LookupFailed, UnitError
from footprint.records import Coverage, DomainName, Outcome
from tasks import dns_brute
from tasks.dns_brute import SMALL, TOOL, DnsBruteOptions, permutations, probe, wordlist
from tasks.tool import Pace, Risk
from tests.estate.name_server import NameServer, free_port
from tests.tasks.asking import asking
from tests.tasks.rotating import Rotating

ZONE = """
www.example.test          A 127.0.0.1
mail.example.test         A 127.0.0.2
mail.example.test         AAAA ::1
shop.example.test         CNAME edge.cdn.test
edge.cdn.test             A 127.0.0.5
old.example.test          CNAME nowhere.cdn.test
printer.corp.example.test A 127.0.0.6
www.corp.example.test     A 127.0.0.7
api.www.corp.example.test A 127.0.0.8
vpn.example.test          A 127.0.0.9
dev-www.example.test      A 127.0.0.10
mail9.example.test        A 127.0.0.11
www-px7.example.test      A 127.0.0.12

*.wild.test               A 127.0.1.1
www.wild.test             A 127.0.1.1
mail.wild.test            A 127.0.1.2
shop.wild.test            CNAME edge.cdn.test
text.wild.test            TXT "nothing else"

*.park.test               CNAME parking.cdn.test
parking.cdn.test          A 127.0.1.3
mail.park.test            A 127.0.1.3
shop.park.test            CNAME parking.cdn.test

*.void.test               TXT "anything"
mail.void.test            A 127.0.1.4

www.mixed.test            A 127.0.1.5
*.www.mixed.test          A 127.0.1.6
mail.www.mixed.test       A 127.0.1.7

*.mute.test               DROP
*.refused.test            REFUSED
www.patchy.test           A 127.0.1.8
mail.patchy.test          SERVFAIL
empty.test                TXT "no names below"
half.any.test             A 127.0.1.9
*.any.test                A 127.0.1.10
mail.any.test             A 127.0.1.10
mail.any.test             DROP AAAA
"""


@pytest.fixture(scope="module")
def server() -> Iterator[NameServer]:
    with NameServer(ZONE) as running:
        yield running


class Run:
    """One unit: the names it yields, its coverage, and the error it ends with."""

    def __init__(self, server: NameServer | str, *roots: str, options: dict[str, Any] | None = None, **under: Any):
        quick = {"wordlist": "small", "rate": 5000, "parallel": 100, "timeout": 5, "tries": 1}
        chosen = DnsBruteOptions.model_validate({**quick, **(options or {})})
        address = server if isinstance(server, str) else server.address
        batch = [DomainName(root) for root in roots]
        self.found: dict[str, DomainName] = {}
        self.coverage: list[Coverage] = []
        self.error: UnitError | None = None
        self.reported: list[float] = []
        circumstances = asking(address, target=roots[0], report=self.reported.append, **under)
        try:
            for found in probe(batch, chosen, circumstances):
                if isinstance(found, Coverage):
                    self.coverage.append(found)
                    continue
                assert isinstance(found, DomainName)
                assert found.name not in self.found
                self.found[found.name] = found
        except UnitError as error:
            self.error = error
        assert [entry.subject for entry in self.coverage] == list(roots)

    @property
    def names(self) -> set[str]:
        return set(self.found)

    @property
    def outcome(self) -> Outcome:
        return self.coverage[0].outcome

    @property
    def note(self) -> str:
        return self.coverage[0].note


@pytest.fixture
def few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of a few words, where whole lists at several levels would only take time."""
    words = ("www", "mail", "shop", "old", "corp", "vpn", "printer", "api")
    monkeypatch.setattr(dns_brute, "wordlist", lambda: words)


def below(root: str, *labels: str) -> set[str]:
    return {f"{label}.{root}" for label in labels}


def test_names_of_the_list_are_found(server: NameServer) -> None:
    run = Run(server, "example.test")
    assert run.names == below("example.test", "www", "mail", "shop", "old", "corp", "vpn")
    assert run.found["shop.example.test"].cname == "edge.cdn.test"
    assert run.found["old.example.test"].cname == "nowhere.cdn.test"
    assert not any(found.wildcard for found in run.found.values())
    assert (run.outcome, run.note) == (Outcome.ANSWERED, f"6 of {SMALL} names exist")
    assert run.error is None


@pytest.mark.usefixtures("few_words")
def test_progress_is_reported_and_never_falls(server: NameServer) -> None:
    run = Run(server, "example.test", options={"recursive": 2, "permutations": True})
    assert run.reported == sorted(run.reported)
    assert run.reported[-1] == 100
    assert len({percent for percent in run.reported if percent <= 25}) == 8
    assert len({percent for percent in run.reported if 25 < percent <= 50}) > 50
    assert len({percent for percent in run.reported if percent > 50}) > 20


def test_the_full_list_is_asked_in_seconds(server: NameServer) -> None:
    began = time.monotonic()
    run = Run(server, "example.test", options={"wordlist": "full"})
    assert time.monotonic() - began < 30
    assert f"of {len(wordlist())} names" in run.note


def test_a_domain_without_names_is_silent_and_says_what_was_looked_at(server: NameServer) -> None:
    run = Run(server, "empty.test")
    assert (run.names, run.outcome, run.note) == (set(), Outcome.SILENT, f"0 of {SMALL} names exist")


def test_excluded_names_are_not_asked(server: NameServer) -> None:
    server.asked.clear()
    run = Run(server, "example.test", exclude=("vpn.example.test",))
    assert "vpn.example.test" not in run.names
    assert not server.questions("vpn.example.test")
    assert "1 that are excluded were not asked" in run.note


def test_what_a_wildcard_answers_is_one_record(server: NameServer) -> None:
    run = Run(server, "wild.test")
    assert run.names == below("wild.test", "www", "mail", "shop")
    assert run.found["www.wild.test"].wildcard
    assert not run.found["mail.wild.test"].wildcard
    assert run.outcome is Outcome.SAMPLED
    assert f"a wildcard answers below wild.test (127.0.1.1): www.wild.test stands for {SMALL - 2} names" in run.note


def test_a_wildcard_that_is_an_alias(server: NameServer) -> None:
    run = Run(server, "park.test")
    assert run.found["www.park.test"].wildcard
    assert run.found["www.park.test"].cname == "parking.cdn.test"
    assert run.names == below("park.test", "www")
    assert "parking.cdn.test" in run.note


def test_a_wildcard_without_addresses(server: NameServer) -> None:
    run = Run(server, "void.test")
    assert run.names == below("void.test", "www", "mail")
    assert [found.name for found in run.found.values() if found.wildcard] == ["www.void.test"]


def test_half_an_answer_does_not_tell_a_name_from_the_wildcard(server: NameServer) -> None:
    run = Run(server, "any.test", options={"timeout": 0.5})
    assert "mail.any.test" not in run.names
    assert "1 were not answered" in run.note


def test_a_wildcard_with_a_pool_of_addresses_is_one_record() -> None:
    with Rotating(size=5) as server:
        run = Run(server, "pool.test")
    assert run.names == below("pool.test", "www", "mail", "shop")
    assert [found.name for found in run.found.values() if found.wildcard] == ["www.pool.test"]


def test_a_wildcard_that_never_repeats_itself_makes_no_noise() -> None:
    with Rotating(size=None) as server:
        run = Run(server, "pool.test")
    assert run.names == below("pool.test", "www", "mail")
    assert run.found["mail.pool.test"].cname == "mx.other.test"
    assert run.outcome is Outcome.SAMPLED
    assert "always with something new" in run.note


@pytest.mark.usefixtures("few_words")
def test_a_level_that_is_tried_twice_has_one_record_for_its_wildcard(server: NameServer) -> None:
    run = Run(server, "wild.test", options={"permutations": True})
    assert [found.name for found in run.found.values() if found.wildcard] == ["www.wild.test"]
    assert re.search(r"^2 of \d+ names exist; a wildcard answers below wild.test \(127.0.1.1\): [^;]+$", run.note)
    stands_for = re.search(r"stands for (\d+) names", run.note)
    assert stands_for
    assert int(stands_for[1]) > 8


@pytest.mark.usefixtures("few_words")
def test_levels_below_found_names_are_tried_where_told_to(server: NameServer) -> None:
    assert Run(server, "example.test", options={"recursive": 1}).names >= below("corp.example.test", "www", "printer")
    run = Run(server, "example.test", options={"recursive": 2})
    assert "api.www.corp.example.test" in run.names


@pytest.mark.usefixtures("few_words")
def test_a_wildcard_of_a_deeper_level_is_found_there(server: NameServer) -> None:
    run = Run(server, "mixed.test", options={"recursive": 1})
    assert run.names == {"www.mixed.test", "mail.www.mixed.test", "www.www.mixed.test"}
    assert run.found["www.www.mixed.test"].wildcard
    assert not run.found["www.mixed.test"].wildcard
    assert run.outcome is Outcome.SAMPLED


@pytest.mark.usefixtures("few_words")
def test_levels_are_bounded_and_it_says_so(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_brute, "MAX_PARENTS", 1)
    run = Run(server, "example.test", options={"recursive": 1})
    assert "below 5 found names nothing was tried" in run.note


@pytest.mark.usefixtures("few_words")
def test_variants_of_found_names_are_tried_where_told_to(server: NameServer) -> None:
    assert "dev-www.example.test" not in Run(server, "example.test").names
    run = Run(server, "example.test", options={"permutations": True})
    assert run.names >= {"dev-www.example.test"}
    assert "www-px7.example.test" not in run.names


def test_variants_are_made_by_rule_and_bounded() -> None:
    made = permutations(["www", "mail8", "srv01"])
    assert {"dev-www", "www-dev", "www01", "www-1", "mail9", "mail7", "srv02", "srv00", "srv04"} <= set(made)
    assert len(made) == len(set(made))
    assert len(permutations(f"host{number}x" for number in range(1000))) == dns_brute.MAX_PERMUTATIONS
    assert all(len(word) <= 63 for word in permutations(["a" * 63, "b" * 60]))


@pytest.mark.parametrize("root", ["mute.test", "refused.test"])
def test_without_an_answer_it_gives_up_at_once(server: NameServer, root: str) -> None:
    server.asked.clear()
    run = Run(server, root, options={"timeout": 0.3})
    assert isinstance(run.error, LookupFailed)
    assert "PULSAR_RESOLVERS" in run.error.hint
    assert (run.outcome, run.note) == (Outcome.TIMED_OUT, "no name server answered")
    assert len(server.asked) < 10


def test_a_name_server_that_is_not_there() -> None:
    run = Run(f"127.0.0.1:{free_port()}", "example.test", options={"timeout": 0.3})
    assert isinstance(run.error, LookupFailed)


def test_a_few_names_without_an_answer_are_counted(server: NameServer) -> None:
    run = Run(server, "patchy.test")
    assert run.names == {"www.patchy.test"}
    assert (run.outcome, run.note) == (Outcome.ANSWERED, f"1 of {SMALL} names exist; 1 were not answered")


def test_many_names_without_an_answer_are_no_answer(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_brute, "TOLERATED_SILENCE", 0.001)
    run = Run(server, "patchy.test")
    assert run.names == {"www.patchy.test"}
    assert run.outcome is Outcome.TIMED_OUT


def test_when_time_is_up_it_says_how_far_it_came(server: NameServer) -> None:
    run = Run(server, "example.test", options={"rate": 50, "parallel": 5}, seconds=1.5)
    assert run.outcome is Outcome.TIMED_OUT
    assert re.search(r"^\d+ of \d+ names exist; the time for this unit ran out before all 300 were asked$", run.note)


def test_a_stopped_scan_ends_soon(server: NameServer) -> None:
    stopped = threading.Event()

    def stop() -> None:
        stopped.set()

    threading.Timer(0.5, stop).start()
    began = time.monotonic()
    run = Run(server, "example.test", options={"rate": 10, "parallel": 5}, stopped=stopped)
    assert time.monotonic() - began < 5
    assert run.outcome is Outcome.NOT_LOOKED_AT
    assert "the scan was stopped" in run.note
    assert run.error is None


def test_each_domain_of_a_batch_has_its_coverage(server: NameServer) -> None:
    run = Run(server, "example.test", "corp.example.test")
    assert [entry.outcome for entry in run.coverage] == [Outcome.ANSWERED, Outcome.ANSWERED]
    assert run.names > below("corp.example.test", "www", "printer")
    assert run.reported == sorted(run.reported)


def test_a_domain_whose_names_are_too_long_is_looked_at_all_the_same(server: NameServer) -> None:
    root = ".".join(["a" * 60] * 4 + ["test"])
    assert len(root) == 248
    run = Run(server, root)
    assert run.outcome is Outcome.SILENT
    assert "0 of " in run.note
    assert max(len(asked.name) for asked in server.asked) <= 253


def test_the_list_is_made_of_labels_each_once() -> None:
    words = wordlist()
    assert 1900 <= len(words) <= 2500
    assert len(set(words)) == len(words)
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", word) for word in words)
    assert {"www", "mail", "vpn", "dev", "api", "gitlab", "autodiscover"} <= set(words[:SMALL])


def test_what_it_takes_and_what_it_risks() -> None:
    assert TOOL.risk is Risk.SAFE
    assert TOOL.intake_of(DomainName("example.test"), is_root=True)
    assert not TOOL.intake_of(DomainName("www.example.test"), is_root=False)
    rates = [TOOL.configure({}, Pace(intensity, 60, "top:100")).rate for intensity in range(6)]
    assert rates == sorted(set(rates))


@pytest.mark.parametrize("given", [{"recursive": 4}, {"wordlist": "huge"}, {"rate": 0}, {"parallel": 501}, {"deep": 1}])
def test_options_are_bounded(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TOOL.configure(given, Pace(3, 60, "top:100"))
