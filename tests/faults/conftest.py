"""One platform for the whole fault suite, with a stand-in for nmap, and the same look at it after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.clock import CLOCK, PROPERTY, Clock, table
from tests.faults.ground import Ground, standing
from tests.faults.invariants import Watch


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--all-faults` runs what `make test` leaves out."""
    parser.addoption("--all-faults", action="store_true", help="run the whole fault suite")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is here, and leave out what is not short where that is not asked for."""
    here = Path(__file__).parent
    own = [item for item in items if item.path.is_relative_to(here)]
    for item in own:
        item.add_marker("faults")
    if config.getoption("--all-faults", default=False):
        return
    left_out = [item for item in own if item.get_closest_marker("short") is None]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what came of each fault, and how fast."""
    is_good = {report.nodeid for report in terminalreporter.getreports("passed")}
    # What is noted as a test is taken down is in the report of that, which has no category of its own.
    reports = [report for report in terminalreporter.getreports("") if report.nodeid in is_good]
    reports.sort(key=lambda report: report.location[:2])
    rows = [value for report in reports for name, value in report.user_properties if name == PROPERTY]
    if rows and config.getoption("--all-faults"):
        terminalreporter.section("faults: seconds from the fault, or its end where it lasts, to the end of the scan")
        terminalreporter.write_line("\n".join(table(rows)))


@pytest.fixture(autouse=True)
def clock(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Iterator[None]:
    """Take the time of what is marked as a fault."""
    vars(CLOCK).update(vars(Clock()))
    yield
    if (marked := request.node.get_closest_marker("fault")) is not None:
        case = request.node.callspec.id if hasattr(request.node, "callspec") else ""
        record_property(PROPERTY, CLOCK.row(marked.args[0].format(case)))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """The platform, started once."""
    with standing(tmp_path_factory.mktemp("faults")) as ground:
        yield ground


@pytest.fixture
def ground(shared: Ground) -> Iterator[Ground]:
    """The platform, watched while the test runs and looked over afterwards."""
    with Watch(shared.store) as watch:
        yield shared
        shared.settle()
    assert watch.seen > 0
    assert [*watch.violations, *shared.violations()] == []
