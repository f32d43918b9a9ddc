"""Whose a fence is, which ids are free, and what is said of strays; nothing here raises one."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from footprint.errors import FenceMissing, ToolTimedOut, UnitError
from tasks import fence
from tasks.fence import IDS, Fence, _free_ids, _gateways, _is_gone, _lower, _namespace, _owner
from tasks.fence_rules import Strays
from tasks.tool import Output

UID = 61183
ONLY_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a process of another")


def test_a_fence_is_stale_only_where_its_process_is_known_to_be_gone() -> None:
    namespace, pid, started = _owner().split("_")
    assert int(namespace) == _namespace()
    assert not _is_gone(UID, _owner())
    assert _is_gone(UID, f"{namespace}_{pid}_{int(started) - 1}")  # its number was given again
    assert not _is_gone(UID, f"1_{pid}_{int(started) - 1}")  # another container's, say


@ONLY_ROOT
def test_a_fence_stands_while_anybody_is_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "GONE_SECONDS", 0.1)
    namespace, pid, _ = _owner().split("_")
    with subprocess.Popen(["sleep", "60"], user=UID, group=UID) as inside:
        try:
            assert not _is_gone(UID, f"{namespace}_{pid}_1")
            with pytest.raises(UnitError, match="does not end; its fence is left standing"):
                _lower(UID, tmp_path)
        finally:
            inside.kill()


def test_every_id_is_offered_once_and_no_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    somebodys = IDS[7]

    def account(uid: int) -> None:
        if uid != somebodys:
            raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", account)
    assert sorted(_free_ids()) == [uid for uid in IDS if uid != somebodys]
    assert next(_free_ids()) != next(_free_ids())  # units that begin together do not ask for the same


def test_gateways_are_read_from_the_kernels_routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = f"{int.from_bytes(bytes((10, 0, 2, 1)), sys.byteorder):08X}"
    lines = ("Iface Destination Gateway Flags", f"eth0 00000000 {own} 0003", "eth0 000200C0 00000000 0001")
    (tmp_path / "route").write_text("\n".join(line.replace(" ", "\t") for line in lines))
    monkeypatch.setattr(fence, "ROUTES", tmp_path / "route")
    assert list(_gateways()) == [("10.0.2.1", "eth0")]


def test_strays_are_told_with_their_number_and_with_what_else_went_wrong() -> None:
    held = Fence(UID)
    assert held.complaint("nmap") is None
    held.strays = Strays(3, ("192.0.2.1", "2001:db8::1"))
    said = held.complaint("nmap", ToolTimedOut("nmap: stopped after 9 s"))
    assert said
    assert said.detail == (
        "nmap: sent 3 packets to addresses that it was not given (192.0.2.1, 2001:db8::1); the fence stopped them; "
        "nmap: stopped after 9 s"
    )


def test_a_program_that_failed_by_itself_is_not_taken_for_one_that_did_not_start() -> None:
    failed, refused = Output("", "nmap: no such target", 1), Output("", "env: 'x': Permission denied", 126)
    Fence(UID).check_start("nmap", failed)
    Fence().check_start("nmap", refused)
    with pytest.raises(FenceMissing, match="cannot be run behind the fence: env: 'x': Permission denied"):
        Fence(UID).check_start("nmap", refused)
