"""What Amass is asked, for the generation that is installed, and how its engine is started where it has one."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from footprint.errors import InstallationError, InvalidTarget, PlatformError
from footprint.records import DomainName, Host
from footprint.settings import Settings
from tasks.amass import ENGINE, SCRIPT, TOOL, AmassOptions, command, configure, installed
from tasks.amass_output import NAMES
from tasks.tool import Pace, Risk
from tests.estate.namespaces import Namespaces

ROOT = DomainName("example.test")


def _options(said: dict[str, Any] | None = None, *, intensity: int = 3, seconds: int = 3600) -> AmassOptions:
    return configure(said or {}, Pace(intensity, seconds, "top:100"))


def _argv(said: dict[str, Any], version: str, *resolvers: str) -> tuple[str, ...]:
    return command([ROOT], installed(_options(said), Settings(resolvers=resolvers), version)).argv


def test_it_is_given_less_time_than_the_unit_has() -> None:
    assert _options(seconds=600).seconds == 540
    assert _options({"seconds": 9000}, seconds=600).seconds == 540
    assert _options({"seconds": 60}, seconds=600).seconds == 60
    argv = _argv({"seconds": 60}, "4.2.0", "127.0.0.1")
    assert argv[:6] == ("timeout", "--signal", "INT", "60", "amass", "enum")
    assert "-timeout" not in argv


@pytest.mark.parametrize(("version", "file"), [("3.23.3", "[data_sources]\n"), ("4.2.0", "{}\n")])
def test_no_configuration_of_the_machine_counts(version: str, file: str) -> None:
    made = command([ROOT], installed(_options(), Settings(resolvers=("127.0.0.1",)), version))
    assert made.argv[made.argv.index("-config") + 1] == "config"
    assert made.files["config"] == file


def test_it_asks_our_name_servers_and_shares_the_rate_among_them() -> None:
    settings = Settings(resolvers=("127.0.0.1:5353", "192.0.2.53", "[2001:db8::53]:53"))
    made = command([ROOT], installed(_options({"rate": 90}), settings, "4.2.0"))
    assert made.files["resolvers"].split() == ["127.0.0.1:5353", "192.0.2.53:53", "[2001:db8::53]:53"]
    assert made.argv[made.argv.index("-rf") + 1] == "resolvers"
    assert made.argv[made.argv.index("-dns-qps") + 1] == "90"
    assert made.argv[made.argv.index("-rqps") + 1] == "30"


def test_a_name_server_without_an_address_is_refused() -> None:
    with pytest.raises(PlatformError):
        installed(_options(), Settings(resolvers=("localhost",)), "4.2.0")


def test_each_generation_is_asked_in_its_own_words() -> None:
    assert _argv({}, "3.23.3", "127.0.0.1")[-3:] == ("-json", "found.json", "-passive")
    assert "-json" not in _argv({}, "4.2.0", "127.0.0.1")
    assert "-passive" not in _argv({}, "4.2.0", "127.0.0.1")
    assert _argv({"mode": "brute"}, "4.2.0", "127.0.0.1")[-3:] == ("-brute", "-w", "words")
    assert _argv({"mode": "active"}, "4.2.0", "127.0.0.1")[-1] == "-active"
    for version in ("5.1.1", "6.0"):
        assert _argv({"allow_open_engine": True, "seconds": 60}, version) == ("sh", SCRIPT, "60")


def test_an_engine_that_anybody_may_command_is_run_only_where_that_was_said() -> None:
    with pytest.raises(InstallationError, match="port 4000") as refused:
        installed(_options(), Settings(), "5.1.1")
    assert "make tools" in refused.value.hint


@pytest.mark.parametrize("mode", ["brute", "active"])
def test_what_the_fifth_cannot_do_well_is_not_asked_of_it(mode: str) -> None:
    with pytest.raises(InstallationError, match=r"5\.1\.1"):
        installed(_options({"mode": mode, "allow_open_engine": True}), Settings(), "5.1.1")


def test_more_intensity_is_more_queries_and_more_mode_more_risk() -> None:
    rates = [_options(intensity=intensity).rate for intensity in range(6)]
    assert rates == sorted(set(rates))
    assert TOOL.risk_with
    risks = [TOOL.risk_with(_options({"mode": mode})) for mode in ("passive", "brute", "active")]
    assert risks == [Risk.PASSIVE, Risk.SAFE, Risk.INTRUSIVE]


def test_words_are_labels_and_travel_in_a_file() -> None:
    made = command([ROOT], _options({"mode": "brute", "words": ["www", "_dmarc", "a-b"]}))
    assert made.files["words"] == "www\n_dmarc\na-b\n"
    assert len(command([ROOT], _options({"mode": "brute"})).files["words"].split()) > 50
    for bad in ("-oN", "a.b", "a b", "www\n", "", "Www", "x" * 64):
        with pytest.raises(ValidationError):
            _options({"words": [bad]})


@pytest.mark.parametrize("record", [DomainName("a.test\nb.test"), DomainName("-df.test"), Host("127.0.0.1")])
def test_what_is_no_name_is_refused(record: DomainName | Host) -> None:
    with pytest.raises(InvalidTarget):
        command([record], _options())


def test_only_what_was_asked_for_is_enumerated() -> None:
    assert TOOL.intake_of(ROOT) is None
    assert TOOL.intake_of(ROOT, is_root=True) is TOOL.accepts[0]


@pytest.mark.parametrize("printed", ["v3.23.3", "\x1b[32mv4.2.0\x1b[0m", "v5.1.1\n"])
def test_its_version_is_read(printed: str) -> None:
    assert TOOL.binary
    match = TOOL.binary.version_pattern.search(printed)
    assert match
    assert re.fullmatch(r"\d\.\d+\.\d", match.group(1))


def test_the_engines_script_holds_no_data() -> None:
    options = AmassOptions(version=5)
    scripts = {command([DomainName(name)], options).files[SCRIPT] for name in ("a.test", "b.test")}
    assert scripts == {ENGINE}


STAND_IN = """#!/bin/sh
echo "$@" >>called
case $1 in
engine) {engine};;
enum) {enum};;
subs) echo www.example.test; echo mail.example.test;;
esac
"""
LISTENS = "exec python3 -c 'import socket,time; s=socket.create_server((\"\",4000)); time.sleep(60)'"


def _unit(folder: Path, engine: str, enum: str, name: str = "unit") -> tuple[list[str], dict[str, Any]]:
    """How to run the script with a program in Amass's place that has the faults of one."""
    unit = folder / name
    unit.mkdir()
    (unit / SCRIPT).write_text(ENGINE)
    (unit / "amass").write_text(STAND_IN.format(engine=engine, enum=enum))
    (unit / "amass").chmod(0o755)
    argv = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL", "sh", SCRIPT, "2"]
    return argv, {"cwd": unit, "env": {"PATH": f"{unit}:{os.environ['PATH']}"}}


def _enumerate(namespaces: Namespaces, folder: Path, engine: str, enum: str) -> subprocess.CompletedProcess[str]:
    argv, options = _unit(folder, engine, enum)
    return namespaces.scanner.run(argv, **options)


def test_the_engine_is_started_and_what_was_found_is_printed(namespaces: Namespaces, tmp_path: Path) -> None:
    done = _enumerate(namespaces, tmp_path, LISTENS, "true")
    assert (done.returncode, done.stdout) == (0, "The enumeration has finished\n"), done.stderr
    assert (tmp_path / "unit" / NAMES).read_text().split() == ["www.example.test", "mail.example.test"]
    called = (tmp_path / "unit" / "called").read_text().splitlines()
    assert [line.split()[0] for line in called] == ["engine", "enum", "subs"]


def test_what_an_enumeration_found_before_its_time_was_up_counts(namespaces: Namespaces, tmp_path: Path) -> None:
    done = _enumerate(namespaces, tmp_path, LISTENS, "exec sleep 60")
    assert (done.returncode, done.stdout) == (124, "")
    assert (tmp_path / "unit" / NAMES).read_text().split() == ["www.example.test", "mail.example.test"]


def test_two_enumerations_take_turns(namespaces: Namespaces, tmp_path: Path) -> None:
    started = []
    for name in ("one", "two"):
        argv, options = _unit(tmp_path, LISTENS, "sleep 0.5", name)
        started.append(namespaces.scanner.popen(argv, **options))
    assert [one.wait(timeout=20) for one in started] == [0, 0]


def test_an_enumeration_that_fails_says_why(namespaces: Namespaces, tmp_path: Path) -> None:
    done = _enumerate(namespaces, tmp_path, LISTENS, "echo 'no such domain' >&2; exit 1")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "no such domain\n")


def test_an_engine_that_does_not_start_says_why(namespaces: Namespaces, tmp_path: Path) -> None:
    done = _enumerate(namespaces, tmp_path, "echo 'no database' >&2; exit 1", "true")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "no database\n")


def test_somebody_elses_engine_is_left_alone(namespaces: Namespaces, tmp_path: Path) -> None:
    other = namespaces.scanner.popen(["sh", "-c", LISTENS + " & echo up; wait"], stdout=subprocess.PIPE, text=True)
    assert other.stdout
    with other.stdout:
        other.stdout.readline()
        namespaces.scanner.run(["sh", "-c", "until ss -ltn | grep -q :4000; do sleep 0.05; done"])
        done = _enumerate(namespaces, tmp_path, LISTENS, "true")
    assert done.returncode == 3
    assert "port 4000 is taken" in done.stderr
    assert not (tmp_path / "unit" / "called").exists()
    other.kill()
    other.wait()
