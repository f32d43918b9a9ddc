"""What an in-process module is given, for tests that ask one directly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from footprint.scope import Scope
from footprint.settings import Settings
from footprint.store import Store
from footprint.target import parse_target
from tasks.tool import Asking


def asking(
    *resolvers: str,
    target: str = "example.test",
    seconds: float = 60,
    stopped: threading.Event | None = None,
    report: Callable[[float], None] = lambda percent: None,
    store: Store | None = None,
    work_dir: Path = Path(),
    exclude: tuple[str, ...] = (),
    **settings: Any,
) -> Asking:
    """Circumstances of a scan of `target`, to which loopback may belong; `settings` are the installation's."""
    installed = Settings(scope_allow=("127.0.0.0/8",), scope_exclude=exclude, resolvers=resolvers, **settings)  # type: ignore[arg-type]
    scope = Scope.for_target(parse_target(target), allow=installed.scope_allow, exclude=exclude)
    return Asking(
        settings=installed,
        scope=scope,
        store=store,
        work_dir=work_dir,
        scan_id=None,
        stopped=stopped or threading.Event(),
        resolvers=resolvers,
        deadline=time.monotonic() + seconds,
        report=report,
    )
