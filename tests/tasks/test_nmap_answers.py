"""nmap's answers: what is read out of its reports, whole, broken or hostile, and what is said of each target."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from footprint.errors import NotPrivileged, OutputNotUnderstood, OutputTruncated, PulsarError, ToolCrashed
from footprint.records import Coverage, Host, Outcome, Record, Service
from footprint.store.packing import unpack
from tasks.nmap_answers import LIKELY, parse, parse_udp
from tasks.nmap_xml import read
from tasks.tool import Ending, Output

FIXTURES = Path(__file__).parent.parent / "fixtures" / "nmap"


def _recorded(name: str) -> str:
    return (FIXTURES / name / "stdout").read_text()


def _hosts(*addresses: str) -> list[Record]:
    return [Host(address) for address in addresses]


def _coverage(found: list[Record | Coverage]) -> dict[str, Outcome]:
    return {entry.subject: entry.outcome for entry in found if isinstance(entry, Coverage)}


def _notes(found: list[Record | Coverage]) -> dict[str, str]:
    return {entry.subject: entry.note for entry in found if isinstance(entry, Coverage)}


def _parse(text: str, batch: list[Record], **output: Any) -> list[Record | Coverage]:
    return list(parse(Output(text, **output), batch))


def _until_error(text: str, batch: list[Record], **output: Any) -> tuple[list[Record | Coverage], PulsarError]:
    """What is found before an error, and the error."""
    found: list[Record | Coverage] = []
    with pytest.raises(PulsarError) as error:
        found.extend(parse(Output(text, **output), batch))
    return found, error.value


@pytest.mark.parametrize("text", ["", " \n", "Starting Nmap 7.93", "{}", "<nmaprun", "<html><nmaprun></html>"])
def test_nonsense_is_an_error_and_never_nothing(text: str) -> None:
    with pytest.raises(OutputNotUnderstood):
        _parse(text, _hosts("127.0.64.83"))


def test_the_error_says_why_there_is_nothing() -> None:
    with pytest.raises(OutputNotUnderstood) as error:
        _parse("", _hosts("127.0.0.1"), stderr="scan type requires root privileges.\nQUITTING!")
    assert error.value.hint == "scan type requires root privileges. QUITTING!"


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE nmaprun [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>',
        '<!DOCTYPE nmaprun [<!ENTITY f SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE nmaprun SYSTEM "http://127.0.0.1/x.dtd" [<!ENTITY % p SYSTEM "http://127.0.0.1/p"> %p;]>',
        "<!DOCTYPE other>",
    ],
)
def test_entities_are_refused(doctype: str) -> None:
    text = _recorded("closed_only").replace("<!DOCTYPE nmaprun>", doctype)
    with pytest.raises(OutputNotUnderstood):
        _parse(text, _hosts("127.0.64.83"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('portid="2001"', 'portid="many"'),
        ('portid="2001"', 'portid="70000"'),
        ('portid="2001"', 'portid="-1"'),
        ('<state state="open" reason="syn-ack" reason_ttl="64"/>', ""),
        ('<address addr="127.0.64.81" addrtype="ipv4"/>', ""),
        ('addr="127.0.64.82"', 'addr="127.0.64.81"'),
        ('<hosts up="3" down="0" total="3"/>', '<hosts total="x"/>'),
        ("<ports>", "<ports><unclosed>"),
    ],
)
def test_what_nmap_never_writes_is_an_error(old: str, new: str) -> None:
    text = _recorded("sweep")
    assert old in text
    with pytest.raises(OutputNotUnderstood):
        _parse(text.replace(old, new, 1), _hosts("127.0.64.81", "127.0.64.82", "127.0.64.83"))


def test_hosts_that_nobody_asked_about_are_dropped() -> None:
    found = _parse(_recorded("sweep"), _hosts("127.0.64.82"))
    assert {record.address for record in found if isinstance(record, Service)} == {"127.0.64.82"}
    assert _coverage(found) == {"127.0.64.82": Outcome.ANSWERED}


def test_ports_that_nobody_asked_about_are_dropped() -> None:
    found = _parse(_recorded("versions"), [Service("127.0.64.81", 2121)])
    assert [record for record in found if isinstance(record, Service)] == [Service("127.0.64.81", 2121)]


def test_a_host_that_is_down_is_silent() -> None:
    """On its own network nmap leaves a host that ignores ARP out of the report, also after -Pn."""
    text = _recorded("closed_only").replace('<hosts up="1" down="0" total="1"/>', '<hosts up="1" down="1" total="2"/>')
    found = _parse(text, _hosts("127.0.64.83", "127.0.64.84"))
    assert _coverage(found) == {"127.0.64.83": Outcome.ANSWERED, "127.0.64.84": Outcome.SILENT}


def test_a_host_that_nmap_was_not_given_was_not_looked_at() -> None:
    found = _parse(_recorded("closed_only"), _hosts("127.0.64.83", "127.0.64.84"))
    assert _coverage(found)["127.0.64.84"] is Outcome.NOT_LOOKED_AT


def test_a_service_whose_host_timed_out_timed_out() -> None:
    found = _parse(_recorded("host_timed_out"), [Service("10.99.0.2", 22)])
    assert _coverage(found) == {"10.99.0.2:22/tcp": Outcome.TIMED_OUT}
    (said,) = [one for one in found if isinstance(one, Coverage)]
    assert "too slow in saying what they are" in said.note


def test_udp_is_not_said_to_be_closed() -> None:
    found = _parse(_recorded("versions"), [Service("127.0.64.81", 2001, "udp")])
    assert _coverage(found) == {"127.0.64.81:2001/udp": Outcome.NOT_LOOKED_AT}


def test_what_it_may_not_do_is_said_with_a_remedy() -> None:
    with pytest.raises(NotPrivileged) as error:
        _parse(_recorded("not_privileged"), _hosts("127.0.64.83"), returncode=1)
    assert "Operation not permitted" in error.value.detail
    assert "CAP_NET_RAW" in error.value.hint


def test_giving_up_before_any_host_is_a_crash() -> None:
    text = re.sub(r"Couldn[^\"]*permitted \(1\)", "out of memory", _recorded("not_privileged"))
    with pytest.raises(ToolCrashed, match="out of memory"):
        _parse(text, _hosts("127.0.64.83"), returncode=1)


def test_giving_up_on_the_way_keeps_what_was_finished() -> None:
    text = _recorded("closed_only").replace('exit="success"', 'exit="error" errormsg="out of &#x1b;memory"')
    found, error = _until_error(text, _hosts("127.0.64.83", "127.0.64.84"), returncode=1)
    assert _coverage(found) == {"127.0.64.83": Outcome.ANSWERED, "127.0.64.84": Outcome.NOT_LOOKED_AT}
    assert _notes(found)["127.0.64.84"].endswith("out of memory")
    assert isinstance(error, ToolCrashed)
    assert error.detail.endswith("out of memory")


def test_a_report_that_ends_in_the_middle_keeps_what_was_finished() -> None:
    found, error = _until_error(_recorded("cut_report"), _hosts("127.0.64.81", "127.0.64.82"))
    assert _coverage(found) == {"127.0.64.81": Outcome.ANSWERED, "127.0.64.82": Outcome.NOT_LOOKED_AT}
    assert isinstance(error, OutputTruncated)
    assert error.hint


def test_a_guess_from_the_port_number_is_no_name() -> None:
    text = _recorded("sweep")
    assert 'name="dc" method="table"' in text
    assert {record.name for record in _parse(text, _hosts("127.0.64.81")) if isinstance(record, Service)} == {None}


def test_what_a_target_writes_is_cleaned_and_bounded() -> None:
    evil = "&#x1b;[31m&#0;&#x202e;&#xd800;\x0b\x9bred&#10;line&#99999999999999999999;&lt;b&gt;" + "x" * 9000
    text = _recorded("versions").replace('product="vsftpd"', f'product="{evil}"')
    [service] = [record for record in _parse(text, [Service("127.0.64.81", 2121)]) if isinstance(record, Service)]
    assert service.product
    assert service.product.startswith("[31mred line<b>xxx")
    assert len(service.product.encode()) <= 4096


def test_a_target_cannot_end_the_report() -> None:
    text = _recorded("hostile_banners")
    assert "&lt;/nmaprun&gt;" in text
    cut = text[: text.index("</ports>")]
    found = _parse(cut, [Service("127.0.64.71", 8081)], ending=Ending.KILLED)
    assert _coverage(found) == {"127.0.64.71:8081/tcp": Outcome.NOT_LOOKED_AT}


@pytest.mark.parametrize("name", ["sweep", "versions", "mac_and_skipped", "killed", "scripts"])
def test_wherever_a_report_breaks_off_nothing_is_made_up(name: str) -> None:
    text = _recorded(name)
    batch = [unpack(packed) for packed in json.loads((FIXTURES / name / "case.json").read_text())["batch"]]
    whole = _parse(text, batch, ending=Ending.KILLED)
    readable = 0
    for end in range(0, len(text.rstrip()), max(1, len(text) // 300)):
        try:
            part = _parse(text[:end], batch, ending=Ending.KILLED)
        except OutputNotUnderstood:
            assert end < text.index("<scaninfo" if "<scaninfo" in text else "<verbose")
            continue
        readable += 1
        assert {record for record in part if not isinstance(record, Coverage)} <= set(whole)
        said, known = _coverage(part), _coverage(whole)
        assert set(said) == set(known)
        assert all(said[at] in (Outcome.NOT_LOOKED_AT, known[at]) for at in said)
    assert readable > 100


def _guessed(*guesses: tuple[str, int]) -> str | None:
    """What is said of a host of which nmap guesses these."""
    matches = "".join(f'<osmatch name="{name}" accuracy="{accuracy}" line="1"></osmatch>' for name, accuracy in guesses)
    text = re.sub(r"<osmatch.*</osmatch>", matches, _recorded("os_guess"), flags=re.DOTALL)
    found = _parse(text, [Service("10.87.0.53", 22)])
    return next((record.os for record in found if isinstance(record, Host)), None)


def test_the_likeliest_system_is_named_with_its_likelihood() -> None:
    assert _guessed(("Linux 3.2", 95), ("Linux 5.3 - 5.4", 96), ("a camera", 94)) == "Linux 5.3 - 5.4 (96 %)"


def test_guesses_that_are_as_likely_are_all_named_up_to_three() -> None:
    four = [(name, 100) for name in ("A", "B", "C", "D")]
    assert _guessed(*four) == "A or B or C (100 %)"


def test_an_unlikely_guess_is_none() -> None:
    assert _guessed(("A", LIKELY)) == f"A ({LIKELY} %)"
    assert _guessed(("A", LIKELY - 1)) is None
    assert _guessed() is None


def test_a_guess_of_nonsense_is_an_error() -> None:
    text = re.sub(r'accuracy="\d+" line', 'accuracy="very" line', _recorded("os_guess"))
    with pytest.raises(OutputNotUnderstood):
        _parse(text, [Service("10.87.0.53", 22)])


def test_tcp_is_not_said_to_be_closed_by_a_question_about_udp() -> None:
    text = (FIXTURES.parent / "nmap_udp" / "name_server" / "stdout").read_text()
    found = list(parse_udp(Output(text), [Service("10.87.0.54", 80)]))
    assert _coverage(found) == {"10.87.0.54:80/tcp": Outcome.NOT_LOOKED_AT}


def test_ports_of_the_other_protocol_are_dropped() -> None:
    text = (FIXTURES.parent / "nmap_udp" / "sweep" / "stdout").read_text()
    assert [record for record in parse_udp(Output(text), _hosts("10.87.0.53")) if isinstance(record, Service)]
    assert not [record for record in parse(Output(text), _hosts("10.87.0.53")) if isinstance(record, Service)]


def test_reading_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert len(read(_recorded("sweep")).hosts) == 3
