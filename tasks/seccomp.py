"""The system calls that an extension may not make: a seccomp filter, as the bytes that bubblewrap takes.

A list of what is denied, since scripts come in any language. Denied is what reaches into other processes, mounts,
namespaces, keys or the kernel itself; what holds memory that no process is seen to have (memfd, System V memory); and
every socket but AF_UNIX, as there is no network. The answer is EPERM; clone3, whose flags a filter cannot see, does not
exist (ENOSYS), and every C library then uses clone. A call of a foreign architecture ends the process.

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
    has_x32: bool = False


ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, 0, clone=56, clone3=435, socket=41, socketpair=53, ioctl=16, has_x32=True),
    "aarch64": Architecture(0xC00000B7, 1, clone=220, clone3=435, socket=198, socketpair=199, ioctl=29),
}
X32 = 0x40000000
NEW_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID and _NEWNET (sched.h)."""
AF_UNIX = 1
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
"""They type into a terminal, as if its user had."""

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_KILL, _ALLOW, _ERROR = 0x80000000, 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Where they are in `struct seccomp_data`; of an argument, the lower half comes first (both are little-endian)."""

_DENY = (_RETURN, 0, 0, _ERROR | errno.EPERM)
_Step = tuple[int, int, int, int]


def filter_for(machine: str = platform.machine()) -> bytes:
    """The filter of an architecture, by its name in uname(2). Raises `SandboxMissing` where there is none."""
    try:
        kind = ARCHITECTURES[machine]
    except KeyError:
        raise SandboxMissing(
            f"there is no seccomp filter for {machine}", hint=f"extensions run on {' and '.join(ARCHITECTURES)} only"
        ) from None
    return b"".join(struct.pack("=HBBI", *step) for step in _program(kind))


def _program(kind: Architecture) -> list[_Step]:
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
    for number in (kind.socket, kind.socketpair):
        steps += _judged(number, 0, [(_JUMP_EQUAL, 1, 0, AF_UNIX), _DENY])
    steps += _judged(kind.ioctl, 1, [(_JUMP_EQUAL, 0, 1, TIOCSTI), _DENY, (_JUMP_EQUAL, 0, 1, TIOCLINUX), _DENY])
    return [*steps, (_RETURN, 0, 0, _ALLOW)]


def _judged(number: int, argument: int, judgement: list[_Step]) -> list[_Step]:
    """Steps for one call only: its argument is loaded, judged, and what was not denied is allowed."""
    inner = [(_LOAD, 0, 0, _ARGUMENTS + 8 * argument), *judgement, (_RETURN, 0, 0, _ALLOW)]
    return [(_JUMP_EQUAL, 0, len(inner), number), *inner]
