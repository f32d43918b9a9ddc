"""Tools as they are checked: real ones on our decoys, one whose output changed, and what follows for scans."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from uuid import uuid4

import pytest

from footprint.errors import NotFound
from footprint.policy import PRESETS
from footprint.records import Host, Network, Service, Technology, WebPage
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.store import Store, migrate, open_store
from footprint.store.checkup import look_into
from footprint.store.quarantine import Checked, Outcome, checks_of, note_check, release
from footprint.store.scans import begin, insert_scan
from footprint.store.units import Settlement, Unit, plan_unit
from footprint.verdict import UnitStatus
from tasks import tool_checks
from tasks.catalogue import catalogue, tool_named
from tasks.chores import changed, check_all_tools, tally
from tasks.inspection import inspect_modules, powers, version_of
from tasks.installation import Installation
from tasks.quarantine import machine
from tasks.run_scan import _begin
from tasks.runner import search_path
from tasks.tool_checks import TRIALS, _judge, check_tool, told
from tasks.unit import Circumstances, carry_out
from tests.footprint.test_differences import NEW

HERE = Host("127.0.0.1")
LOOPBACK = Scope.for_target(Network("127.0.0.0/8"), allow=("127.0.0.0/8",), max_addresses=1 << 24)  # type: ignore[arg-type]
CHANGED = Checked("nmap", Outcome.CHANGED, "it should say this, and says that", "7.93")


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    cached = (search_path, version_of, powers)
    for each in cached:
        each.cache_clear()
    yield
    for each in cached:
        each.cache_clear()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def opened(settings: Settings) -> Iterator[Store]:
    migrate(settings.store_url)
    store = open_store(settings.store_url)
    yield store
    store.close()


def _put(directory: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is found before the real one."""
    path = directory / "tools" / name
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PULSAR_TOOLS_PATH", str(path.parent))
    search_path.cache_clear()


@pytest.mark.parametrize("name", sorted({trial.module for trial in TRIALS}))
def test_each_tool_that_is_here_says_what_is_there(name: str, settings: Settings) -> None:
    checked = check_tool(tool_named(name), settings)
    binary = tool_named(name).binary
    if binary and shutil.which(binary.name, path=search_path()) is None:
        assert checked.outcome is Outcome.NOT_CHECKED
        pytest.skip(f"not installed: {binary.install}")
    assert (checked.outcome, checked.said) == (Outcome.GOOD, "it says what is there")
    assert bool(checked.version) == bool(binary)
    assert not list(settings.work_dir.iterdir())


def test_every_module_with_a_program_is_tried_or_said_not_to_be() -> None:
    programs = {tool.name for tool in catalogue().values() if tool.binary}
    assert programs - {trial.module for trial in TRIALS} == set(tool_checks.NOT_TRIED)


def test_a_tool_that_cannot_be_tried_is_only_started(settings: Settings) -> None:
    checked = check_tool(tool_named("zmap"), settings)
    assert checked.outcome is Outcome.NOT_CHECKED
    assert "loopback has none" in checked.said or "not installed" in checked.said


def test_a_tool_whose_words_changed_is_quarantined_until_it_is_good_again(
    settings: Settings, opened: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_checks, "catalogue", lambda: {"nmap": tool_named("nmap")})
    real = shutil.which("nmap")
    _put(tmp_path, "nmap", f'{real} "$@" | sed "s/product=\\"OpenSSH\\"/product=\\"OpenSSH server\\"/"', monkeypatch)
    found = check_all_tools(settings, opened)
    assert changed(found) == ["nmap"]
    assert tally(found) == "good: 0, changed: 1, not checked: 0"
    assert "and says service 127.0.0.1:" in found[0].said
    assert "OpenSSH server 9.2p1" in found[0].said
    states = {state.name: state for state in inspect_modules(settings, opened)}
    assert states["nmap"].state == "quarantined"
    assert "pulsar tools release nmap" in states["nmap"].remedy
    assert look_into(opened).quarantined == (f"nmap on {machine()}",)
    monkeypatch.delenv("PULSAR_TOOLS_PATH")
    search_path.cache_clear()
    version_of.cache_clear()
    assert [checked.outcome for checked in check_all_tools(settings, opened)] == [Outcome.GOOD]
    assert look_into(opened).quarantined == ()


def test_output_that_cannot_be_read_is_a_change_and_a_crash_is_none(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(tmp_path, "nmap", 'case "$*" in *version*) echo Nmap version 7.93;; *) echo "{}";; esac', monkeypatch)
    assert check_tool(tool_named("nmap"), settings).outcome is Outcome.CHANGED
    (tmp_path / "tools" / "nmap").write_text(
        '#!/bin/sh\ncase "$*" in *version*) echo Nmap version 7.93;; *) kill -9 $$;; esac\n'
    )
    crashed = check_tool(tool_named("nmap"), settings)
    assert crashed.outcome is Outcome.NOT_CHECKED
    assert "ended by a signal" in crashed.said


def test_where_loopback_is_excluded_nothing_is_sent_and_nothing_judged(tmp_path: Path) -> None:
    kept_out = Settings(home=tmp_path, scope_exclude=("127.0.0.0/8",))
    assert check_tool(tool_named("http_probe"), kept_out).outcome is Outcome.NOT_CHECKED


def test_a_unit_of_a_quarantined_tool_is_skipped_and_says_why(opened: Store, settings: Settings) -> None:
    with opened.write() as session:
        note_check(session, machine(), CHANGED)
        note_check(session, "elsewhere", Checked("tls", Outcome.CHANGED, ""))
        scan = begin(session, insert_scan(session, NEW)[0].id, uuid4())
        for module in ("nmap", "tls"):
            plan_unit(session, scan.id, scan.attempt, Unit(module, 1, 0, (HERE,)))
    here = Installation(settings, opened)
    with opened.write() as session:
        assert _begin(session, here, scan, "tls", 1)[3] is None
        *_, quarantine = _begin(session, here, scan, "nmap", 1)
    under = Circumstances(
        scan.id, PRESETS["quick"], LOOPBACK, settings, None, settings.work_dir, Event(), print, quarantine=quarantine
    )
    settled = carry_out(Unit("nmap", 1, 0, (HERE,)), under)
    assert (settled.status, settled.error_code) == (UnitStatus.SKIPPED, "tool_quarantined")
    assert settled.error == "nmap: quarantined on this machine: it should say this, and says that"
    assert "pulsar tools release nmap" in (settled.hint or "")


def test_a_release_lets_it_be_run_again_and_the_next_check_judges_anew(store: Store) -> None:
    with store.write() as session:
        note_check(session, "here", CHANGED)
        # That it could not be tried says nothing for it.
        note_check(session, "here", Checked("nmap", Outcome.NOT_CHECKED, "it timed out"))
        (held,) = checks_of(session, "here")
        assert (held.said, held.quarantined_at is not None) == (CHANGED.said, True)
        release(session, "here", "nmap")
        assert checks_of(session, "here")[0].quarantined_at is None
        with pytest.raises(NotFound, match="not quarantined"):
            release(session, "here", "nmap")
        note_check(session, "here", CHANGED)
        assert checks_of(session, "elsewhere") == ()
        assert checks_of(session)[0].quarantined_at is not None


def test_what_is_missing_is_told_beside_what_was_said() -> None:
    trial = next(trial for trial in TRIALS if trial.module == "whatweb")
    settled = Settlement(UnitStatus.DONE, records=(Technology("127.0.0.1:8/tcp", "nginx", "1.22.2"),))
    assert _judge(trial, settled, 8) == (
        Outcome.CHANGED,
        "it should say technology WordPress 6.1.1; technology nginx 1.22.1, and says technology nginx 1.22.2",
    )
    assert list(told(WebPage("127.0.0.1:8/tcp", "http://127.0.0.1:8/", 200, "x"))) == ["page http://127.0.0.1:8/ 200 x"]
    assert list(told(Service("127.0.0.1", 8))) == ["service 127.0.0.1:8/tcp None None None"]
