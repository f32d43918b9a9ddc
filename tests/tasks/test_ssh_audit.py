"""The ssh_audit module: what it asks, how it reads what is half JSON and half plain text, and real SSH servers."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from footprint.errors import InvalidTarget, OutputNotUnderstood, ToolCrashed, ToolTimedOut
from footprint.records import Coverage, Endpoint, Finding, Outcome, Service, Severity, Technology
from tasks.runner import Limits, run
from tasks.ssh_answers import parse
from tasks.ssh_audit import TOOL, SshAuditOptions, command, configure
from tasks.tool import Ending, Output, Pace
from tests.conftest import free_port
from tests.estate import daemons
from tests.tasks.cvss import base_score
from tests.tasks.hostile import Listener, drip, flood

HERE = "127.0.0.1"
PACE = Pace(3, 3600, "top:100")


def _ssh(port: int, address: str = HERE) -> Service:
    return Service(address, port, name="ssh")


def _audit(port: int = 22, **changes: Any) -> str:
    modern = [{"algorithm": "modern", "notes": {"info": ["since ever"]}}]
    audit = {"target": f"{HERE}:{port}", "banner": {"protocol": "2.0", "software": "OpenSSH_9.2p1", "comments": None}}
    return json.dumps({**audit, "kex": modern, "key": modern, "enc": modern, "mac": modern, **changes})


def _read(stdout: str, *ports: int, **output: Any) -> list[Any]:
    return list(parse(Output(stdout, **output), [_ssh(port) for port in ports or (22,)]))


def _outcomes_before_the_error(output: Output, batch: list[Service]) -> dict[str, Outcome]:
    outcomes = {}
    results = parse(output, batch)
    with contextlib.suppress(ToolTimedOut):
        for each in results:
            if isinstance(each, Coverage):
                outcomes[each.subject] = each.outcome
        pytest.fail("that it was held up is an error")
    return outcomes


def _findings(found: list[Any]) -> dict[str, Finding]:
    return {each.rule.removeprefix("ssh_audit/"): each for each in found if isinstance(each, Finding)}


# Asking


def test_targets_are_addresses_and_ports_in_a_file() -> None:
    asked = command([_ssh(22), _ssh(2222, "::1")], SshAuditOptions())
    assert asked.files["targets"] == "127.0.0.1:22\n[::1]:2222\n"
    assert "--skip-rate-test" in asked.argv


@pytest.mark.parametrize("record", [Service("unix:///run/x", 22), Service("www.test", 22), Endpoint(HERE, 22)])
def test_what_is_no_service_at_an_address_is_refused(record: Any) -> None:
    with pytest.raises(InvalidTarget):
        command([record], SshAuditOptions())


def test_it_takes_ssh_wherever_it_listens() -> None:
    assert TOOL.intake_of(_ssh(2222))
    assert not TOOL.intake_of(Service(HERE, 22, name="http"))
    assert not TOOL.intake_of(Service(HERE, 22))


def test_services_of_two_addresses_share_no_process() -> None:
    lane = TOOL.accepts[0].lane
    assert lane(_ssh(22)) == lane(_ssh(2222)) != lane(_ssh(22, "127.0.0.2"))


# Reading


def test_weak_algorithms_of_a_category_are_one_finding() -> None:
    weak = [
        {"algorithm": "one", "notes": {"fail": ["is broken"], "warn": ["is old"]}},
        {"algorithm": "two", "notes": {"warn": ["is old"]}},
    ]
    found = _findings(_read(f"[{_audit(enc=weak)}]"))
    assert set(found) == {"weak-cipher"}
    assert found["weak-cipher"].evidence == "one (is broken, is old); two (is old)"
    assert found["weak-cipher"].severity is Severity.MEDIUM


def test_what_is_old_but_not_broken_is_low() -> None:
    old = [{"algorithm": "one", "notes": {"warn": ["is old"]}}]
    assert _findings(_read(f"[{_audit(kex=old)}]"))["weak-key-exchange"].severity is Severity.LOW


def test_what_nearly_everyone_offers_is_told_where_it_is_asked_for() -> None:
    usual = [{"algorithm": "one", "notes": {"warn": ["does not provide protection against post-quantum attacks"]}}]
    text = f"[{_audit(kex=usual)}]"
    assert _findings(_read(text)) == {}
    assert set(_findings(_read(text, files={"options": '{"strict": true}'}))) == {"weak-key-exchange"}


def test_terrapin_is_a_finding_of_its_own_and_only_where_it_is_not_mended() -> None:
    note = "vulnerable to the Terrapin attack (CVE-2023-48795), allowing message prefix truncation"
    open_to = [{"algorithm": "chacha20", "notes": {"warn": [note]}}]
    finding = _findings(_read(f"[{_audit(enc=open_to)}]"))["CVE-2023-48795"]
    assert "chacha20" in finding.evidence
    assert finding.cvss
    assert base_score(finding.cvss) == finding.score
    mended = [{"algorithm": "kex-strict-s", "notes": {"info": [note]}}]
    assert _findings(_read(f"[{_audit(kex=mended)}]")) == {}


@pytest.mark.parametrize(
    ("software", "name", "version"),
    [
        ("OpenSSH_9.2p1", "OpenSSH", "9.2p1"),
        ("dropbear_2022.83", "dropbear", "2022.83"),
        ("libssh-0.9.6", "libssh", "0.9.6"),
        ("Cisco-1.25", "Cisco", "1.25"),
        ("babeld-8a5c1f", "babeld", "8a5c1f"),
        ("SSHD", "SSHD", None),
    ],
)
def test_software_is_told_from_its_version(software: str, name: str, version: str | None) -> None:
    banner = {"protocol": "2.0", "software": software, "comments": "Debian"}
    (technology,) = (each for each in _read(f"[{_audit(banner=banner)}]") if isinstance(each, Technology))
    assert (technology.name, technology.version, technology.detail) == (name, version, "Debian")


def test_the_first_protocol_is_told_of() -> None:
    assert "protocol-1" in _findings(_read(f"[{_audit(banner={'protocol': '1.99', 'software': 'x'})}]"))


def test_lines_of_plain_text_between_answers_belong_to_the_one_before() -> None:
    nothing = json.dumps({"target": f"{HERE}:23", "banner": {"software": None}})
    text = (
        "[\x1b[0;31m[exception] cannot connect to 127.0.0.1 port 24: [Errno 111] Connection refused\x1b[0m, "
        f"{nothing}\n[exception] did not receive banner: timed out, {_audit(22)}]"
    )
    outcomes = {each.subject: each for each in _read(text, 22, 23, 24, 25) if isinstance(each, Coverage)}
    assert outcomes[f"{HERE}:22/tcp"].outcome is Outcome.ANSWERED
    assert outcomes[f"{HERE}:23/tcp"].outcome is Outcome.TIMED_OUT
    assert outcomes[f"{HERE}:24/tcp"].outcome is Outcome.SILENT
    assert "refused" in outcomes[f"{HERE}:24/tcp"].note
    assert outcomes[f"{HERE}:25/tcp"].outcome is Outcome.NOT_LOOKED_AT


def test_what_was_written_before_the_end_counts() -> None:
    outcomes = _outcomes_before_the_error(Output(f"[{_audit(22)}, ", ending=Ending.TIMED_OUT), [_ssh(22), _ssh(23)])
    assert outcomes == {f"{HERE}:22/tcp": Outcome.ANSWERED, f"{HERE}:23/tcp": Outcome.TIMED_OUT}


@pytest.mark.parametrize(
    ("stdout", "error"),
    [("", OutputNotUnderstood), ("usage: ssh-audit [-h]\n", ToolCrashed), ("Traceback (most recent…\n", ToolCrashed)],
)
def test_what_is_nothing_of_ssh_audits_is_an_error(stdout: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        _read(stdout)


@pytest.mark.parametrize(
    "text", ["[" + "[" * 50_000, "[" + '{"a":' * 50_000, '[{"target": 1}]', '[{"target": "x:99999999"}]']
)
def test_nonsense_covers_nothing(text: str) -> None:
    (coverage,) = _read(text)
    assert coverage.outcome is Outcome.NOT_LOOKED_AT


# Real servers


Start = Callable[..., AbstractContextManager[Service]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    if reason := daemons.lacking("sshd"):
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)

    @contextmanager
    def started(extra: str = daemons.GOOD_SSH, key: str = "ed25519") -> Iterator[Service]:
        daemon = daemons.sshd(HERE, free_port(), tmp_path, extra=extra, key=key)
        with daemons.running(daemon):
            yield _ssh(daemon.port)

    return started


def _look(batch: list[Service], directory: Path, **options: Any) -> Output:
    return run(command(batch, configure(options, PACE)), Limits(60, directory))


def test_a_careful_server_has_nothing_against_it(start: Start, tmp_path: Path) -> None:
    with start() as service:
        found = list(parse(_look([service], tmp_path / "work"), [service]))
    assert _findings(found) == {}
    assert [each.name for each in found if isinstance(each, Technology)] == ["OpenSSH"]
    assert [each.outcome for each in found if isinstance(each, Coverage)] == [Outcome.ANSWERED]


def test_a_careless_server_has_one_finding_of_each_category(start: Start, tmp_path: Path) -> None:
    with start(daemons.WEAK_SSH, "rsa") as service:
        found = _findings(list(parse(_look([service], tmp_path / "work"), [service])))
    assert set(found) == {"weak-key-exchange", "weak-host-key", "weak-cipher", "weak-mac"}
    assert "diffie-hellman-group1-sha1" in found["weak-key-exchange"].evidence
    assert "3des-cbc" in found["weak-cipher"].evidence
    assert "hmac-md5" in found["weak-mac"].evidence
    assert "ssh-rsa" in found["weak-host-key"].evidence


@pytest.mark.parametrize("manner", [flood, drip])
def test_a_service_that_never_ends_does_not_take_the_others_answer(start: Start, tmp_path: Path, manner: Any) -> None:
    with start() as service, Listener(manner) as listener:
        batch = [service, _ssh(listener.port)]
        output = _look(batch, tmp_path / "work", host_timeout=5, parallel=2)
    assert output.ending is Ending.TIMED_OUT
    outcomes = _outcomes_before_the_error(output, batch)
    assert list(outcomes.values()) == [Outcome.ANSWERED, Outcome.TIMED_OUT]


def test_what_a_service_says_is_not_taken_for_what_was_found_of_it(tmp_path: Path) -> None:
    forged: list[bytes] = []

    def forge(connection: socket.socket, over: Event) -> None:
        connection.sendall(b"SSH-2.0-x\r\naaaT\4" + forged[0])

    with Listener(forge) as listener:
        forged.append(_audit(listener.port, enc=[{"algorithm": "one", "notes": {"fail": ["is broken"]}}]).encode())
        batch = [_ssh(listener.port)]
        output = _look(batch, tmp_path)
    assert forged[0].decode() in output.stdout
    found = list(parse(output, batch))
    assert _findings(found) == {}
    assert [each.outcome for each in found if isinstance(each, Coverage)] == [Outcome.SILENT]
