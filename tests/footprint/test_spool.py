"""What the spool keeps comes back as it was, or not at all."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from footprint import doctor, spool
from footprint.admission import NewScan
from footprint.doctor import Health
from footprint.home_disk import SpoolSeen
from footprint.policy import PRESETS
from footprint.records import (
    Certificate,
    Coverage,
    DnsRecord,
    DomainName,
    Endpoint,
    Finding,
    Host,
    Network,
    Outcome,
    Record,
    Service,
    Severity,
    Technology,
    WebPage,
)
from footprint.spool import Spool, Spooled
from footprint.store import Store
from footprint.store.endings import finish
from footprint.store.packing import KINDS
from footprint.store.scans import begin, insert_scan
from footprint.store.spooled import clear_spool
from footprint.store.units import Settlement, Unit
from footprint.verdict import Status, UnitStatus, Verdict

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
RECORDS: tuple[Record, ...] = (
    DomainName("www.example.test", cname="edge.example.test"),
    Host("192.0.2.1", name="www.example.test", asn=64496),
    Network("192.0.2.0/24"),
    Service("192.0.2.1", 443, product="n\u00e4me \udcff", cpes=("cpe:/a:x:y", "cpe:/a:x:z")),
    Endpoint("192.0.2.1", 443, "www.example.test"),
    DnsRecord("example.test", "MX", "10 mail.example.test"),
    Technology("192.0.2.1:443/tcp", "nginx"),
    Certificate("192.0.2.1:443/tcp", "ab" * 32),
    WebPage("192.0.2.1:443/tcp", "https://www.example.test/", redirects=("https://www.example.test/a",)),
    Finding("tls_old", "192.0.2.1:443/tcp", severity=Severity.HIGH, score=7.5, module="tls"),
)


def _spooled(batch: int = 1, **settled: object) -> Spooled:
    found = Settlement(
        UnitStatus.PARTIAL,
        records=RECORDS,
        coverage=(Coverage("192.0.2.1", Outcome.TIMED_OUT, "after 3 s"),),
        command="nmap -sV",
        error="cut \x00 off",
        **settled,  # type: ignore[arg-type]
    )
    return Spooled(Unit("nmap", batch, 2, (Host("192.0.2.1"),)), 3, found, NOON, NOON)


def _files(home: Path) -> list[Path]:
    return sorted(path for path in home.rglob("*") if path.is_file())


def test_every_kind_of_record_comes_back_as_it_was(tmp_path: Path) -> None:
    assert {type(record) for record in RECORDS} == set(KINDS.values())
    scan_id, kept = uuid4(), _spooled()
    Spool(tmp_path / "spool").keep(scan_id, kept)
    [back] = Spool(tmp_path / "spool").of_scan(scan_id, pytest.fail)
    assert repr(back) == repr(kept), "what describes a record is not compared otherwise"
    [file] = _files(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_the_last_result_takes_the_scans_directory_with_it(tmp_path: Path) -> None:
    there, scan_id = Spool(tmp_path), uuid4()
    for batch in (1, 2):
        there.keep(scan_id, _spooled(batch))
    assert there.look() == SpoolSeen(2, 0, (str(scan_id),))
    there.drop(scan_id, _spooled(2))
    assert [spooled.unit.batch for spooled in there.of_scan(scan_id, pytest.fail)] == [1]
    there.drop(scan_id, _spooled(1))
    there.drop(scan_id, _spooled(1))
    assert not list(tmp_path.iterdir())
    assert there.scans() == Spool(tmp_path / "none").scans() == []


def _halved(text: str, _: UUID) -> str:
    return text[: len(text) // 2]


def _altered(text: str, _: UUID) -> str:
    return text.replace("nmap -sV", "nmap -sU")


def _newer(text: str, _: UUID) -> str:
    return json.dumps({**json.loads(text), "format": spool.FORMAT + 1})


def _emptied(text: str, _: UUID) -> str:
    return ""


def _listed(text: str, _: UUID) -> str:
    return f"[{text}]"


def _unknown(text: str, _: UUID) -> str:
    body = json.loads(text)["body"].replace('"kind": "host"', '"kind": "ghost"')
    return json.dumps({"format": spool.FORMAT, "digest": spool._digest(body), "body": body})


@pytest.mark.parametrize("spoil", [_halved, _altered, _newer, _emptied, _listed, _unknown])
def test_what_is_not_what_was_written_is_set_aside_and_said(tmp_path: Path, spoil: object) -> None:
    there, scan_id = Spool(tmp_path), uuid4()
    there.keep(scan_id, _spooled())
    there.keep(scan_id, _spooled(2))
    first, _ = _files(tmp_path)
    first.write_text(spoil(first.read_text(), scan_id))  # type: ignore[operator]
    said: list[str] = []
    assert [spooled.unit.batch for spooled in there.of_scan(scan_id, said.append)] == [2]
    assert len(said) == 1
    assert first.name in said[0]
    assert there.look() == SpoolSeen(1, 1, (str(scan_id),))
    assert len(there.of_scan(scan_id, pytest.fail)) == 1, "it is not read again"


def test_a_file_of_another_scan_is_none_of_this_one(tmp_path: Path) -> None:
    there, mine, other = Spool(tmp_path), uuid4(), uuid4()
    there.keep(other, _spooled())
    (tmp_path / str(other)).rename(tmp_path / str(mine))
    assert there.of_scan(mine, lambda said: None) == []


def test_what_is_too_large_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MOST_BYTES", 5000)
    with pytest.raises(OSError, match="bytes"):
        Spool(tmp_path).keep(uuid4(), _spooled(stderr="x" * 5000))
    assert _files(tmp_path) == []


def test_a_draft_that_a_kill_left_is_no_result(tmp_path: Path) -> None:
    there, scan_id = Spool(tmp_path), uuid4()
    there.keep(scan_id, _spooled())
    [file] = _files(tmp_path)
    file.rename(file.with_name(f"{file.name}{spool.DRAFT}"))
    assert there.of_scan(scan_id, pytest.fail) == []
    there.keep(scan_id, _spooled())
    assert _files(tmp_path) == [file], "the next one takes its place"


def test_what_is_kept_of_ended_scans_is_dropped_and_nothing_else(store: Store, tmp_path: Path) -> None:
    with store.write() as session:
        asked = [NewScan(Host(f"192.0.2.{last}"), PRESETS["quick"], "", "api") for last in (1, 2)]
        running, over = (begin(session, insert_scan(session, one)[0].id, uuid4()) for one in asked)
        finish(session, over.id, Verdict(Status.REVOKED), "Cancelled")
    there, unknown = Spool(tmp_path / "spool"), uuid4()
    assert clear_spool(store, there) == []
    for scan_id in (running.id, over.id, unknown):
        there.keep(scan_id, _spooled())
    assert clear_spool(store, there) == [over.id]
    assert set(there.scans()) == {running.id, unknown}


def test_the_doctor_names_what_is_in_the_spool() -> None:
    line = doctor.judge_leftovers([], SpoolSeen(2, 1, ("5aa0fc9a",)))
    assert line.health is Health.WARN
    assert line.detail == (
        "results in the spool that wait for the store: 2, of 5aa0fc9a; "
        "files in the spool that cannot be read: 1, of 5aa0fc9a"
    )
    assert "explain" in line.remedy
