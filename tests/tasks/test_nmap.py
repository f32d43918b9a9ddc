"""nmap: what it is asked, how far it says it is, and what it may do."""

from __future__ import annotations

from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from footprint.errors import InvalidTarget
from footprint.policy import PRESETS
from footprint.records import SAMPLE, DomainName, Host, Network, Record, Service
from tasks.nmap import TOOL, command, degrade, powers_of
from tasks.nmap_call import EVERY_PORT, progress
from tasks.nmap_options import INTENSITY, NmapOptions, configure
from tasks.tool import Output, Pace, Powers

FIXTURES = Path(__file__).parent.parent / "fixtures" / "nmap"
PACE = Pace(3, 3600, "top:100")


def _recorded(name: str) -> str:
    return (FIXTURES / name / "stdout").read_text()


def _hosts(*addresses: str) -> list[Record]:
    return [Host(address) for address in addresses]


def _value(argv: tuple[str, ...], flag: str) -> str | None:
    return argv[argv.index(flag) + 1] if flag in argv else None


def test_a_higher_intensity_is_never_slower() -> None:
    paced = [configure({}, Pace(intensity, 3600, "all")) for intensity in range(6)]
    for slower, faster in pairwise(paced):
        assert slower.max_rate < faster.max_rate
        assert slower.timing <= faster.timing
        assert slower.version_intensity <= faster.version_intensity


def test_what_the_policy_says_wins() -> None:
    said = {"max_rate": 77, "ports": "22,80", "technique": "connect", "host_timeout": 60}
    options = configure(said, PACE)
    assert (options.max_rate, options.ports, options.technique, options.host_timeout) == (
        77,
        "22,80",
        "connect",
        60,
    )
    assert options.version_intensity == INTENSITY[3].version_intensity


@pytest.mark.parametrize("unit_timeout", [10, 11, 30, 60, 3600, 86400])
@pytest.mark.parametrize("said", [{}, {"host_timeout": 86400}])
def test_a_host_is_given_up_before_the_unit_is(unit_timeout: int, said: dict[str, Any]) -> None:
    options = configure(said, Pace(3, unit_timeout, "all"))
    assert 1 <= options.host_timeout < unit_timeout
    for batch in (_hosts("192.0.2.1"), _hosts(*(f"192.0.2.{n}" for n in range(1, 65)))):
        timeout = _value(command(batch, options).argv, "--host-timeout")
        assert timeout
        assert int(timeout.removesuffix("s")) < unit_timeout


@pytest.mark.parametrize(
    "said",
    [
        {"max_rate": 0},
        {"max_rate": 10**9},
        {"timing": 0},
        {"timing": 6},
        {"version_intensity": 10},
        {"max_retries": -1},
        {"host_timeout": 0},
        {"technique": "idle"},
        {"ports": "U:53"},
        {"ports": "80\n"},
        {"ports": "0"},
        {"ports": "65536"},
        {"ports": "90-80"},
        {"ports": "top:65536"},
        {"ports": "-oX"},
        {"ports": ""},
        {"script": "vuln"},
        {"scripts": ["vuln"]},
        {"scripts": ["snmp-sysdescr"]},
        {"scripts": ["../../evil.nse"]},
        {"scripts": ["safe,brute"]},
        {"scripts": "all"},
    ],
)
def test_what_is_out_of_bounds_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        configure(said, PACE)


@pytest.mark.parametrize("name", PRESETS)
def test_the_shipped_policies_fit(name: str) -> None:
    policy = PRESETS[name]
    options = configure(policy.modules.get("nmap", {}), Pace(policy.intensity, policy.unit_timeout, policy.ports))
    assert options.ports == policy.ports


def test_without_raw_sockets_it_connects_and_says_so() -> None:
    options = configure({}, PACE)
    lesser, degradation = degrade(options, Powers(raw_sockets=False, reason="not permitted"))
    assert lesser == options.model_copy(update={"technique": "connect", "os_guess": False})
    assert str(degradation) == "connect scan and no OS guess instead of SYN scan and OS guess: not permitted"


def test_a_guess_that_nobody_wanted_is_not_missed() -> None:
    _, degradation = degrade(configure({"os_guess": False}, PACE), Powers(raw_sockets=False, reason="not permitted"))
    assert str(degradation) == "connect scan instead of SYN scan: not permitted"


def test_nothing_is_given_up_without_need() -> None:
    syn, connect = configure({}, PACE), configure({"technique": "connect"}, PACE)
    assert degrade(syn, Powers(raw_sockets=True)) == (syn, None)
    assert degrade(connect, Powers(raw_sockets=False)) == (connect, None)


def test_hosts_are_asked_for_ports_and_not_for_versions() -> None:
    made = command(_hosts("192.0.2.1", "192.0.2.2"), configure({}, PACE))
    assert {"-Pn", "-sS", "--privileged"} <= set(made.argv)
    assert "-sV" not in made.argv
    assert made.files == {"targets": "192.0.2.1\n192.0.2.2\n"}


def test_services_are_asked_for_versions_on_the_ports_that_were_found() -> None:
    batch = [Service("192.0.2.1", 443), Service("192.0.2.2", 22), Service("192.0.2.1", 22)]
    made = command(batch, configure({"version_intensity": 4, "os_guess": False}, PACE))
    assert {"-Pn", "-sV"} <= set(made.argv)
    assert "-O" not in made.argv
    assert _value(made.argv, "-p") == "22,443"
    assert _value(made.argv, "--version-intensity") == "4"
    assert made.files == {"targets": "192.0.2.1\n192.0.2.2\n"}


def test_a_guess_is_asked_with_versions_and_has_a_closed_port_to_go_by() -> None:
    argv = command([Service("192.0.2.1", 22)], configure({}, PACE)).argv
    assert {"-O", "--osscan-limit", "-sS", "--privileged"} <= set(argv)
    assert _value(argv, "--max-os-tries") == "1"
    assert _value(argv, "-p") == "1,22"
    assert "-O" not in command(_hosts("192.0.2.1"), configure({}, PACE)).argv


@pytest.mark.parametrize(
    ("address", "said", "intensity"),
    [("127.0.0.1", {}, 3), ("192.0.2.1", {"technique": "connect"}, 3), ("192.0.2.1", {}, 1), ("192.0.2.1", {}, 0)],
)
def test_there_is_no_guess_where_it_is_not_to_be_had_or_not_gentle(
    address: str, said: dict[str, Any], intensity: int
) -> None:
    argv = command([Service(address, 22)], configure(said, Pace(intensity, 3600, "all"))).argv
    assert "-O" not in argv
    assert _value(argv, "-p") == "22"


def test_udp_services_are_for_the_other_module() -> None:
    assert TOOL.intake_of(Service("192.0.2.1", 53, "udp")) is None


@pytest.mark.parametrize(
    ("ports", "flag", "value"),
    [("all", "-p", "1-65535"), ("top:250", "--top-ports", "250"), ("22,8000-8100", "-p", "22,8000-8100")],
)
def test_ports_are_the_policys(ports: str, flag: str, value: str) -> None:
    assert _value(command(_hosts("192.0.2.1"), configure({"ports": ports}, PACE)).argv, flag) == value


@pytest.mark.parametrize(
    ("six", "four"),
    [
        (Host("2001:db8::1"), Host("192.0.2.1")),
        (Service("2001:db8::1", 22), Service("192.0.2.1", 22)),
    ],
)
def test_ipv6_is_a_call_of_its_own(six: Record, four: Record) -> None:
    intake = TOOL.intake_of(six)
    assert intake
    assert intake.lane(six) != intake.lane(four)
    assert "-6" in command([six], configure({}, PACE)).argv
    assert "-6" not in command([four], configure({}, PACE)).argv


def test_services_of_one_address_travel_together() -> None:
    intake = TOOL.intake_of(Service("192.0.2.1", 22))
    assert intake
    assert intake.key(Service("192.0.2.1", 22)) == intake.key(Service("192.0.2.1", 80))
    assert intake.key(Service("192.0.2.1", 22)) != intake.key(Service("192.0.2.2", 22))


def test_the_ports_that_a_scan_opened_itself_are_left_out_on_loopback_only() -> None:
    options = configure({}, Pace(3, 3600, "all", own_ports=(4711, 4712)))
    assert _value(command([Host("127.0.0.1")], options).argv, "--exclude-ports") == "4711,4712"
    assert "--exclude-ports" not in command([Host("192.0.2.1")], options).argv
    assert "--exclude-ports" not in command([Host("127.0.0.1")], configure({}, Pace(3, 3600, "all"))).argv


@pytest.mark.parametrize("target", ["127.0.0.1", "127.255.3.4", "::1"])
def test_loopback_is_not_held_back(target: str) -> None:
    argv = command(_hosts(target), configure({}, PACE)).argv
    assert not {"--max-rate", "--min-rate"} & set(argv)


def test_one_address_elsewhere_holds_the_batch_back() -> None:
    argv = command(_hosts("127.0.0.1", "192.0.2.1"), configure({"max_rate": 50}, PACE)).argv
    assert _value(argv, "--max-rate") == "50"


def test_connecting_is_asked_for_without_privileges() -> None:
    argv = command(_hosts("192.0.2.1"), configure({"technique": "connect"}, PACE)).argv
    assert {"-sT", "--unprivileged"} <= set(argv)
    assert not {"-sS", "--privileged"} & set(argv)


def test_nothing_that_hides_closed_hosts() -> None:
    assert "--open" not in command(_hosts("192.0.2.1"), configure({}, PACE)).argv


@pytest.mark.parametrize(
    "record", [DomainName("example.test"), Host("example.test"), Host("-oX"), Network("192.0.2.0/26")]
)
def test_what_is_no_address_is_refused(record: Record) -> None:
    with pytest.raises(InvalidTarget):
        command([record], configure({}, PACE))


def _plan(hosts: int, said: dict[str, Any], pace: Pace) -> dict[str, float]:
    batch = _hosts(*(f"198.18.{n // 250}.{n % 250 + 1}" for n in range(hosts)))
    argv = command(batch, configure(said, pace)).argv
    values = {flag: float((_value(argv, flag) or "0").removesuffix("s")) for flag in argv if flag.startswith("--m")}
    return {**values, "timeout": float((_value(argv, "--host-timeout") or "0s")[:-1])}


@pytest.mark.parametrize("hosts", [1, 2, 16, 17, 64])
@pytest.mark.parametrize("intensity", [3, 4, 5])
@pytest.mark.parametrize("ports", ["top:100", "top:1000", "all"])
def test_silent_hosts_are_through_in_time(hosts: int, intensity: int, ports: str) -> None:
    plan = _plan(hosts, {}, Pace(intensity, 3600, ports))
    count = {"top:100": 100, "top:1000": 1000, "all": EVERY_PORT}[ports]
    group = plan["--max-hostgroup"]
    asked_twice = 2 * group * count / plan["--min-rate"]
    assert asked_twice < 0.9 * plan["timeout"]
    assert ceil(hosts / group) * plan["timeout"] < 3600
    assert plan["--min-rate"] <= plan["--max-rate"]


def test_ports_held_at_once_are_bounded() -> None:
    assert _plan(64, {}, Pace(5, 3600, "all"))["--max-hostgroup"] == 16
    assert _plan(64, {}, Pace(5, 3600, "top:1000"))["--max-hostgroup"] == 64


def test_a_rate_too_low_for_all_sweeps_fewer_at_once() -> None:
    plan = _plan(64, {"max_rate": 300}, Pace(2, 3600, "all"))
    assert 1 <= plan["--max-hostgroup"] < 16
    assert 2 * plan["--max-hostgroup"] * EVERY_PORT / 300 < plan["timeout"] < 3600


def test_what_cannot_be_done_in_time_is_still_begun() -> None:
    plan = _plan(64, {"max_rate": 1}, Pace(0, 10, "all"))
    assert (plan["--max-hostgroup"], plan["--min-rate"]) == (1, 1)
    assert 1 <= plan["timeout"] < 10


def test_the_last_word_counts() -> None:
    whole = _recorded("mac_and_skipped")
    assert progress(whole) == pytest.approx(95 + 5 * 0.9845)


def test_it_does_not_fall_while_nmap_goes_from_task_to_task() -> None:
    told = [value for line in _recorded("mac_and_skipped").splitlines() if (value := progress(line)) is not None]
    assert len(told) > 10
    assert told == sorted(told)


def test_tasks_follow_one_another() -> None:
    tasks = ("ARP Ping Scan", "SYN Stealth Scan", "Service scan", "NSE")
    ends = [[progress(f'<taskprogress task="{task}" time="1" percent="{at}"/>') for at in (0, 100)] for task in tasks]
    assert [end[1] for end in ends[:-1]] == [end[0] for end in ends[1:]]
    assert (ends[0][0], ends[-1][1]) == (0, 100)


def test_connect_and_syn_scans_count_alike() -> None:
    text = '<taskprogress task="{}" time="1" percent="50.00" remaining="9" etc="2"/>'
    assert progress(text.format("Connect Scan")) == progress(text.format("SYN Stealth Scan")) == 35


@pytest.mark.parametrize("text", ["", "<taskprogress task=", 'percent="50"', "<host>"])
def test_silence_says_nothing(text: str) -> None:
    assert progress(text) is None


def test_more_than_all_is_all() -> None:
    assert progress('<taskprogress task="NSE" time="1" percent="999.9"/>') == 100


def test_a_claim_is_no_proof() -> None:
    """With --privileged nmap writes scaninfo type="syn" although the kernel refused the socket."""
    text = _recorded("not_privileged")
    assert 'scaninfo type="syn"' in text
    powers = powers_of(Output(text, "", 1))
    assert not powers.raw_sockets
    assert "Operation not permitted" in powers.reason


def test_a_reply_is() -> None:
    assert powers_of(Output(_recorded("closed_only"))) == Powers(raw_sockets=True)


def test_a_connect_scan_is_not_what_was_asked() -> None:
    assert not powers_of(Output(_recorded("sweep_connect"))).raw_sockets


@pytest.mark.parametrize("stdout", ["", "nonsense"])
def test_no_answer_is_a_no(stdout: str) -> None:
    assert powers_of(Output(stdout, "requires root privileges.", 1)) == Powers(False, "requires root privileges.")


def test_defaults_are_a_policys_in_the_middle() -> None:
    assert NmapOptions().host_timeout == configure({}, Pace(3, 3600, "all")).host_timeout


def test_a_sample_of_a_tarpit_is_not_asked_what_it_is() -> None:
    assert TOOL.intake_of(Service("127.0.0.1", 22)) is not None
    assert TOOL.intake_of(Service("127.0.0.1", 22, detail=SAMPLE)) is None
