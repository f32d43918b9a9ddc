"""How a program is started under an id of its own: without root's powers, in a place that this id may use.

bubblewrap is root still, and ends all; `setpriv` inside it becomes the other. The id may not even walk to where units
keep their files (a home's mode is 0700), so its directory is shown to it at a fixed place, in a /dev/shm of its own.
"""

from __future__ import annotations

import os
from pathlib import Path

PLACE = "/dev/shm/unit"  # noqa: S108 -- a mount of the program's own
"""Where a program under its own id finds its directory; its home."""
SHARED_BYTES = 64 * 1024 * 1024
POWER = "net_raw"
"""All that scanners need of root's powers (m). With CAP_NET_ADMIN a program could take its own fence down."""


def contained_in(directory: Path) -> tuple[str, ...]:
    """bubblewrap's words: a process namespace that dies with its parent, and `directory` at `PLACE`."""
    return (
        *("bwrap", "--dev-bind", "/", "/", "--proc", "/proc"),
        *("--perms", "1777", "--size", str(SHARED_BYTES), "--tmpfs", str(Path(PLACE).parent)),
        *("--bind", str(directory), PLACE, "--chdir", PLACE),
        *("--unshare-pid", "--die-with-parent", "--"),
    )


def become(uid: int) -> tuple[str, ...]:
    """setpriv's words: that id, no group but its own, and of all powers raw sockets only."""
    kept = f"-all,+{POWER}"
    return (
        *("setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups"),
        *(f"--inh-caps={kept}", f"--ambient-caps={kept}", f"--bounding-set={kept}", "--"),
    )


def give(directory: Path, uid: int) -> None:
    """Make a directory and the files in it that id's own."""
    for path in (directory, *directory.iterdir()):
        os.chown(path, uid, uid, follow_symlinks=False)
