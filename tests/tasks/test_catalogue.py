"""What every module keeps to, asked of each one that the catalogue finds.

A module with a foreign program has recorded cases, `tests/fixtures/<module>/<case>/`: `stdout`, what the program
wrote, and `case.json`:

    options, pace, batch    what the module was asked (records as the store packs them, defaults left out)
    argv, files             the command it is to build of that
    ending, returncode, stderr
                            how the program ended
    kept                    what it left in the files that the command keeps
    expect | raises         records and coverage in order, or the code of the error
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel

import tasks
from footprint.errors import NotFound, PulsarError
from footprint.records import Coverage, DomainName, Endpoint, Host, Network, Outcome, Record, Service, subject_of
from footprint.store.packing import pack, unpack
from tasks.catalogue import catalogue, tool_named
from tasks.tool import Command, Ending, Output, Pace, Tool

FIXTURES = Path(__file__).parent.parent / "fixtures"
TOOLS = list(catalogue().values())
PROGRAMS = [tool for tool in TOOLS if tool.probe is None]
HOSTILE = (
    "-oX/tmp/x",
    "--script=evil",
    "-iR 100",
    "127.0.0.1 -oN x",
    "@targets",
    "$(id)",
    "a;id",
    "a\nb",
    "127.0.0.1\x00",
)


@dataclass(frozen=True)
class Case:
    """One recorded run of a module's program."""

    tool: Tool
    name: str
    said: dict[str, Any]
    stdout: str

    @property
    def batch(self) -> list[Record]:
        return [unpack(packed) for packed in self.said["batch"]]

    @property
    def command(self) -> Command:
        assert self.tool.command is not None
        options = self.tool.configure(self.said["options"], Pace(**self.said["pace"]))
        return self.tool.command(self.batch, options)

    @property
    def output(self) -> Output:
        ending = Ending(self.said.get("ending", "exited"))
        stderr, kept = self.said.get("stderr", ""), self.said.get("kept", {})
        return Output(self.stdout, stderr, self.said.get("returncode", 0), ending, files=kept)

    def found(self) -> list[Record | Coverage]:
        assert self.tool.parse is not None
        return list(self.tool.parse(self.output, self.batch))

    @property
    def is_good(self) -> bool:
        """True where the program ended well and a target answered."""
        outcomes = {entry.get("outcome") for entry in self.said.get("expect", [])}
        return "answered" in outcomes and self.output.is_complete

    @property
    def is_broken(self) -> bool:
        """True where the program failed, was cut off, or left a target unanswered without a verdict of the target."""
        outcomes = {entry.get("outcome") for entry in self.said.get("expect", [])}
        return "raises" in self.said or bool(outcomes & {"timed_out", "not_looked_at"})


@cache
def cases_of(name: str) -> list[Case]:
    """The recorded cases of a module."""
    return [
        Case(tool_named(name), folder.name, json.loads((folder / "case.json").read_text()), _text(folder / "stdout"))
        for folder in sorted((FIXTURES / name).glob("*"))
        if folder.is_dir()
    ]


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")


def _expected(entry: dict[str, Any]) -> dict[str, Any]:
    if "coverage" in entry:
        return _shown(Coverage(entry["coverage"], Outcome(entry["outcome"]), entry.get("note", "")))
    return _shown(unpack(entry))


def _shown(found: Record | Coverage) -> dict[str, Any]:
    """Every field, also those that equality leaves out."""
    if isinstance(found, Coverage):
        return {"coverage": found.subject, "outcome": found.outcome, "note": found.note}
    return pack(found)


CASES = [case for tool in PROGRAMS for case in cases_of(tool.name)]
every_tool = pytest.mark.parametrize("tool", TOOLS, ids=[tool.name for tool in TOOLS])
every_program = pytest.mark.parametrize("tool", PROGRAMS, ids=[tool.name for tool in PROGRAMS])


def _each(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[f"{case.tool.name}-{case.name}" for case in cases])


every_case = _each(CASES)
every_answer = _each([case for case in CASES if "raises" not in case.said])
every_failure = _each([case for case in CASES if "raises" in case.said])


def test_modules_are_found_by_walking_the_package() -> None:
    assert {"dns", "nmap"} <= set(catalogue())
    assert "tool" not in catalogue()
    assert list(catalogue()) == sorted(catalogue())


def test_a_module_is_found_by_its_name() -> None:
    assert tool_named("nmap") is catalogue()["nmap"]
    with pytest.raises(NotFound) as error:
        tool_named("nmap.py;id")
    assert "id" not in error.value.detail
    assert "nmap" in error.value.hint


def _with_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


COPY = "from dataclasses import replace\nfrom tasks.nmap import TOOL as ONE\nTOOL = replace(ONE, name='{}')\n"


def test_a_new_module_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_file(tmp_path, monkeypatch, "a_new_one", COPY.format("a_new_one"))
    assert catalogue.__wrapped__()["a_new_one"].name == "a_new_one"


def test_a_module_by_another_name_than_its_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_file(tmp_path, monkeypatch, "misnamed", COPY.format("something_else"))
    with pytest.raises(ValueError, match="misnamed"):
        catalogue.__wrapped__()


@every_tool
def test_it_says_what_it_is(tool: Tool) -> None:
    assert sys.modules[f"tasks.{tool.name}"].TOOL is tool
    assert tool.summary.endswith(".")
    assert tool.accepts
    assert tool.produces
    if tool.probe is None:
        assert tool.command
        assert tool.parse
        assert tool.binary


@every_tool
def test_every_option_is_explained_and_bounded(tool: Tool) -> None:
    assert issubclass(tool.options, BaseModel)
    assert tool.options.model_config.get("extra") == "forbid"
    for name, field in tool.options.model_fields.items():
        assert field.description, name
        if field.annotation in (int, float):
            assert any(isinstance(bound, Ge | Gt) for bound in field.metadata), f"{name} has no lower bound"
            assert any(isinstance(bound, Le | Lt) for bound in field.metadata), f"{name} has no upper bound"
        if field.annotation is str:
            assert any(hasattr(bound, "max_length") for bound in field.metadata), f"{name} has no length"


@every_tool
@pytest.mark.parametrize("intensity", range(6))
def test_every_intensity_gives_options(tool: Tool, intensity: int) -> None:
    assert isinstance(tool.configure({}, Pace(intensity, 3600, "top:100")), tool.options)


@every_program
def test_it_has_a_good_and_a_broken_case(tool: Tool) -> None:
    assert any(case.is_good for case in cases_of(tool.name))
    assert any(case.is_broken for case in cases_of(tool.name))


@every_case
def test_the_command_is_the_recorded_one(case: Case) -> None:
    assert case.command.argv == tuple(case.said["argv"])
    assert case.command.files == case.said["files"]


@every_case
def test_targets_travel_in_files_only(case: Case) -> None:
    command = case.command
    for record in case.batch:
        target = record.address if isinstance(record, Service | Endpoint) else subject_of(record)
        assert not [word for word in command.argv if target in word]
        assert any(target in text for text in command.files.values())


@every_failure
def test_an_output_that_cannot_be_read_is_an_error(case: Case) -> None:
    with pytest.raises(PulsarError) as error:
        case.found()
    assert error.value.code == case.said["raises"]


@every_answer
def test_the_output_says_what_was_recorded_of_it(case: Case) -> None:
    assert [_shown(found) for found in case.found()] == [_expected(entry) for entry in case.said["expect"]]


@every_answer
def test_it_yields_what_it_declares_and_one_coverage_a_target(case: Case) -> None:
    found = case.found()
    assert {type(record) for record in found if not isinstance(record, Coverage)} <= set(case.tool.produces)
    covered = [entry.subject for entry in found if isinstance(entry, Coverage)]
    assert sorted(covered) == sorted(subject_of(record) for record in case.batch)


def _hostile(kind: type, text: str) -> Record:
    made: dict[type, Record] = {
        DomainName: DomainName(text),
        Host: Host(text),
        Network: Network(text),
        Service: Service(text, 80),
        Endpoint: Endpoint(text, 80, text),
    }
    return made[kind]


def _words_about(tool: Tool, record: Record) -> tuple[str, ...]:
    """The argument list that a record leads to, or what is said where it is refused."""
    assert tool.command is not None
    try:
        return tool.command([record], tool.configure({}, Pace(3, 3600, "top:100"))).argv
    except PulsarError as refused:
        return (str(refused),)


@every_program
@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_target_is_never_an_option(tool: Tool, text: str) -> None:
    for intake in tool.accepts:
        words = _words_about(tool, _hostile(intake.record, text))
        assert words
        assert not [word for word in words if text in word]
