"""The module `extension`, carried out with real scripts in the real sandbox: each is held, and the others go on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Timer
from uuid import uuid4

import pytest

from footprint.area import Area
from footprint.errors import NotAuthorized, PlatformError, SandboxMissing
from footprint.extensions import Extension, add
from footprint.manifest import Manifest
from footprint.policy import PRESETS, ScanPolicy
from footprint.records import Coverage, DomainName, Finding, Host, Network, Outcome, Record, Service
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.store import migrate, open_store
from footprint.store.units import Settlement, Unit
from footprint.verdict import UnitStatus
from tasks import extension, inspection, sandbox
from tasks.extension import GIVEN_UP, TOOL, check
from tasks.tool import Asking, Pace
from tasks.unit import Circumstances, carry_out
from tests.processes import marked, wait_until_gone
from tests.seen import seen_by_a_scan
from tests.tasks.held import require_sandbox

HERE = Host("127.0.0.1", name="www.example.test")
WEB = Service("127.0.0.1", 80, name="http")
LOOPBACK = Scope.for_target(Network("127.0.0.0/8"), allow=("127.0.0.0/8",), max_addresses=1 << 24)  # type: ignore[arg-type]

HANGS = "trap '' TERM; while :; do sleep 60; done"
HOSTILE = """
(setsid sh -c "trap '' TERM; sleep 300" &) ; (sleep 300 &)
echo x > /usr/owned; echo x > /etc/owned; rm -rf / 2>/dev/null
cat /etc/passwd /proc/1/environ 2>/dev/null
kill -9 -1 2>/dev/null
yes '{"title": "flood"}'
"""
TELLS = """echo '{"title": "told '"$DOM_FQDN $DOM_SVCS"'", "severity": "low", "rule": "told"}'"""


@pytest.fixture
def under(tmp_path: Path) -> Iterator[Circumstances]:
    """A scan of loopback in an installation of its own; nothing of it may be left."""
    require_sandbox(tmp_path)
    work_dir, scan_id = tmp_path / "work", uuid4()
    home = Settings(home=tmp_path)
    yield Circumstances(scan_id, PRESETS["quick"], LOOPBACK, home, None, work_dir, Event(), lambda percent: None)
    assert wait_until_gone(scan_id, 3) == set()
    assert not work_dir.exists() or list(work_dir.iterdir()) == []


def _install(under: Circumstances, name: str, text: str, interpreter: str = "sh", **fields: object) -> None:
    manifest = {"name": name, "accepts": ("host",), "script": "script", "interpreter": interpreter, **fields}
    mark = f"export PULSAR_SCAN={under.scan_id}\n" if interpreter == "sh" else ""
    add(under.settings.home, Extension(Manifest.model_validate(manifest), mark + text))


def _run(under: Circumstances, *records: Record, **options: object) -> Settlement:
    policy = ScanPolicy(name="own", modules={"extension": options}, unit_timeout=3600)
    unit = Unit("extension", 1, 0, records or (HERE,))
    return carry_out(unit, under if under.policy.name == "own" else replace(under, policy=policy))


def _rules(settled: Settlement) -> set[str]:
    return {record.rule for record in settled.records if isinstance(record, Finding)}


def _notes(settled: Settlement) -> dict[str, str]:
    return {entry.subject: entry.note for entry in settled.coverage}


def _outcomes(settled: Settlement) -> dict[str, Outcome]:
    return {entry.subject: entry.outcome for entry in settled.coverage}


def test_each_is_run_once_for_each_record_that_it_accepts(under: Circumstances) -> None:
    _install(under, "hosts", TELLS)
    _install(under, "web", "echo found", accepts=("service",), services=("http",), description="Web")
    _install(under, "names", "cat >/dev/null", accepts=("domain",))
    settled = _run(under, HERE, WEB, Service("127.0.0.1", 22, name="ssh"))
    assert (settled.status, settled.error) == (UnitStatus.DONE, None)
    found = [(one.rule, one.subject, one.title, one.module) for one in settled.records if isinstance(one, Finding)]
    assert found == [
        ("extension/hosts/told", "127.0.0.1", "told www.example.test ", "extension"),
        ("extension/web", "127.0.0.1:80/tcp", "Web", "extension"),
    ]
    assert _outcomes(settled) == {
        "127.0.0.1": Outcome.ANSWERED, "127.0.0.1:80/tcp": Outcome.ANSWERED, "127.0.0.1:22/tcp": Outcome.SILENT
    }  # fmt: skip


def test_it_is_told_what_the_whole_scan_has_seen(under: Circumstances) -> None:
    _install(under, "any", TELLS, accepts=("service",))
    _install(under, "web", TELLS, accepts=("service",), services=("http",))
    migrate(under.settings.store_url)
    store = open_store(under.settings.store_url)
    bare = Service("127.0.0.1", 80)
    scan_id = seen_by_a_scan(store, (HERE, bare), (WEB, Service("127.0.0.1", 22, name="ssh")))
    settled = _run(replace(under, store=store, scan_id=scan_id), bare)
    store.close()
    said = {one.rule: one.title for one in settled.records if isinstance(one, Finding)}
    assert said == {f"extension/{name}/told": "told www.example.test 80/HTTP,22/SSH" for name in ("any", "web")}


def test_one_that_hangs_and_one_that_is_hostile_cost_themselves_only(under: Circumstances) -> None:
    _install(under, "a-hang", HANGS, timeout=2)
    _install(under, "b-hostile", HOSTILE, timeout=5)
    _install(under, "c-good", TELLS)
    began = time.monotonic()
    settled = _run(under)
    assert time.monotonic() - began < 25
    assert "extension/c-good/told" in _rules(settled)
    assert _rules(settled) <= {"extension/c-good/told", "extension/b-hostile"}
    assert (settled.status, settled.error_code) == (UnitStatus.PARTIAL, "tool_timed_out")
    assert "a-hang: stopped after 2 s" in _notes(settled)["127.0.0.1"]
    assert "b-hostile: " in _notes(settled)["127.0.0.1"]
    assert _outcomes(settled)["127.0.0.1"] in (Outcome.TIMED_OUT, Outcome.NOT_LOOKED_AT)
    assert "root:x" not in str(settled)


@pytest.mark.parametrize(
    ("text", "fields", "code", "said"),
    [
        (HANGS, {"timeout": 1}, "tool_timed_out", "bad: stopped after 1 s, its time limit"),
        ("echo half; echo why >&2; exit 3", {}, "tool_crashed", "bad: ended with code 3: why"),
        ("nonsense('", {"interpreter": "python3"}, "tool_crashed", "bad: ended with code 1"),
        ("", {"interpreter": "no-such-program"}, "tool_crashed", "bad: ended with code 127"),
        ("kill -9 $$", {}, "tool_killed", "bad: ended by a signal"),
        ("yes", {}, "output_too_large", "bad: wrote more than 1024 KiB"),
        ("k = [bytearray(b'x' * 90_000_000)]\nimport time\ntime.sleep(20)", {"interpreter": "python3", "memory": 32},
         "tool_killed", "bad: ended, as it used more than 32 MiB of memory"),
    ],
    ids=["hangs", "fails", "is no Python", "has no interpreter", "is killed", "floods", "hoards"],
)  # fmt: skip
def test_how_it_failed_is_said_by_its_own_error(
    under: Circumstances, text: str, fields: dict[str, object], code: str, said: str
) -> None:
    _install(under, "bad", text, **fields)  # type: ignore[arg-type]
    settled = _run(under)
    assert (settled.status, settled.error_code, settled.records) == (UnitStatus.FAILED, code, ())
    assert said in (settled.error or "")
    assert said in _notes(settled)["127.0.0.1"]
    assert _outcomes(settled)["127.0.0.1"] in (Outcome.TIMED_OUT, Outcome.NOT_LOOKED_AT)
    _install(under, "fine", "true")
    beside = _run(under)
    assert (beside.status, beside.error) == (UnitStatus.PARTIAL, None)
    assert said in _notes(beside)["127.0.0.1"]


def test_one_that_hangs_again_and_again_is_given_up_for_the_unit(under: Circumstances) -> None:
    _install(under, "hang", HANGS, timeout=1)
    _install(under, "good", "echo found")
    settled = _run(under, *(Host(f"127.0.0.{number}") for number in range(1, GIVEN_UP + 3)))
    assert len(settled.records) == GIVEN_UP + 2
    spared = [note for note in _notes(settled).values() if "it hung on those before" in note]
    assert len(spared) == 2


def test_a_policy_bounds_what_manifests_ask_for(under: Circumstances) -> None:
    _install(under, "hang", "echo here; sleep 300", timeout=3600)
    settled = _run(under, timeout=1)
    assert settled.error_code == "tool_timed_out"
    _install(under, "other", "echo found")
    assert _run(under, names=["other"]).status is UnitStatus.DONE
    absent = _run(under, names=["other", "gone"])
    assert "gone: no such extension is installed" in _notes(absent)["127.0.0.1"]


def test_a_scan_that_is_stopped_stops_its_extension(under: Circumstances) -> None:
    _install(under, "hang", HANGS, timeout=60)
    timer = Timer(0.5, under.stopped.set)
    timer.start()
    began = time.monotonic()
    settled = _run(under, HERE, Host("127.0.0.2"))
    timer.join()
    assert time.monotonic() - began < 15
    assert settled.error_code == "scan_stopped"
    assert marked(under.scan_id) == set()


def test_a_broken_extension_is_said_and_the_others_are_run(under: Circumstances) -> None:
    _install(under, "good", "echo found")
    (under.settings.home / "extensions" / "broken").mkdir()
    settled = _run(under)
    assert _rules(settled) == {"extension/good"}
    assert "broken: extension.toml is not there" in _notes(settled)["127.0.0.1"]
    assert len(TOOL.here(under.settings).accepts) == 1
    check(under.settings, None)


def test_where_none_can_be_run_the_module_says_why(under: Circumstances) -> None:
    (under.settings.home / "extensions" / "broken").mkdir(parents=True)
    with pytest.raises(PlatformError, match=r"broken: extension\.toml is not there"):
        check(under.settings, None)
    assert TOOL.here(under.settings).accepts == ()


def test_without_an_extension_it_takes_nothing_and_needs_nothing(
    under: Circumstances, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extension, "check_sandbox", lambda home, work_dir: pytest.fail("there is nothing to hold"))
    assert TOOL.here(under.settings).accepts == ()
    check(under.settings, None)
    settled = _run(under)
    assert (settled.status, _notes(settled)) == (UnitStatus.DONE, {"127.0.0.1": ""})
    states = {state.name: state for state in inspection.inspect_modules(under.settings)}
    assert (states["extension"].state, states["extension"].remedy) == ("ready", "")


def test_it_takes_the_records_that_some_extension_is_run_for(under: Circumstances) -> None:
    _install(under, "web", "true", accepts=("service",), services=("http",), ports=(80,))
    _install(under, "names", "true", accepts=("domain",))
    here = TOOL.here(under.settings)
    given = [WEB, Service("127.0.0.1", 22, name="ssh"), DomainName("a.example"), HERE]
    assert [here.intake_of(record) is not None for record in given] == [True, False, True, False]


def test_without_a_sandbox_nothing_is_run_and_the_scan_says_so(
    under: Circumstances, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _install(under, "good", "echo found")
    sandbox._try.cache_clear()
    monkeypatch.setattr(sandbox, "search_path", lambda: str(tmp_path))
    settled = _run(under)
    assert (settled.status, settled.error_code, settled.records) == (UnitStatus.SKIPPED, SandboxMissing.code, ())
    assert "apt-get install" in (settled.hint or "")
    states = {state.name: state for state in inspection.inspect_modules(under.settings)}
    assert (states["extension"].state, states["extension"].installed) == ("missing", False)


def test_options_are_bounded() -> None:
    assert TOOL.configure({}, Pace(3, 3600, "top:100")).timeout == 600
    with pytest.raises(ValueError, match="names"):
        TOOL.configure({"names": ["../evil"]}, Pace(3, 3600, "top:100"))


def test_without_an_authorisation_only_those_run_that_reach_nothing(under: Circumstances) -> None:
    nothing = replace(under, permitted=Area.of([]))
    _install(under, "offline", "echo found")
    assert _rules(_run(nothing)) == {"extension/offline"}
    _install(under, "asks", "echo found", network="scoped")
    refused = _run(nothing)
    assert (refused.status, refused.error_code, refused.records) == (UnitStatus.SKIPPED, NotAuthorized.code, ())
    assert _rules(_run(nothing, network="none")) == {"extension/offline"}


def test_one_that_was_changed_while_its_unit_began_reaches_nothing(under: Circumstances) -> None:
    judged = TOOL.here(under.settings)
    _install(under, "asks", "echo found", network="scoped")
    assert judged.probe
    asking = Asking(
        **{name: getattr(under, name) for name in ("settings", "scope", "store", "work_dir", "scan_id", "stopped")},
        resolvers=(),
        deadline=time.monotonic() + 60,
        report=under.report,
    )
    (coverage,) = judged.probe((HERE,), judged.configure({}, Pace(3, 3600, "top:100")), asking)
    assert isinstance(coverage, Coverage)
    assert "asks: not run, as it has been changed meanwhile" in coverage.note
