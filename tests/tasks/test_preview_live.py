"""What a preview says is what then happens: the same commands, and as many packets as the destination counts."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tasks.runner import search_path
from tests.estate.namespaces import Namespaces

pytestmark = pytest.mark.alone

ALIVE = ("10.87.0.10", "10.87.0.11", "10.87.0.70")
SPARED = "10.87.0.12"


def _seen(made: Namespaces) -> int:
    return sum(count for address, count in made.packets().items() if address.startswith("10.87."))


def _truth(made: Namespaces, home: Path, target: str, module: str, **asked: Any) -> tuple[dict[str, Any], int]:
    """What the preview said and the units came to, and how many packets came to the target."""
    program = "zmap" if module == "zmap" else "nmap"
    if shutil.which(program, path=search_path()) is None:
        pytest.skip(f"{program} is not installed here")
    said = {"target": target, "module": module, "options": {}, "ports": "top:100", "intensity": 3, "exclude": [SPARED]}
    before, began = _seen(made), time.monotonic()
    inside = [sys.executable, "-m", "tests.tasks.preview_inside", str(home), json.dumps(said | asked)]
    ran = made.scanner.run(inside, timeout=120)
    assert ran.returncode == 0, ran.stderr
    answer: dict[str, Any] = json.loads(ran.stdout)
    assert set(answer["status"]) == {"done"}, answer
    assert answer["ran"][: len(answer["commands"])] == answer["commands"]
    assert len(answer["ran"]) == answer["units"]
    assert time.monotonic() - began >= answer["seconds"]
    assert made.packets()[SPARED] == 0
    return answer, _seen(made) - before


def _agrees(answer: dict[str, Any], counted: int) -> None:
    """Within the span that was told, give or take a retransmission; and near to its end where most is silence."""
    assert 0.95 * answer["least"] <= counted <= 1.05 * answer["most"] + 10, (answer, counted)


@pytest.fixture
def estate(namespaces: Namespaces) -> Namespaces:
    """A few hosts in a network that is silent for the rest."""
    namespaces.add(*ALIVE, SPARED)
    return namespaces


def test_discovery_of_a_network(estate: Namespaces, tmp_path: Path) -> None:
    answer, counted = _truth(estate, tmp_path, "10.87.0.0/25", "nmap_discovery")
    assert answer["units"] == 2
    _agrees(answer, counted)
    assert 0.5 <= answer["most"] / counted <= 2


def test_a_sweep_of_a_network(estate: Namespaces, tmp_path: Path) -> None:
    answer, counted = _truth(estate, tmp_path, "10.87.0.0/25", "zmap", ports="22,80,443", options={"cooldown": 3})
    assert answer["least"] == answer["most"] == 127 * 3 * 2
    _agrees(answer, counted)


def test_the_ports_of_a_host_that_answers(estate: Namespaces, tmp_path: Path) -> None:
    answer, counted = _truth(estate, tmp_path, ALIVE[0], "nmap", ports="1-1000")
    assert (answer["least"], answer["most"]) == (1000, 2000)
    _agrees(answer, counted)
    assert 0.5 <= answer["least"] / counted <= 2


@pytest.mark.parametrize(("intensity", "tries"), [(3, 2), (4, 1)])
def test_the_ports_of_a_host_that_is_silent(estate: Namespaces, tmp_path: Path, intensity: int, tries: int) -> None:
    options = {"max_retries": tries - 1}
    said = {"ports": "1-1000", "intensity": intensity, "options": options}
    answer, counted = _truth(estate, tmp_path, "10.87.0.80", "nmap", **said)
    assert answer["most"] == 1000 * tries
    _agrees(answer, counted)
    assert 0.5 <= answer["most"] / counted <= 2
