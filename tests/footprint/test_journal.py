"""A scan's log: in order, each line with its module and batch, an error with its tool's last words, nothing twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from footprint.journal import Level, Said, UnitTold, from_units, name_of_task, names_told, unnamed, weave
from footprint.verdict import UnitStatus

BEGIN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = BEGIN + timedelta(hours=1)
NMAP, TLS = uuid4(), uuid4()


def said(second: float, message: str, task: UUID | None = None, level: int = 20) -> Said:
    return Said(uuid4(), BEGIN + timedelta(seconds=second), level, message, task)


def unit(module: str = "nmap", batch: int = 1, **more: Any) -> UnitTold:
    told = {
        "status": UnitStatus.FAILED,
        "targets": 2,
        "records": 0,
        "error": "nmap: it crashed",
        "hint": "look at its log",
        "stderr": "first words\n\nlast words",
        "started_at": BEGIN + timedelta(seconds=1),
        "finished_at": BEGIN + timedelta(seconds=9),
    }
    return UnitTold(module, batch, **(told | more))


def test_lines_are_in_order_with_the_module_and_batch_they_tell_of_themselves() -> None:
    lines = [
        said(3, "exec nmap", NMAP),
        said(1, "nmap batch 12 began: 3 targets", NMAP),
        said(0, "scan began"),
        said(4, "without a name", TLS),
    ]
    assert unnamed(lines) == [TLS]
    entries = weave(lines, names_told(lines) | {TLS: ("tls", 2)}, [], LATER)
    assert [(entry.message, entry.module, entry.batch) for entry in entries] == [
        ("scan began", None, None),
        ("nmap batch 12 began: 3 targets", "nmap", 12),
        ("exec nmap", "nmap", 12),
        ("without a name", "tls", 2),
    ]
    assert {entry.source for entry in entries} == {"prefect"}


def test_an_error_has_its_tools_last_words_once_and_on_its_line() -> None:
    lines = [
        said(1, "nmap batch 1 began: 2 targets", NMAP),
        said(2, "nmap: connects instead of SYN", NMAP, 30),
        said(9, "nmap batch 1 ended failed, 0 records: nmap: it crashed", NMAP, 30),
    ]
    entries = weave(lines, names_told(lines), [unit()], LATER)
    assert [entry.stderr for entry in entries] == [(), (), ("first words", "last words")]


def test_an_error_that_no_line_tells_is_told_by_its_unit_once_its_line_can_come_no_more() -> None:
    lines = [said(1, "nmap batch 1 began: 2 targets", NMAP), said(20, "scan ended")]
    soon = BEGIN + timedelta(seconds=20)
    assert len(weave(lines, names_told(lines), [unit()], soon)) == 2
    entries = weave(lines, names_told(lines), [unit(), unit("dns", error=None, status=UnitStatus.DONE)], LATER)
    assert [entry.source for entry in entries] == ["prefect", "store", "prefect"]
    assert entries[1].message == "nmap batch 1 ended failed, 0 records: nmap: it crashed (look at its log)"
    assert entries[1].stderr == ("first words", "last words")


def test_without_the_runs_lines_the_units_tell_their_own() -> None:
    running = unit("dns", finished_at=None, status=UnitStatus.RUNNING, error=None, stderr=None)
    planned = unit("tls", started_at=None, finished_at=None, status=UnitStatus.PLANNED)
    entries = from_units([unit(), running, planned])
    assert [(entry.message.partition(":")[0], entry.level) for entry in entries] == [
        ("nmap batch 1 began", Level.INFO),
        ("dns batch 1 began", Level.INFO),
        ("nmap batch 1 ended failed, 0 records", Level.WARNING),
    ]
    assert len({entry.id for entry in entries}) == 3


def test_nothing_in_a_line_moves_a_terminal_and_nothing_is_endless() -> None:
    lines = [said(1, "\x1b[2Jnmap batch 1 \u202eended\n" + "x" * 10_000)]
    (entry,) = weave(lines, {}, [], LATER)
    assert entry.message.startswith("[2Jnmap batch 1 ended x")
    assert len(entry.message) <= 4096
    loud = unit(stderr="\x1b]0;title\x07 words\n" * 500 + "y" * 10_000)
    words = from_units([loud])[-1].stderr
    assert len(words) == 40
    assert words[0] == "]0;title words"
    assert len(words[-1]) == 500


def test_a_line_that_only_quotes_a_unit_names_none() -> None:
    assert names_told([said(1, "tls: nmap batch 1 began", TLS), said(2, "nmap batch 1 began: 1 targets")]) == {}
    assert name_of_task("web_text batch 3") == ("web_text", 3)
    assert name_of_task("web text batch 3") is None


@pytest.mark.parametrize(
    ("number", "level"), [(10, "debug"), (20, "info"), (25, "info"), (50, "critical"), (0, "debug")]
)
def test_levels_are_pythons(number: int, level: str) -> None:
    assert Level.of(number) == level
