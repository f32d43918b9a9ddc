"""The whole platform, by its own command, in front of an estate of real services: what it finds, and what it leaves."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from footprint.policy import PRESETS
from footprint.text import clean
from tests.estate import addresses as at
from tests.estate.comparison import Seen
from tests.estate.estate import Estate, lacking
from tests.estate.scanning import Pulsar
from tests.estate.truth import PORTS, versions

pytestmark = pytest.mark.platform
SWEEP_SECONDS = 80


@dataclass(frozen=True, slots=True)
class Swept:
    """What a scan left: the command's exit code and output, what its store holds, and packets by address."""

    code: int
    output: str
    seen: Seen
    packets: dict[str, int]
    trespasses: dict[str, int]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swept]:
    """The estate's network, swept once."""
    if reason := lacking():
        if os.environ.get("CI") and os.geteuid() == 0:
            pytest.fail(reason)
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("estate")
    with Estate() as estate, (directory / "output").open("wb") as output:
        pulsar = Pulsar(estate, directory / "home")
        code = pulsar.scan(at.NET, "network_sweep", seconds=SWEEP_SECONDS, stdout=output, stderr=subprocess.STDOUT)
        said = Path(output.name).read_text(errors="surrogateescape")
        yield Swept(code, said, pulsar.seen(), estate.packets(), estate.trespasses())


def test_every_open_port_that_was_asked_for_is_found_and_no_other(swept: Swept) -> None:
    asked = set(map(int, PRESETS["network_sweep"].ports.split(",")))
    there = {place for place in PORTS if place.port in asked and ":" not in place.address}
    assert swept.code == 0, swept.output
    assert swept.seen.ports == there


def test_products_and_versions_are_those_that_are_installed(swept: Swept) -> None:
    there = {one for one in versions() if (one.address, one.port) in swept.seen.ports}
    sure = {(one.address, one.port) for one in there}
    assert {one for one in swept.seen.versions if (one.address, one.port) in sure} == there


def test_not_one_packet_goes_where_nothing_may_go(swept: Swept) -> None:
    assert swept.trespasses == {}


def test_a_silent_host_was_looked_at_and_has_nothing(swept: Swept) -> None:
    assert swept.packets[at.SILENT] > 0
    assert at.SILENT not in {place.address for place in swept.seen.ports}


def test_what_a_hostile_host_says_is_printed_without_what_a_terminal_obeys(swept: Swept) -> None:
    assert "onerror=alert(1)" in swept.output
    for line in swept.output.splitlines():
        assert clean(line) == line
