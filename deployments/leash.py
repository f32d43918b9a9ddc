"""Run a command that does not outlive the process that started it: `python -I leash.py SIGNAL PARENT COMMAND…`.

When the parent goes, however it goes, the kernel sends SIGNAL to the command (PR_SET_PDEATHSIG, prctl(2); Linux).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(number: int, parent: int, command: list[str]) -> None:
    """Put the leash on and become the command. Its files are for its owner only."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("leash: the parent is gone already")
    os.umask(0o077)
    # A shell that starts us in the background has it ignored, and some are stopped by it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
