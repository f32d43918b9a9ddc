"""Extensions as they lie in a home: manifests read and written, folders whole or not there."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from footprint import extensions
from footprint.errors import Conflict, InvalidExtension, NotFound
from footprint.extensions import Broken, Extension, add, extension_named, installed, remove, replace
from footprint.manifest import Manifest, read_manifest, write_manifest
from footprint.records import DomainName, Host, Network, Service, Severity

LEAST = 'name = "one"\naccepts = "host"\nscript = "one.sh"\n'
WHOLE = """
name = "weak-web"
description = "Sagt \\"etwas\\" über C:\\\\ und 🦀"
accepts = ["domain", "service"]
services = ["http", "https"]
ports = [80, 8443]
script = "check.py"
interpreter = "/usr/bin/python3"
timeout = 10
memory = 64
network = "none"
severity = "high"
cvss = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"
score = 7.5
reference = "https://example.com/why"
"""


def _one(name: str = "one", text: str = "echo 1", **fields: Any) -> Extension:
    return Extension(Manifest(name=name, accepts=("host",), script=fields.pop("script", "one.sh"), **fields), text)


def test_a_manifest_needs_three_fields_and_keeps_what_it_is_told() -> None:
    least, whole = read_manifest(LEAST), read_manifest(WHOLE)
    assert (least.accepts, least.timeout, least.memory, least.network) == (("host",), 60, 128, "none")
    assert (whole.severity, whole.score, whole.ports) == (Severity.HIGH, 7.5, (80, 8443))


@pytest.mark.parametrize("text", [LEAST, WHOLE])
def test_what_is_written_reads_the_same(text: str) -> None:
    manifest = read_manifest(text)
    assert read_manifest(write_manifest(manifest)) == manifest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name =", "is not TOML"),
        ("a = " + "[" * 5000, "is not TOML"),
        ("", "name: Field required; accepts: Field required; script: Field required"),
        (LEAST.replace('"one"', '"One"'), "name: "),
        (LEAST.replace('"host"', '"hosts"'), "accepts.0: Input should be 'domain', 'host' or 'service'"),
        (LEAST.replace('"host"', "[]"), "accepts: one or more of domain, host and service"),
        (LEAST.replace('"host"', '["host", "host"]'), "none of them twice"),
        (LEAST + "ports = [80]", "which it does not accept"),
        (LEAST + "timeout = 3601", "timeout: "),
        (LEAST + "memory = 1", "memory: "),
        (LEAST + "score = nan", "score: "),
        (LEAST + 'severity = "bad"', "severity: "),
        (LEAST + 'interpreter = "../python"', "interpreter: "),
        (LEAST + 'interpreter = "/opt/python"', "its path below /usr or /bin"),
        (LEAST + 'network = "all"', "network: Input should be 'none' or 'scoped'"),
        (LEAST + "timout = 5\nport = 1", "a manifest has no field timout; a manifest has no field port"),
    ],
)
def test_every_mistake_is_a_sentence(text: str, said: str) -> None:
    with pytest.raises(InvalidExtension) as error:
        read_manifest(text)
    assert said in error.value.detail


def test_it_reaches_nothing_unless_it_says_so() -> None:
    assert not read_manifest(LEAST).is_scoped
    scoped = read_manifest(LEAST + 'network = "scoped"')
    assert scoped.is_scoped
    assert read_manifest(write_manifest(scoped)) == scoped


def test_which_records_it_is_run_for() -> None:
    web = read_manifest(WHOLE)
    taken = [DomainName("a.example"), Service("192.0.2.1", 80, name="http"), Service("192.0.2.1", 8443, name="https")]
    left = [Host("192.0.2.1"), Network("192.0.2.0/24"), Service("192.0.2.1", 80), Service("192.0.2.1", 81, name="http")]
    assert [web.takes(record) for record in (*taken, *left)] == [True] * 3 + [False] * 4
    assert read_manifest(LEAST).takes(left[0])


def test_a_home_without_extensions_has_none(tmp_path: Path) -> None:
    assert installed(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotFound):
        extension_named(tmp_path, "one")


def test_what_was_added_is_there_until_it_is_removed(tmp_path: Path) -> None:
    add(tmp_path, _one())
    add(tmp_path, _one("another", "print(1)\r\n", script="a.py"))
    assert [one.name for one in installed(tmp_path)] == ["another", "one"]
    assert extension_named(tmp_path, "another").text == "print(1)\r\n"
    with pytest.raises(Conflict):
        add(tmp_path, _one())
    remove(tmp_path, "one")
    assert [path.name for path in (tmp_path / "extensions").iterdir()] == ["another"]
    for act in (lambda: remove(tmp_path, "one"), lambda: replace(tmp_path, _one())):
        with pytest.raises(NotFound):
            act()


@pytest.mark.parametrize("name", ["..", ".", "", "../one", "/etc", "One", "a\n", "a" * 33])
def test_a_name_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    (tmp_path / "one").mkdir()
    for act in (extension_named, remove):
        with pytest.raises(NotFound):
            act(tmp_path, name)
    assert (tmp_path / "one").exists()


def test_a_change_that_fails_half_way_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(tmp_path, _one(text="old"))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for act, extension in ((add, _one("two")), (replace, _one(text="new"))):
        with pytest.raises(OSError, match="No space"):
            act(tmp_path, extension)
    assert installed(tmp_path) == [_one(text="old")]
    monkeypatch.undo()
    replace(tmp_path, _one(text="new"))
    assert {path.name for path in tmp_path.rglob("*")} == {"extensions", "one", "one.sh", "extension.toml"}


def test_who_reads_waits_for_who_writes(tmp_path: Path) -> None:
    add(tmp_path, _one())
    found: list[object] = []
    reader = threading.Thread(target=lambda: found.extend(installed(tmp_path)))
    with extensions._locked(tmp_path / "extensions", fcntl.LOCK_EX):
        reader.start()
        reader.join(0.3)
        assert reader.is_alive()
        assert found == []
    reader.join(5)
    assert found == [_one()]


def test_a_folder_that_is_no_extension_is_told_beside_those_that_are(tmp_path: Path) -> None:
    add(tmp_path, _one())
    shelf = tmp_path / "extensions"
    files = {
        "misnamed/extension.toml": LEAST.encode(),
        "without-script/extension.toml": LEAST.replace('"one"', '"without-script"').encode(),
        "binary/extension.toml": LEAST.replace('"one"', '"binary"').encode(),
        "binary/one.sh": b"\x7fELF\xff\xfe",
        "huge/extension.toml": b"#" * 70_000,
        "a-file": b"",
    }
    for name, content in files.items():
        (shelf / name).parent.mkdir(exist_ok=True)
        (shelf / name).write_bytes(content)
    (shelf / "pipe").mkdir()
    os.mkfifo(shelf / "pipe" / "extension.toml")
    said = {one.name: one.error.detail for one in installed(tmp_path) if isinstance(one, Broken)}
    assert said == {
        "misnamed": "extension.toml: the name is not that of its folder",
        "without-script": "one.sh is not there",
        "binary": "one.sh is not text in UTF-8",
        "huge": "extension.toml has more than 64 KiB",
        "a-file": "extension.toml is not there",
        "pipe": "extension.toml is not there",
    }
    assert [one.name for one in installed(tmp_path) if isinstance(one, Extension)] == ["one"]
