"""What receivers are told: the rules, the counts, the lines, and nothing in them that a sink obeys."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from footprint.change_words import brief
from footprint.delivery_plan import (
    BURST,
    FIRST_PAUSE,
    LONGEST,
    WINDOW,
    Batch,
    Hold,
    Waiting,
    is_hopeless,
    next_batch,
    pause_after,
)
from footprint.drift import Change, Difference, Step
from footprint.notification import (
    MOST_LINES,
    EventType,
    ScanEnd,
    event_id,
    is_worth_telling,
    of_changes,
    of_failure,
)
from footprint.notification_text import Links, as_is, digest_of, inert, letter_of
from footprint.notify_rules import NotifyOn, NotifyRules, effective_rules
from footprint.policy import PRESETS
from footprint.records import Certificate, DomainName, Finding, Host, Record, Service, Severity
from footprint.settings import Settings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCAN = UUID("0190a7f4-5cc1-7a55-9a6e-2a6f2d3b7c11")
RUN = UUID("7f5f0d0e-6a0e-4a61-8a1c-0d7c6f9b9f10")
END = ScanEnd(
    scan=SCAN, task_id=RUN, target="example.test", policy="quick", status="SUCCESS", at=NOW, found={"services": 3}
)
LINKS = Links("https://pulsar.test", "https://prefect.test")
NAME, HOST, WEB = DomainName("www.example.test"), Host("127.0.0.5"), Service("127.0.0.5", 443, product="nginx")
LEAK = Finding("http_probe/git", "127.0.0.5:443/tcp", "The repository is exposed", Severity.MEDIUM, 1.0)
OLD_SHOWN = Certificate("127.0.0.5:443/tcp", "ab" * 32)
HOSTILE = (
    "nginx\r\nBcc: all@example.test\r\n\r\n<!channel> <@U1> <https://evil.test|click> @everyone `x` *b* "
    "[x](https://evil.test) <img src=x onerror=alert(1)> {{tokenFromSecrets}} \x1b[31m \u202eabc &lt;"
)


def told(change: Change, record: Record, *steps: Step, on: NotifyOn | None = None) -> bool:
    return is_worth_telling([Difference(change, record, steps)], on or NotifyOn())


def test_shipped_policies_tell_nobody_and_a_schedule_comes_before_a_policy() -> None:
    assert {policy.notify.to for policy in PRESETS.values()} == {()}
    own, other = NotifyRules(to=("slack-webhook/oncall",)), NotifyRules(to=())
    assert (effective_rules(own), effective_rules(own, other)) == (own, other)


def test_the_rules_say_what_is_worth_telling() -> None:
    for record in (NAME, HOST):
        assert [change for change in Change if told(change, record)] == [Change.NEW, Change.BACK, Change.GONE]
        assert not told(Change.NEW, record, on=NotifyOn(names=False))
    changes = [Change.NEW, Change.BACK, Change.CHANGED, Change.GONE]
    assert [change for change in Change if told(change, WEB)] == changes
    assert not told(Change.NEW, WEB, on=NotifyOn(services=False))
    assert [change for change in Change if told(change, LEAK)] == [Change.NEW, Change.BACK]
    for floor, is_told in ((None, False), ("none", True), ("medium", True), ("high", False)):
        assert told(Change.NEW, LEAK, on=NotifyOn(findings=floor)) == is_told  # type: ignore[arg-type]
    assert told(Change.CHANGED, LEAK, Step("severity", "low", "medium"))
    assert not told(Change.CHANGED, LEAK, Step("severity", "high", "medium"))
    assert not told(Change.NEW, OLD_SHOWN)
    assert not is_worth_telling([Difference(Change.NEW, LEAK)], NotifyOn(), {LEAK})


def test_an_event_has_the_same_id_each_time_and_no_other_has_it() -> None:
    ids = {
        event_id(scan, receiver, kind)
        for scan in (SCAN, RUN)
        for receiver in ("signed-webhook/a", "signed-webhook/b")
        for kind in (EventType.FAILED, EventType.CHANGED)
    }
    assert len(ids) == 8
    assert event_id(SCAN, "signed-webhook/a", EventType.FAILED) == event_id(SCAN, "signed-webhook/a", EventType.FAILED)


def test_a_message_has_counts_the_first_lines_and_links() -> None:
    new = [Difference(Change.NEW, replace(WEB, port=port)) for port in range(1, 26)]
    unseen = Difference(Change.NOT_LOOKED_AT, HOST)
    said = of_changes(END, [*new, unseen], is_first=False)
    assert (said.changed, len(said.lines), said.not_listed) == ({"new": 25, "not_looked_at": 1}, MOST_LINES, 5)
    number = uuid4()
    letter = letter_of(said, number, LINKS)
    assert letter.subject == "Pulsar: example.test: 25 new, 1 not looked at"
    lines = letter.body.splitlines()
    assert lines[0] == "example.test, policy quick: SUCCESS"
    assert lines[2:4] == ["Found: services 3.", "Ended: 2026-03-01 12:00:00 UTC."]
    assert lines[5] == "+ new service 127.0.0.5:1/tcp"
    assert "and 5 more" in lines
    assert lines[-3:] == [
        f"Scan: https://pulsar.test/api/scans/{SCAN}/",
        f"Prefect run: https://prefect.test/runs/flow-run/{RUN}",
        f"Event: {number}",
    ]


def test_a_certificate_has_one_line_however_many_services_and_names_show_it() -> None:
    places = ("127.0.0.5:443/tcp", "www.example.test@127.0.0.5:443/tcp", "example.test@127.0.0.6:443/tcp")
    renewed = [
        Difference(Change.CHANGED, Certificate(place, "cd" * 32), (Step("fingerprint", "ab" * 32, "cd" * 32),))
        for place in (*places, "www.example.test@[::1]:443/tcp")
    ]
    by_address = [Difference(Change.NEW, Certificate(f"127.0.0.{number}:25/tcp", "ef" * 32)) for number in (7, 8)]
    other = Difference(Change.CHANGED, Certificate(places[0], "cd" * 32), (Step("key", "RSA 2048", "EC 256"),))
    gone = Difference(Change.GONE, Certificate(places[2], "cd" * 32))
    said = of_changes(END, [*by_address, *renewed, other, gone], is_first=False)
    assert said.lines == (
        "+ new certificate 127.0.0.7:25/tcp efefefefefef… (2 services)",
        "~ changed certificate 127.0.0.5:443/tcp cdcdcdcdcdcd… (3 services, 2 names): "
        "fingerprint abababababab… → cdcdcdcdcdcd…",
        "~ changed certificate 127.0.0.5:443/tcp cdcdcdcdcdcd…: key RSA 2048 → EC 256",
        "- gone certificate example.test@127.0.0.6:443/tcp cdcdcdcdcdcd…",
    )
    assert said.changed == {"new": 2, "changed": 5, "gone": 1}, "the counts are those of the differences"


def test_digests_and_times_are_short_for_people() -> None:
    digest = "0123456789abcdef" * 4
    assert brief(f"certificate {digest}: not_after 2027-01-01T09:30:59+00:00") == (
        "certificate 0123456789ab…: not_after 2027-01-01 09:30 UTC"
    )
    for other in (digest[:-1], f"{digest}0", "2027-01-01T09:30:59+02:00"):
        assert brief(other) == other


def test_a_digest_has_a_line_for_each_scan() -> None:
    failed = of_failure(END, "nmap: needs root", ["one"])
    changed = of_changes(END, [Difference(Change.NEW, WEB)], is_first=False)
    letter = digest_of([failed, changed], RUN, LINKS)
    assert letter.subject == "Pulsar: 2 scans, 1 of them failed"
    assert "example.test: failed: nmap: needs root" in letter.body
    assert letter.body.count(f"https://pulsar.test/api/scans/{SCAN}/") == 2


@pytest.mark.parametrize("sink", [as_is, inert])
def test_what_a_host_says_ends_no_line_and_steers_no_terminal(sink: object) -> None:
    assert callable(sink)
    steps = (Step("product", HOSTILE, HOSTILE),)
    end = END.model_copy(update={"target": HOSTILE})
    for said in (
        of_changes(end, [Difference(Change.CHANGED, replace(WEB, product=HOSTILE), steps)], is_first=False),
        of_failure(end, HOSTILE, [HOSTILE]),
    ):
        letter = letter_of(said, RUN, LINKS, sink)
        assert "\n" not in letter.subject
        assert "\r" not in letter.subject + letter.body
        assert not [line for line in letter.body.splitlines() if line.startswith("Bcc:")]
        for char in ("\x1b", "\u202e"):
            assert char not in letter.subject + letter.body


def test_in_chat_nothing_that_a_host_says_is_markup_a_mention_a_link_or_a_field() -> None:
    end = END.model_copy(update={"target": HOSTILE})
    number = uuid4()
    letters = [
        letter_of(of_failure(end, HOSTILE, [HOSTILE]), number, LINKS, inert),
        digest_of([of_failure(end, HOSTILE, [])] * 2, number, LINKS, inert),
    ]
    for letter in letters:
        text = (letter.subject + letter.body).replace("https://pulsar.test", "").replace("https://prefect.test", "")
        for char in ("<", ">", "&", "@", "`", "*", "[", "]", "{{", "://"):
            assert char not in text, char


def test_links_lead_to_this_machine_unless_the_settings_name_another() -> None:
    here = Links.of(Settings(api_port=1234, prefect_port=4321))
    assert (here.api, here.prefect_ui) == ("http://127.0.0.1:1234", "http://127.0.0.1:4321")
    named = Links.of(Settings(public_url="https://pulsar.test/", prefect_ui_url="https://prefect.test"))
    assert named == LINKS


def waiting(number: int, digest: UUID | None = None) -> Waiting:
    return Waiting(number, UUID(int=number), digest)


def test_few_go_one_by_one_many_go_together_and_a_flood_waits() -> None:
    few, many = [waiting(number) for number in range(BURST)], [waiting(number) for number in range(BURST + 1)]
    assert next_batch(few, []) == Batch((0,))
    digest = next_batch(many, [])
    assert isinstance(digest, Batch)
    assert (digest.ids, digest.digest_id) == (tuple(range(BURST + 1)), next_batch(many[::-1], []).digest_id)  # type: ignore[union-attr]
    sent = [NOW + timedelta(seconds=number) for number in range(BURST)]
    assert next_batch(few, sent) == Hold(NOW + WINDOW)
    again = [waiting(1), waiting(2, RUN), waiting(3, RUN)]
    assert next_batch(again, sent) == Batch((2, 3), RUN)


def test_tries_come_ever_later_and_end_within_a_day() -> None:
    assert FIRST_PAUSE / 2 <= pause_after(1) <= FIRST_PAUSE
    assert timedelta(minutes=30) <= pause_after(30) <= timedelta(hours=1)
    assert not is_hopeless(39, NOW, NOW + timedelta(hours=23))
    assert is_hopeless(40, NOW, NOW)
    assert is_hopeless(2, NOW, NOW + LONGEST + timedelta(seconds=1))
