"""The filter for extensions: read here for both processors, and by the kernel for this one."""

from __future__ import annotations

import errno
import json
import platform
import struct

import pytest

from tasks.seccomp import ARCHITECTURES, DENIED, X32, Architecture, client_filter_for, filter_for
from tests.tasks.held import Hold, said

ALLOWED, KILLED = "allowed", "killed"
OTHERS = {
    "x86_64": {"read": 0, "openat": 257, "execve": 59, "fork": 57},
    "aarch64": {"read": 63, "openat": 56, "execve": 221},
}
THREAD, FORK = 0x3D0F00, 0x1200011
"""The flags with which the GNU C library calls clone for a thread and for fork."""
every_machine = pytest.mark.parametrize("machine", list(ARCHITECTURES))


def _answer(program: bytes, audit: int, number: int, *arguments: int) -> str | int:
    """Run classic BPF over a `struct seccomp_data`: an errno, or one of two words."""
    data = struct.pack("<IIQ6Q", number, audit, 0, *arguments, *[0] * (6 - len(arguments)))
    steps = list(struct.iter_unpack("=HBBI", program))
    at = held = 0
    while True:
        code, yes, no, value = steps[at]
        at += 1
        match code:
            case 0x20:
                held = int.from_bytes(data[value : value + 4], "little")
            case 0x54:
                held &= value
            case 0x15:
                at += yes if held == value else no
            case 0x35:
                at += yes if held >= value else no
            case 0x45:
                at += yes if held & value else no
            case 0x06:
                action = value & 0xFFFF0000
                return value & 0xFFFF if action == 0x50000 else {0x7FFF0000: ALLOWED, 0x80000000: KILLED}[action]


def _asked(machine: str, number: int, *arguments: int) -> str | int:
    return _answer(filter_for(machine), ARCHITECTURES[machine].audit, number, *arguments)


@every_machine
def test_every_call_of_the_list_is_denied_and_ordinary_ones_are_not(machine: str) -> None:
    column = ARCHITECTURES[machine].column
    for name, numbers in DENIED.items():
        if (number := numbers[column]) is not None:
            assert _asked(machine, number, 1) == errno.EPERM, name
    for name, number in OTHERS[machine].items():
        assert _asked(machine, number) == ALLOWED, name


@every_machine
def test_a_call_of_another_architecture_ends_the_process(machine: str) -> None:
    i386, other = 0x40000003, next(kind.audit for name, kind in ARCHITECTURES.items() if name != machine)
    assert {_answer(filter_for(machine), audit, 0) for audit in (i386, other, 0)} == {KILLED}


def test_calls_of_x32_are_denied() -> None:
    assert _asked("x86_64", X32) == errno.EPERM
    assert _asked("x86_64", X32 + 59) == errno.EPERM


@every_machine
def test_processes_and_threads_are_made_and_namespaces_are_not(machine: str) -> None:
    kind = ARCHITECTURES[machine]
    assert (_asked(machine, kind.clone, THREAD), _asked(machine, kind.clone, FORK)) == (ALLOWED, ALLOWED)
    for bit in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert _asked(machine, kind.clone, FORK | bit) == errno.EPERM, hex(bit)
    # The kernel reads the lower half of the flags only.
    assert _asked(machine, kind.clone, 1 << 32 | 0x10000000) == errno.EPERM
    assert _asked(machine, kind.clone3) == errno.ENOSYS


def _sockets(kind: Architecture) -> tuple[int, int]:
    return kind.socket, kind.socketpair


@every_machine
def test_sockets_are_of_unix_only(machine: str) -> None:
    for number in _sockets(ARCHITECTURES[machine]):
        assert _asked(machine, number, 1) == ALLOWED
        for family in (0, 2, 10, 16, 17, 30, 38, 40, 1 << 32 | 2):
            assert _asked(machine, number, family) == errno.EPERM, family


def _as_client(machine: str, number: int, *arguments: int) -> str | int:
    return _answer(client_filter_for(machine), ARCHITECTURES[machine].audit, number, *arguments)


STREAM, DATAGRAM, RAW, SEQPACKET, FLAGS = 1, 2, 3, 5, 0o2004000


@every_machine
@pytest.mark.parametrize("family", [2, 10])
def test_a_client_has_tcp_and_udp(machine: str, family: int) -> None:
    number = ARCHITECTURES[machine].socket
    for kind, protocol in ((STREAM, 0), (STREAM, 6), (DATAGRAM, 0), (DATAGRAM, 17)):
        assert _as_client(machine, number, family, kind, protocol) == ALLOWED
        assert _as_client(machine, number, family, kind | FLAGS, protocol) == ALLOWED
    # SCTP, MPTCP, ping, UDP-Lite, raw IP.
    others = [(STREAM, 132), (STREAM, 262), (STREAM, 17), (DATAGRAM, 1), (DATAGRAM, 6), (DATAGRAM, 58), (DATAGRAM, 136)]
    for kind, protocol in (*others, (RAW, 255), (RAW, 1), (SEQPACKET, 132), (6, 33), (10, 0)):
        assert _as_client(machine, number, family, kind, protocol) == errno.EPERM, (kind, protocol)
        assert _as_client(machine, number, family, kind | FLAGS, protocol) == errno.EPERM


@every_machine
def test_a_client_has_no_other_family_and_pairs_that_lead_nowhere_else(machine: str) -> None:
    kind = ARCHITECTURES[machine]
    for family in (0, 1, 16, 17, 30, 38, 40, 43, 44):
        assert _as_client(machine, kind.socket, family, STREAM, 0) == errno.EPERM, family
    assert [_as_client(machine, kind.socketpair, 1, of | FLAGS) for of in (STREAM, SEQPACKET)] == [ALLOWED, ALLOWED]
    assert {_as_client(machine, kind.socketpair, 1, of) for of in (DATAGRAM, RAW)} == {errno.EPERM}
    assert _as_client(machine, kind.socketpair, 2, STREAM) == errno.EPERM
    assert {_as_client(machine, number, 3) for number in (kind.bind, kind.listen)} == {errno.EPERM}


@every_machine
def test_a_client_joins_no_group_and_routes_nothing_itself(machine: str) -> None:
    number = ARCHITECTURES[machine].setsockopt
    joins = ((0, 4), (0, 35), (0, 39), (0, 42), (0, 46), (41, 20), (41, 27), (41, 42), (41, 46))
    assert {_as_client(machine, number, 3, *each) for each in joins} == {errno.EPERM}
    usual = ((0, 1), (0, 2), (0, 11), (1, 20), (1, 35), (6, 1), (6, 42), (41, 26), (41, 25))
    assert {_as_client(machine, number, 3, *each) for each in usual} == {ALLOWED}


@every_machine
def test_what_is_denied_to_all_is_denied_to_clients(machine: str) -> None:
    kind = ARCHITECTURES[machine]
    numbers = [number for numbers in DENIED.values() if (number := numbers[kind.column]) is not None]
    assert {_as_client(machine, number, 1) for number in numbers} == {errno.EPERM}
    assert _as_client(machine, kind.clone, FORK | 0x40000000) == errno.EPERM
    assert {_as_client(machine, number) for number in OTHERS[machine].values()} == {ALLOWED}


@every_machine
def test_nobody_is_told_of_interfaces(machine: str) -> None:
    ioctl = ARCHITECTURES[machine].ioctl
    for asked in (_asked, _as_client):
        answers = [asked(machine, ioctl, 3, request) for request in (0x8912, 0x8915, 0x8933, 0x89FF)]
        assert answers == [errno.EPERM] * 4
        assert [asked(machine, ioctl, 3, request) for request in (0x541B, 0x5421, 0x8905, 0x8A00)] == [ALLOWED] * 4


@every_machine
def test_nothing_is_typed_into_a_terminal(machine: str) -> None:
    ioctl = ARCHITECTURES[machine].ioctl
    answers = [_asked(machine, ioctl, 0, request) for request in (0x5412, 0x541C, 1 << 32 | 0x5412, 0x5413)]
    assert answers == [errno.EPERM, errno.EPERM, errno.EPERM, ALLOWED]


CALLS = """
import ctypes, json, sys
libc = ctypes.CDLL(None, use_errno=True)
said = {}
for name, number, *arguments in json.load(sys.stdin):
    ctypes.set_errno(0)
    said[name] = ctypes.get_errno() if libc.syscall(number, *map(ctypes.c_long, arguments)) == -1 else 0
print(json.dumps(said))
"""


def test_the_kernel_reads_it_so(hold: Hold) -> None:
    machine = platform.machine()
    kind = ARCHITECTURES[machine]
    asked = [(name, numbers[kind.column]) for name, numbers in DENIED.items() if numbers[kind.column] is not None]
    judged = [("clone", kind.clone, 0x10000011), ("inet", kind.socket, 2, 1), ("tipc", kind.socketpair, 30, 1)]
    others = [("unix", kind.socket, 1, 1, 0), ("clone3", kind.clone3)]
    answers = json.loads(said(hold(CALLS, "python3", STDIN=json.dumps([*asked, *judged, *others])))[0])
    assert answers == {
        **{name: errno.EPERM for name, _ in asked},
        **{name: errno.EPERM for name, *_ in judged},
        "unix": 0,
        "clone3": errno.ENOSYS,
    }
