"""The README says what the code does, or one of these fails."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from api.app import create_app
from deployments.command import app as command
from footprint.budget import INTENSITIES
from footprint.doctor import CHECKS
from footprint.policy import DEFAULT_POLICY, PRESETS
from footprint.settings import Settings
from tasks.catalogue import catalogue
from tasks.tool import Pace, Tool

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
INNER_SETTINGS = {"own_ports"}
"""Those that one part of Pulsar sets for another."""


def _row(tool: Tool) -> str:
    needs = f"{tool.binary.name} {'.'.join(map(str, tool.binary.minimum))}" if tool.binary else ""
    policies = ", ".join(name for name, policy in PRESETS.items() if tool.name in policy.modules)
    cells = (f"`{tool.name}`", tool.summary, tool.risk.value, needs, policies)
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def test_the_table_of_modules_is_the_catalogue() -> None:
    table = README.split("<!-- modules:")[1].split("-->", 1)[1].split("<!-- /modules -->")[0].strip().splitlines()
    assert table[2:] == [_row(tool) for tool in catalogue().values()]


@pytest.mark.parametrize("name", sorted(set(Settings.model_fields) - INNER_SETTINGS))
def test_every_setting_is_explained(name: str) -> None:
    assert f"`PULSAR_{name.upper()}`" in README


def test_no_setting_is_explained_that_does_not_exist() -> None:
    named = {name.lower() for name in re.findall(r"`PULSAR_([A-Z_]+)`", README)}
    assert named <= set(Settings.model_fields)


def test_every_policy_is_explained_with_its_intensity() -> None:
    for policy in PRESETS.values():
        row = next(line for line in README.splitlines() if line.startswith(f"| `{policy.name}`"))
        assert f"| {policy.intensity} |" in row
        assert ("(default)" in row) == (policy.name == DEFAULT_POLICY)


def _intensity(number: int) -> str:
    packets, connections = INTENSITIES[number]
    nmap, http, dns, tls = (
        catalogue()[name].configure({}, Pace(number, 3600, "all")) for name in ("nmap", "http_probe", "dns", "tls")
    )
    assert nmap.max_rate == packets
    told = (f"{packets:,}", connections, f"-T{nmap.timing}, {nmap.max_retries}", http.rate, dns.rate, tls.checks)
    return f"| {number} | {' | '.join(f'{one:g}' if isinstance(one, float) else str(one) for one in told)} |"


def test_the_table_of_intensities_is_what_modules_make_of_them() -> None:
    table = README.split("<!-- intensities:")[1].split("-->", 1)[1].split("<!-- /intensities -->")[0]
    assert table.strip().splitlines()[2:] == [_intensity(number) for number in range(len(INTENSITIES))]


def test_every_verb_is_explained() -> None:
    verbs = set(typer.main.get_command(command).commands)  # type: ignore[attr-defined]
    assert {"up", "scan", "cancel", "explain", "doctor", "feeds"} <= verbs
    rows = "".join(line for line in README.splitlines() if line.startswith("| `pulsar "))
    assert not [verb for verb in verbs if not re.search(rf"`(pulsar )?{verb}\b", rows)]


def test_every_row_of_the_troubleshooting_table_is_a_line_of_the_doctor() -> None:
    table = README.split("<!-- troubleshooting:")[1].split("-->", 1)[1].split("<!-- /troubleshooting -->")[0]
    assert table.strip().splitlines()[2:] == [
        f"| {check.symptom} | `{name}` | {check.remedy} |" for name, check in CHECKS.items()
    ]


def test_every_noun_of_the_api_is_explained() -> None:
    paths = create_app(Settings()).openapi()["paths"]
    nouns = {path.split("/")[2] for path in paths}
    assert len(nouns) >= 5
    assert all(f"/api/{noun}/" in README for noun in nouns)


def test_documents_name_no_path_of_one_machine() -> None:
    for document in ROOT.glob("*.md"):
        assert not re.search(r"(?<![\w/.])/(home|root|work|tmp)/", document.read_text()), document.name
