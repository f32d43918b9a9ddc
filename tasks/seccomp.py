"""The system calls that an extension may not make: a seccomp filter, as the bytes that bubblewrap takes.

A list of what is denied, since scripts come in any language. Denied is what reaches into other processes, mounts,
namespaces, keys or the kernel itself; what holds memory that no process is seen to have (memfd, System V memory); and
every socket but AF_UNIX, as there is no network. Where there is one, held by a fence around the user id (fence.py),
there is TCP and UDP as a client, and nothing else: no AF_UNIX, whose abstract addresses are the machine's, and nothing
that has the kernel send by sockets of its own, which are nobody's to a fence (MPTCP's other paths, multicast groups).
The answer is EPERM; clone3, whose flags a filter cannot see, does not exist (ENOSYS), and every C library then uses
clone. A call of a foreign architecture ends the process.

Numbers: the kernel's unistd.h of each architecture. Format: seccomp(2), and the kernel's filter.h (classic BPF).
"""

from __future__ import annotations

import errno
import platform
import struct
from dataclasses import dataclass

from footprint.errors import SandboxMissing

DENIED: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "unshare": (272, 97),
    "setns": (308, 268),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "syslog": (103, 116),
    "acct": (163, 89),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "msgget": (68, 186),
    "semget": (64, 190),
    "vmsplice": (278, 75),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "personality": (135, 92),
    "vhangup": (153, 58),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "ustat": (136, None),
    "sysfs": (139, None),
    "_sysctl": (156, None),
}
"""The numbers of each call on x86_64 and on aarch64; None where it does not exist."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """What differs: its constant (audit.h), its column of `DENIED`, the numbers of what is judged by argument."""

    audit: int
    column: int
    clone: int
    clone3: int
    socket: int
    socketpair: int
    ioctl: int
    bind: int
    listen: int
    setsockopt: int
    has_x32: bool = False


ARCHITECTURES = {
    "x86_64": Architecture(
        0xC000003E, 0, clone=56, clone3=435, socket=41, socketpair=53, ioctl=16,
        bind=49, listen=50, setsockopt=54, has_x32=True,
    ),
    "aarch64": Architecture(
        0xC00000B7, 1, clone=220, clone3=435, socket=198, socketpair=199, ioctl=29,
        bind=200, listen=201, setsockopt=208,
    ),
}  # fmt: skip
X32 = 0x40000000
NEW_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID and _NEWNET (sched.h)."""
AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_TYPES = 1, 2, 5, 0xF
"""Kinds of sockets, and the bits of an argument that tell them (beside are SOCK_CLOEXEC and SOCK_NONBLOCK)."""
STREAMS, DATAGRAMS = (0, 6), (0, 17)
"""The protocols of each kind that an extension may ask for: the usual one, TCP, UDP (IANA's numbers)."""
JOINING = {0: (4, 35, 39, 41, 42, 46, 48), 41: (20, 27, 42, 46, 48)}
"""Of IP and of IPv6, what joins groups, for which the kernel sends reports of its own, and IP_OPTIONS, which routes
(in.h, in6.h)."""
SOCKET_IOCTLS = (0x8906, 0x8A00)
"""From SIOCGSTAMP on (sockios.h): they tell of this machine's interfaces and addresses."""
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
"""They type into a terminal, as if its user had."""

_LOAD, _AND, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_KILL, _ALLOW, _ERROR = 0x80000000, 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Where they are in `struct seccomp_data`; of an argument, the lower half comes first (both are little-endian)."""

_DENY = (_RETURN, 0, 0, _ERROR | errno.EPERM)
_PASS = (_RETURN, 0, 0, _ALLOW)
_Step = tuple[int, int, int, int]


def filter_for(machine: str = platform.machine()) -> bytes:
    """The filter of an architecture, by its name in uname(2), without a network.

    Raises `SandboxMissing` where there is none.
    """
    kind = _architecture(machine)
    return _packed(kind, _without_network(kind))


def client_filter_for(machine: str = platform.machine()) -> bytes:
    """The same with a network that is held otherwise: TCP and UDP, as a client only."""
    kind = _architecture(machine)
    return _packed(kind, _as_client(kind))


def _architecture(machine: str) -> Architecture:
    try:
        return ARCHITECTURES[machine]
    except KeyError:
        raise SandboxMissing(
            f"there is no seccomp filter for {machine}", hint=f"extensions run on {' and '.join(ARCHITECTURES)} only"
        ) from None


def _packed(kind: Architecture, sockets: list[_Step]) -> bytes:
    return b"".join(struct.pack("=HBBI", *step) for step in _program(kind, sockets))


def _program(kind: Architecture, sockets: list[_Step]) -> list[_Step]:
    steps: list[_Step] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, kind.audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if kind.has_x32:
        steps += [(_JUMP_AT_LEAST, 0, 1, X32), _DENY]
    for number in (numbers[kind.column] for numbers in DENIED.values()):
        if number is not None:
            steps += [(_JUMP_EQUAL, 0, 1, number), _DENY]
    steps += [(_JUMP_EQUAL, 0, 1, kind.clone3), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)]
    steps += _judged(kind.clone, 0, [(_JUMP_ANY_BIT, 0, 1, NEW_NAMESPACES), _DENY])
    steps += sockets
    first, after = SOCKET_IOCTLS
    told = [(_JUMP_AT_LEAST, 0, 2, first), (_JUMP_AT_LEAST, 1, 0, after), _DENY]
    steps += _judged(kind.ioctl, 1, [(_JUMP_EQUAL, 0, 1, TIOCSTI), _DENY, (_JUMP_EQUAL, 0, 1, TIOCLINUX), _DENY, *told])
    return [*steps, _PASS]


def _without_network(kind: Architecture) -> list[_Step]:
    return [step for number in (kind.socket, kind.socketpair) for step in _judged(number, 0, _only(AF_UNIX))]


def _as_client(kind: Architecture) -> list[_Step]:
    streams = [_argument(2), *_only(*STREAMS), _PASS]
    kinds = [
        *(*_only(AF_INET, AF_INET6), _argument(1), (_AND, 0, 0, SOCK_TYPES)),
        *((_JUMP_EQUAL, 0, len(streams), SOCK_STREAM), *streams),
        *(*_only(SOCK_DGRAM), _argument(2), *_only(*DATAGRAMS)),
    ]
    # A datagram's end of a pair may send to any address, so to whatever of this machine listens on an abstract one.
    pairs = [*_only(AF_UNIX), _argument(1), (_AND, 0, 0, SOCK_TYPES), *_only(SOCK_STREAM, SOCK_SEQPACKET)]
    joining: list[_Step] = []
    for level, names in JOINING.items():
        denied = [step for name in names for step in ((_JUMP_EQUAL, 0, 1, name), _DENY)]
        joining += [_argument(1), (_JUMP_EQUAL, 0, len(denied) + 1, level), _argument(2), *denied]
    return [
        *_judged(kind.socket, 0, kinds),
        *_judged(kind.socketpair, 0, pairs),
        *_judged(kind.setsockopt, 1, joining),
        *(step for number in (kind.bind, kind.listen) for step in ((_JUMP_EQUAL, 0, 1, number), _DENY)),
    ]


def _only(*values: int) -> list[_Step]:
    """Steps that deny whatever is none of these, and are walked through else."""
    return [*((_JUMP_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)), _DENY]


def _argument(number: int) -> _Step:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * number)


def _judged(number: int, argument: int, judgement: list[_Step]) -> list[_Step]:
    """Steps for one call only: its argument is loaded, judged, and what was not denied is allowed."""
    inner = [_argument(argument), *judgement, _PASS]
    return [(_JUMP_EQUAL, 0, len(inner), number), *inner]
