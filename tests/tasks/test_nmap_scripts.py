"""nmap's scripts: which may run, what they risk, and what is made of what they say."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest

from footprint.errors import OutputNotUnderstood
from footprint.records import Coverage, Finding, Host, Record, Service, Technology
from tasks import nmap, nmap_udp
from tasks.nmap_answers import parse, parse_udp
from tasks.nmap_meanings import MEANINGS
from tasks.nmap_options import configure
from tasks.nmap_scripts import INTRUSIVE, Transport, chosen, scripts_of
from tasks.tool import Output, Pace, Risk

FIXTURES = Path(__file__).parent.parent / "fixtures"
INSTALLED = Path("/usr/share/nmap/scripts")
PACE = Pace(3, 3600, "top:100")
TRANSPORTS: tuple[Transport, ...] = ("tcp", "udp")
X11, WEB = Service("10.87.0.60", 6001), Service("10.87.0.61", 80)


def _recorded(case: str) -> str:
    return (FIXTURES / case / "stdout").read_text()


def _parse(text: str, *batch: Record) -> list[Record | Coverage]:
    return list(parse(Output(text), list(batch)))


def _saying(output: str, script: str = "http-ntlm-info", structure: str = "") -> str:
    """A recorded report in which a script says something else."""
    quoted = html.escape(output).replace("\n", "&#xa;")
    text = f'<script id="{script}" output="{quoted}">{structure}</script></port>'
    return re.sub(
        r'<script id="http-ntlm-info".*?</port>', lambda _: text, _recorded("nmap/hostile_scripts"), flags=re.DOTALL
    )


def _said(output: str, script: str, structure: str = "") -> list[Record]:
    """What is made of a script's words, apart from service and host."""
    found = _parse(_saying(output, script, structure), WEB)
    return [record for record in found if isinstance(record, Technology | Finding)]


def _asked(said: dict[str, Any], intensity: int = 3) -> str | None:
    argv = nmap.command([Service("192.0.2.1", 22)], configure(said, Pace(intensity, 3600, "all"))).argv
    return argv[argv.index("--script") + 1] if "--script" in argv else None


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_safe_is_all_but_the_intrusive(transport: Transport) -> None:
    assert set(chosen(transport, ["safe"])) == set(scripts_of(transport)) - INTRUSIVE


def test_every_script_has_a_meaning_and_every_meaning_a_script() -> None:
    assert set(MEANINGS) == {name for transport in TRANSPORTS for name in scripts_of(transport)}


@pytest.mark.skipif(not INSTALLED.is_dir(), reason="nmap's scripts are not installed here")
@pytest.mark.parametrize("name", sorted(MEANINGS))
def test_a_script_is_of_the_categories_that_it_is_taken_for(name: str) -> None:
    declared = re.search(r"^categories = \{(.*?)\}", (INSTALLED / f"{name}.nse").read_text(), re.MULTILINE)
    assert declared
    categories = set(re.findall(r'"(\w+)"', declared[1]))
    assert ("safe" in categories) is (name not in INTRUSIVE)
    assert not categories & {"external", "dos", "exploit", "malware", "fuzzer", "brute", "broadcast"}


def test_scripts_run_by_intensity_and_as_the_policy_says() -> None:
    assert _asked({}, intensity=2) is None
    assert _asked({"scripts": ["safe"]}, intensity=0) == _asked({}) == ",".join(chosen("tcp", ["safe"]))
    assert _asked({"scripts": ["x11-access", "rpcinfo"]}) == "rpcinfo,x11-access"
    assert _asked({"scripts": []}) is None


def test_scripts_are_given_up_in_time_and_never_run_on_hosts_alone() -> None:
    assert "--script-timeout" in nmap.command([Service("192.0.2.1", 22)], configure({}, PACE)).argv
    assert "--script" not in nmap.command([Host("192.0.2.1")], configure({}, PACE)).argv
    udp = nmap_udp.configure({}, PACE)
    assert "--script" in nmap_udp.command([Service("192.0.2.1", 161, "udp")], udp).argv
    assert "--script" not in nmap_udp.command([Host("192.0.2.1")], udp).argv


def test_trying_accounts_is_intrusive() -> None:
    assert nmap.TOOL.risk_with
    assert nmap.TOOL.risk_with(configure({}, PACE)) is Risk.SAFE
    assert nmap.TOOL.risk_with(configure({"scripts": ["safe", "mysql-empty-password"]}, PACE)) is Risk.INTRUSIVE


def test_an_open_display_is_found_although_the_script_leaves_it_to_version_detection() -> None:
    text = _recorded("nmap/scripts")
    assert 'id="x11-access"' not in text
    assert [record.rule for record in _parse(text, X11) if isinstance(record, Finding)] == ["nmap/x11-access"]
    denied = text.replace('extrainfo="open"', 'extrainfo="access denied"')
    assert not [record for record in _parse(denied, X11) if isinstance(record, Finding)]


def test_what_is_said_of_a_host_is_told_of_the_service_that_said_it() -> None:
    smb = [Service("10.87.0.60", 445), Service("10.87.0.60", 139)]
    rules = {
        (record.rule, record.subject)
        for record in _parse(_recorded("nmap/scripts"), *smb)
        if isinstance(record, Finding)
    }
    assert rules == {(f"nmap/{name}", "10.87.0.60:445/tcp") for name in ("smb-protocols", "smb2-security-mode")}


def test_what_is_said_of_services_that_nobody_asked_about_is_dropped() -> None:
    found = _parse(_recorded("nmap/scripts"), Service("10.87.0.60", 22))
    assert not [record for record in found if isinstance(record, Technology | Finding)]


def test_a_script_that_was_not_asked_for_is_dropped() -> None:
    text = _recorded("nmap/scripts")
    assert 'id="http-server-header"' in text
    named = [record.name for record in _parse(text, Service("10.87.0.60", 80)) if isinstance(record, Technology)]
    assert named == ["NTLM"]


def test_what_changes_every_time_is_left_out() -> None:
    text = _recorded("nmap_udp/snmp")
    assert "uptime" in text
    said = [
        record
        for record in parse_udp(Output(text), [Service("10.87.0.60", 161, "udp")])
        if isinstance(record, Technology | Finding)
    ]
    assert len(said) == 3
    assert not [record for record in said if "uptime" in repr(record) or "Boots" in repr(record)]


@pytest.mark.parametrize(
    ("script", "output", "is_weak"),
    [
        ("nfs-showmount", "\n  /srv *", True),
        ("nfs-showmount", "\n  /srv", True),
        ("nfs-showmount", "\n  /srv 10.0.0.0/8 *", True),
        ("nfs-showmount", "\n  /srv 10.0.0.0/8 *.example.test", False),
        ("nfs-showmount", "No NFS mounts available", False),
        ("smb2-security-mode", "\n  311: \n    Message signing enabled and required", False),
        ("telnet-encryption", "\n  Telnet server supports encryption", False),
        ("telnet-encryption", "\n  Telnet server does not support encryption", True),
        ("vnc-info", "\n  Protocol version: 3.8\n  Security types: \n    VNC Authentication (2)", False),
        ("vnc-info", "\n  Security types: \n    Tight (16)\n    None (1)", True),
        ("ajp-methods", "\n  Supported methods: GET HEAD POST OPTIONS", False),
        ("ajp-methods", "\n  Supported methods: GET PUT\n  Potentially risky methods: PUT\n  See https://a.test", True),
        ("mysql-empty-password", "\n  anonymous account has empty password\n", True),
        ("mysql-empty-password", "Host '10.0.0.1' is not allowed to connect; root account has empty password", False),
        ("x11-access", "X server access is granted", True),
        ("x11-access", "ERROR: X server access is granted", False),
        ("snmp-sysdescr", "ERROR: Script execution failed", False),
        ("banner", "X server access is granted", False),
    ],
)
def test_a_weakness_is_what_the_script_itself_calls_one(script: str, output: str, is_weak: bool) -> None:
    # Host scripts are told apart by where they stand; what they say is read alike.
    found = [record.rule for record in _said(output, script) if isinstance(record, Finding)]
    assert found == ([f"nmap/{script}"] if is_weak else [])


def test_values_in_a_scripts_tables_are_none_of_its_own() -> None:
    structure = '<table key="inner"><elem key="DNS_Computer_Name">inside</elem></table><elem key="Target_Name">T</elem>'
    [said] = _said("text", "rdp-ntlm-info", structure)
    assert isinstance(said, Technology)
    assert said.detail == "Target_Name: T"


HOSTILE = "\x1b[31mred \u202eevil </script></port></host></nmaprun> <!ENTITY a 'b'> =cmd|'/c calc'!A0 "


def test_what_a_target_says_to_a_script_is_cleaned_bounded_and_no_markup() -> None:
    escaped = html.escape(HOSTILE.replace("\x1b", "&#x1b;"), quote=True).replace("&amp;#x1b;", "&#x1b;")
    text = (
        _saying("x")
        .replace('output="x"', f'output="{escaped}&#xa;{"A" * 1_000_000}"')
        .replace("http-ntlm-info", "rpcinfo")
    )
    [said] = [record for record in _parse(text, WEB) if isinstance(record, Technology)]
    assert said.detail
    assert len(said.detail.encode()) <= 1000
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202e]", said.detail)
    assert "[31mred evil </script></port></host></nmaprun>" in said.detail


def test_a_megabyte_of_values_and_tables_in_tables_is_bounded() -> None:
    deep = "<table key='a'>" * 500 + "<elem key='Target_Name'>far down</elem>" + "</table>" * 500
    many = "<elem key='Target_Name'>" + "y" * 5000 + "</elem>"
    said = _said("x", "http-ntlm-info", deep + many * 200)
    assert len(said) == 1
    assert isinstance(said[0], Technology)
    assert said[0].detail
    assert len(said[0].detail) <= 1000
    assert "far down" not in said[0].detail


@pytest.mark.parametrize("trick", ["<!DOCTYPE x [<!ENTITY a 'b'>]>", "<unclosed>", "<script id='vnc-info' output='"])
def test_markup_that_nmap_did_not_escape_is_an_error(trick: str) -> None:
    with pytest.raises(OutputNotUnderstood):
        _said("x", "http-ntlm-info", trick)


def test_a_script_without_name_or_words_says_nothing() -> None:
    assert _said("", "rpcinfo") == []
    text = _saying("x").replace('<script id="http-ntlm-info" output="x">', "<script>")
    assert not [record for record in _parse(text, WEB) if isinstance(record, Technology | Finding)]
