"""How the units of one scan are kept going: submitted while there is room, absorbed as they end, judged at the end."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from signal import SIGTERM
from types import TracebackType
from typing import Any, TypeVar

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Completed, Failed
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from flows.events import tell_changed, tell_finished, tell_started
from flows.frontier import Bounds, Frontier
from flows.gate import Gate
from flows.pausing import Waiting, is_run_cancelled
from flows.report import ProgressReport, publish_report
from footprint.admission import scope_of
from footprint.errors import PulsarError, ScanStopped, StoreUnavailable
from footprint.failpoints import failpoint
from footprint.records import Record
from footprint.seeds import seeds
from footprint.states import Status
from footprint.store.cancelling import REVOKED, is_cancelled, note_stuck
from footprint.store.changes import drift_at_end, write_down
from footprint.store.differences import Drift
from footprint.store.endings import finish
from footprint.store.inventory import records_of
from footprint.store.ledger import Owner, release
from footprint.store.left_out import keep_left_out
from footprint.store.outbox import decide
from footprint.store.resumption import CRASH_PAUSE, put_back
from footprint.store.scans import Begun, keep_alive
from footprint.store.tables import Scan, now
from footprint.store.units import Unit, digest_of, finished_units, lose_unit, plan_unit, reports_of, settle_unit
from footprint.verdict import Verdict, conclude
from footprint.windows import Closed, Open
from tasks.authorization import in_force
from tasks.catalogue import tool_named
from tasks.installation import installation
from tasks.results import forget, settle_rest, take_up, unsettled
from tasks.run_scan import run_scan
from tasks.stopping import is_winding_down, stop_flag
from tasks.strays import end_processes_of, processes_of

TICK_SECONDS = 1.0
"""How often the lease is renewed, the progress published, and a cancel looked for, at least."""
LOOK_SECONDS = 0.25
"""How often a unit that may not begin yet is looked at again."""
REVOKE_SECONDS = 3.0
"""What units get to end after a cancel; what is left of their processes then is killed."""

T = TypeVar("T")


class Conductor:
    """Carries one scan out. As a context it makes sure that nothing of the scan goes on when it is left."""

    def __init__(self, scan: Begun) -> None:
        self._here = installation()
        self._scan = scan
        self._stopped = stop_flag(scan.id)
        self._ended: SimpleQueue[PrefectFuture[Any]] = SimpleQueue()
        self._running: dict[PrefectFuture[Any], tuple[int, Unit]] = {}
        self._cut_short: str | None = None
        self._opening: Open | Closed = Open()
        self._revoke_by: float | None = None
        self._processes: int | None = None
        self._shown = ProgressReport(scan.id)
        self._begun = time.monotonic()
        self._deadline = self._begun + scan.policy.scan_timeout - scan.spent
        tools = [tool_named(name).here(self._here.settings) for name in scan.policy.modules]
        scope = scope_of(self._here.settings, scan.target, scan.policy, scan.scope)
        self._frontier = Frontier(tools, scope, Bounds(scan.policy.depth, scan.policy.max_records), scan.batches)
        self._gate = Gate(scan, self._here)
        self._published = 0.0
        self._is_away = False

    def __enter__(self) -> Conductor:
        # prefect-shell writes its line into a file where temporary files are kept, and a kill -9 leaves it there:
        # so they are kept with the scan, and go with it.
        self._directory = self._here.settings.work_dir / str(self._scan.id)
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        tempfile.tempdir = str(self._directory)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stop_all()
        self._stopped.set()
        self._shown.close()
        tempfile.tempdir = None
        for future in list(self._running):
            future.wait(timeout=10)
        if error is not None and self.is_overtaken():
            return  # the row, the directory and what runs are another attempt's
        shutil.rmtree(self._directory, ignore_errors=True)
        if error is not None:
            self._settle_broken(error)

    def is_overtaken(self) -> bool:
        """True where another attempt carries the scan out by now. A store that is away says nothing."""
        try:
            with self._here.store.read() as session:
                attempt = session.scalar(select(Scan.attempt).where(Scan.id == self._scan.id))
        except StoreUnavailable:
            return False
        return attempt is not None and attempt > self._scan.attempt

    def _settle_broken(self, error: BaseException) -> None:
        """Write down that the scan ended with its flow, so that no row says STARTED when its run is dead.

        Where the store is away, the API does it, by what Prefect says of the run.
        """
        if isinstance(error, ScanStopped):
            return  # it was ended elsewhere
        settle_rest(self._here, self._scan)
        try:
            if isinstance(error, TerminationSignal):
                self._settle_terminated()
            else:
                self._settle_failed(error)
        except StoreUnavailable as away:
            get_run_logger().error("%s: how the scan ended is still to be written down", away)

    def _settle_failed(self, error: BaseException) -> None:
        said = str(error) if isinstance(error, PulsarError) else f"a defect in Pulsar: {type(error).__name__}"
        with self._here.store.write() as session:
            failed = Verdict(Status.FAILURE, error=said)
            if finish(session, self._scan.id, failed, "Failed", attempt=self._scan.attempt):
                self._keep_left_out(session)

    def _settle_terminated(self) -> None:
        """A SIGTERM: the run was cancelled, or else its worker is going down, and another takes the scan up."""
        is_free = end_processes_of(self._scan.id)
        is_revoked = is_run_cancelled()
        with self._here.store.write() as session:
            if is_revoked or is_cancelled(session, self._scan.id):
                if not is_free:
                    self._note_stuck(session)  # and the API goes on trying
                    return
                self._finish(session, Verdict(Status.REVOKED), REVOKED)
            else:
                at = now() + CRASH_PAUSE
                put_back(session, self._scan.id, attempt=self._scan.attempt, reason="its worker was stopped", at=at)

    def play(self) -> None:
        """Keep units going until there is nothing left to do or no time to do it."""
        if take_up(self._here, self._scan, get_run_logger()) or self._scan.batches:
            self._frontier.resume(self._keep(partial(finished_units, scan_id=self._scan.id)))
        self._frontier.offer(seeds(self._scan.target))
        self._opening = self._scan.policy.standing_at(now())
        tell_started(self._scan)
        self._publish()
        self._look_at_the_clock()
        while self._spawn() or self._running:
            self._absorb()
            if self._revoke_by is not None and time.monotonic() > self._revoke_by:
                return
            self._look_at_the_clock()

    def _look_at_the_clock(self) -> None:
        """Stop where the scan's time is over. Where its window has closed, units that run end and none is begun."""
        if time.monotonic() > self._deadline and not self._cut_short:
            self._cut_short = f"the scan was cut short after {self._scan.policy.scan_timeout} s, its scan_timeout"
            self._stopped.set()
        if isinstance(self._opening, Closed) or (self._opening.until and now() >= self._opening.until):
            self._opening = self._scan.policy.standing_at(now())

    @property
    def _is_halted(self) -> bool:
        is_over = bool(self._cut_short) or self._revoke_by is not None
        return is_over or is_winding_down() or isinstance(self._opening, Closed)

    def _stop_all(self) -> None:
        """Have every unit end now, and count the processes that this ends."""
        if self._processes is None:
            self._processes = len(processes_of(self._scan.id))
        self._stopped.set()

    def _spawn(self) -> bool:
        """Submit units while there is room for them and their destinations can bear them; True while any is waiting."""
        self._gate.look()
        while len(self._running) < self._scan.policy.concurrency and not self._is_halted:
            at_work = [running.module for _, running in self._running.values()]
            try:
                unit = self._frontier.take(at_work, self._gate, in_order=self._scan.policy.concurrency == 1)
            except StoreUnavailable as away:
                self._note_away(away)
                break
            if unit is None:
                break
            self._submit(unit)
        return bool(self._frontier.waiting()) and not self._is_halted

    def _submit(self, unit: Unit) -> None:
        unit_id = self._keep(partial(plan_unit, scan_id=self._scan.id, attempt=self._scan.attempt, unit=unit))
        future = run_scan.submit(self._scan, unit.module, unit.batch)
        self._running[future] = (unit_id, unit)
        future.add_done_callback(self._ended.put)

    def _absorb(self) -> None:
        """Wait for units to end, at most a tick, and offer what they found."""
        try:
            ended = [self._ended.get(timeout=LOOK_SECONDS if self._gate.waits else TICK_SECONDS)]
            while not self._ended.empty():
                ended.append(self._ended.get())
        except Empty:
            ended = []
        for future in ended:
            unit_id, unit = self._running.pop(future)
            self._frontier.offer(self._take_in(unit_id, unit), unit.depth + 1)
        if ended or time.monotonic() > self._published + TICK_SECONDS:
            self._publish()

    def _keep(self, change: Callable[[Session], T]) -> T:
        """Write, and wait for a store that is away for as long as the scan may run: what was found is not given up."""
        return self._here.store.keep(change, until=self._deadline)

    def _take_in(self, unit_id: int, unit: Unit) -> list[Record]:
        """What an ended unit found, by now kept in the store."""
        take = partial(self._take, unit_id=unit_id, unit=unit)
        try:
            found = self._keep(take)
        except SQLAlchemyError:
            if unit_id not in unsettled(self._scan.id):
                raise
            get_run_logger().exception("what %s batch %d found cannot be kept", unit.module, unit.batch)
            forget(self._here, self._scan.id, unit_id)
            return self._keep(take)
        forget(self._here, self._scan.id, unit_id)
        return found

    def _take(self, session: Session, unit_id: int, unit: Unit) -> list[Record]:
        """What an ended unit found. One whose task broke before its row said so is written down as lost."""
        release(session, Owner(self._scan.id, self._scan.attempt, unit.module, unit.batch))
        if ended := unsettled(self._scan.id).get(unit_id):
            settle_unit(session, self._scan.id, self._scan.attempt, unit_id, ended.settled)
        lose_unit(session, self._scan.id, self._scan.attempt, unit_id)
        return records_of(session, unit_id)

    def _publish(self) -> None:
        """Renew the lease and the digest, and see whether the scan was cancelled.

        A store that is away for a while is waited for, the units go on.
        """
        self._published = time.monotonic()
        spent = self._scan.spent + self._published - self._begun
        try:
            with self._here.store.write() as session:
                waiting, are_on = self._frontier.waiting(), self._scan.policy.modules
                progress, modules = digest_of(session, self._scan.id, waiting, self._gate.waits, are_on)
                keep_alive(session, self._scan.id, self._scan.attempt, progress, modules, spent)
                is_revoked = is_cancelled(session, self._scan.id)
        except StoreUnavailable as away:
            self._note_away(away)
            return
        self._note_back()
        if is_revoked and self._revoke_by is None:
            self._stop_all()
            self._revoke_by = time.monotonic() + REVOKE_SECONDS
        self._shown.show(progress, modules)

    def _note_away(self, away: StoreUnavailable) -> None:
        if not self._is_away:
            get_run_logger().warning("%s; the scan waits for it", away)
        self._is_away = True

    def _note_back(self) -> None:
        if self._is_away:
            get_run_logger().info("the store is back")
        self._is_away = False

    def conclude(self) -> State | Waiting:
        """Judge the scan by its units, write the verdict down, and give the run the state that says so.

        A scan that was cancelled is not judged, and one whose window closed over what it had to do goes on later.
        """
        if self._revoke_by is not None:
            return self._revoke()
        if self._frontier.waiting() and is_winding_down() and not self._cut_short:
            raise TerminationSignal(SIGTERM)  # all that ran has ended: what the worker would send next
        if self._frontier.waiting() and isinstance(self._opening, Closed) and not self._cut_short:
            if self._opening.opens_at is not None:
                return self._wait(Waiting(self._opening.opens_at, str(self._opening)))
            self._cut_short = str(self._opening)
        return self._judge()

    def _revoke(self) -> State:
        settle_rest(self._here, self._scan)
        while not end_processes_of(self._scan.id):
            self._keep(self._note_stuck)
            self._publish()
            time.sleep(TICK_SECONDS)
        verdict = Verdict(Status.REVOKED)
        self._keep(partial(self._finish, verdict=verdict, state=REVOKED))
        tell_finished(self._scan, verdict)
        return Cancelled(message=f"The scan was cancelled; {self._processes} processes were ended.")

    def _note_stuck(self, session: Session) -> None:
        left = processes_of(self._scan.id)
        get_run_logger().error("the scan is not revoked yet: %s", note_stuck(session, self._scan.id, left))

    def _wait(self, waiting: Waiting) -> Waiting:
        put = partial(put_back, scan_id=self._scan.id, attempt=self._scan.attempt)
        self._keep(partial(put, reason=waiting.reason, at=waiting.opens_at))
        return waiting

    def _judge(self) -> State:
        left_out = tuple(f"{subject}: not touched: {rule}" for subject, rule in self._frontier.left_out.items())
        if over := self._frontier.over_limit:
            left_out += (f"{over} records over the policy's max_records were not followed",)
        if deep := self._frontier.too_deep:
            left_out += (f"{deep} records further from the target than the policy's depth were not followed",)
        reports = self._keep(partial(reports_of, scan_id=self._scan.id))
        ahead = {name: tool_named(name).counts_for for name in self._scan.policy.modules}
        verdict = conclude(
            reports, self._scan.policy.required, counts_for=ahead, cut_short=self._cut_short, left_out=left_out
        )
        state = "Completed" if verdict.status is Status.SUCCESS else "Failed"
        self._keep(partial(self._finish, verdict=verdict, state=state))
        failpoint("after-verdict")
        self._tell(verdict)
        drift = self._note_changes() if verdict.status is Status.SUCCESS else None
        tell_changed(self._scan, drift)
        self._shown.complete(partial(publish_report, self._here.store, self._scan, verdict, drift))
        if verdict.status is Status.SUCCESS:
            return Completed(message=f"{len(reports)} units, {len(verdict.warnings)} warnings")
        return Failed(message=verdict.error)

    def _finish(self, session: Session, verdict: Verdict, state: str) -> None:
        processes = self._processes if verdict.status is Status.REVOKED else None
        if not finish(session, self._scan.id, verdict, state, attempt=self._scan.attempt, processes=processes):
            raise ScanStopped("the scan has ended, or another worker has taken it over")
        self._keep_left_out(session)

    def _keep_left_out(self, session: Session) -> None:
        """Write down what was not touched, and what is excluded by now of a network that was swept."""
        by_now = in_force(session, self._scan, self._here.settings).scope
        scope = scope_of(self._here.settings, self._scan.target, self._scan.policy, by_now)
        rules = scope.holes_in(self._scan.target) | self._frontier.kept_out()
        keep_left_out(session, self._scan.id, rules, besides=self._frontier.over_limit)

    def _note_changes(self) -> Drift | None:
        """Write down what changed; the scan has ended well, and a defect in this must not say otherwise."""
        store = self._here.store
        try:
            with store.read() as session:
                drift = drift_at_end(session, self._scan.id)
            store.keep(partial(self._write_changes, drift=drift))
            return drift
        except Exception:
            get_run_logger().exception("what changed since the last scan could not be written down")
            return None

    def _write_changes(self, session: Session, drift: Drift | None) -> None:
        if drift is not None:
            write_down(session, drift)
        decide(session, self._scan.id, drift)

    def _tell(self, verdict: Verdict) -> None:
        tell_finished(self._scan, verdict)
        log = get_run_logger()
        for warning in verdict.warnings:
            log.warning("%s", warning)
        if verdict.error:
            log.error("%s", verdict.error)
        log.info("scan %s ended: %s", self._scan.id, verdict.status)
