"""How a program is started under an id of its own: without root's powers, in a place that this id may use.

bubblewrap is root still, and ends all; `setpriv` inside it becomes the other. The id may not even walk to where units
keep their files (a home's mode is 0700), so its directory is shown to it at a fixed place, in a /dev/shm of its own.
Nor may it walk to programs below such a directory (a checkout in /root): those alone are shown to it where they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from stat import S_IXOTH

PLACE = "/dev/shm/unit"  # noqa: S108 -- a mount of the program's own
"""Where a program under its own id finds its directory; its home."""
SHARED_BYTES = 64 * 1024 * 1024
POWER = "net_raw"
"""All that scanners need of root's powers (m). With CAP_NET_ADMIN a program could take its own fence down."""


def contained_in(directory: Path, programs: Iterable[Path] = ()) -> tuple[str, ...]:
    """bubblewrap's words: a process namespace that dies with its parent, and `directory` at `PLACE`.

    `programs` are directories that the id is to reach whatever is above them.
    """
    return (
        *("bwrap", "--dev-bind", "/", "/", "--proc", "/proc", *_laid_open(programs)),
        *("--perms", "1777", "--size", str(SHARED_BYTES), "--tmpfs", str(Path(PLACE).parent)),
        *("--bind", str(directory), PLACE, "--chdir", PLACE),
        *("--unshare-pid", "--die-with-parent", "--"),
    )


def _laid_open(places: Iterable[Path]) -> Iterator[str]:
    """Show places, read-only, that are below a directory closed to others, and of that directory nothing else."""
    # By the name that it is called by, and by the one that links from elsewhere end at.
    named = {path for place in places if place.is_dir() for path in (place.absolute(), place.resolve())}
    covered = set()
    for place in sorted(each for each in named if named.isdisjoint(each.parents)):
        above = list(reversed(place.parents))
        closed = next((each for each in above if not each.stat().st_mode & S_IXOTH), None)
        if closed is None:
            continue
        if closed not in covered:
            covered.add(closed)
            yield from ("--perms", "0755", "--tmpfs", str(closed))
        for between in above[above.index(closed) + 1 :]:
            yield from ("--perms", "0755", "--dir", str(between))
        yield from ("--ro-bind", str(place), str(place))


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
