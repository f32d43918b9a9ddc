"""Two workers of one whole platform beside an estate, and several scans of the same network at once on them."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self
from uuid import UUID

from sqlalchemy import func, select

from footprint.policy import ScanPolicy
from footprint.store import Store, open_store
from footprint.store.tables import Scan
from tests.estate.estate import Estate
from tests.estate.scanning import Pulsar
from tests.processes import marked

START_SECONDS = 120.0
LOOK_SECONDS = 0.2


class TwoWorkers:
    """The platform with its worker, and one worker more, running while the context is open. `settings` are its own."""

    def __init__(self, estate: Estate, home: Path, **settings: str) -> None:
        self._pulsar = Pulsar(estate, home, **settings)
        self._stack = ExitStack()
        self._second = 0

    def __enter__(self) -> Self:
        try:
            self._stack.enter_context(self._pulsar.platform(START_SECONDS))
            self._second = self._stack.enter_context(self._pulsar.worker("second")).pid
            self.store: Store = open_store(self._pulsar.store_url)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def carry_out(self, target: str, policy: ScanPolicy, scans: int, seconds: float) -> tuple[Sequence[UUID], int]:
        """So many scans at once, and on how many workers they ran; `TimeoutError` where they take longer."""
        asked = [self._ask(target, policy) for _ in range(scans)]
        until, second = time.monotonic() + seconds, set[UUID]()
        while not self._are_over(asked):
            if time.monotonic() > until:
                raise TimeoutError(f"the scans did not end within {seconds:.0f} s")
            second |= {scan_id for scan_id in asked if self._second in _ancestors(marked(scan_id))}
            time.sleep(LOOK_SECONDS)
        return asked, len({scan_id in second for scan_id in asked})

    def _ask(self, target: str, policy: ScanPolicy) -> UUID:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write(policy.model_dump_json(exclude_unset=True))
            file.flush()
            told = self._pulsar.output(["scan", "--no-wait", "--json", "--policy", f"@{file.name}", "--", target])
        return UUID(json.loads(told)["id"])

    def _are_over(self, scans: Sequence[UUID]) -> bool:
        over = select(func.count()).where(Scan.id.in_(scans), Scan.finished_at.is_not(None))
        with self.store.read() as session:
            return session.scalar(over) == len(scans)


def _ancestors(pids: Iterable[int]) -> Iterator[int]:
    for pid in pids:
        while pid > 1:
            try:
                pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                break  # it ended meanwhile
            yield pid
