"""How the `pulsar` command prints schedules."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from deployments.schedule_answers import Schedule, ScheduleRun
from deployments.show import COLOURS, ROOMY, SENTENCE, listed, moment, note, one_line, paper, plain, table_of

STATES = {"active": "green", "paused": "yellow", "deployment_paused": "yellow", "deleted": "red"}
REMARKS = {
    "paused": "`pulsar schedule resume ID` has it go on.",
    "deployment_paused": "The whole deployment is paused in the Prefect UI: resume it there.",
    "deleted": "It was deleted in Prefect: `pulsar schedule resume ID` makes it again, `rm` forgets it.",
}
AWAY = "Prefect does not answer: this is what was known last, and nothing comes due meanwhile."

KEPT_IN_PREFECT = (
    "Those kept in Prefect are changed in prefect.yaml or in the Prefect UI; here they are paused and resumed."
)
UNTOLD = "It has no target: Prefect drops parameters with a change in its UI. `prefect deploy --all` brings them back."


def schedule_list(schedules: Sequence[Schedule]) -> None:
    """Print all schedules."""
    has_room = paper().width >= ROOMY
    table = table_of(
        "id", "state", "what", "how often", "next", *(["policy", "last, or where it is kept"] if has_room else [])
    )
    for schedule in schedules:
        upcoming = moment(schedule.next_runs[0]) if schedule.next_runs else ""
        cells = [plain(schedule.id), _state(schedule), plain(schedule.what), plain(schedule.how_often), Text(upcoming)]
        table.add_row(*cells, *([plain(schedule.policy), _last(schedule)] if has_room else []))
    listed(table, "There are no schedules.")
    if any(schedule.is_kept_in_prefect for schedule in schedules):
        note(KEPT_IN_PREFECT)
    if any(schedule.prefect_away for schedule in schedules):
        note(AWAY)


def schedule_details(schedule: Schedule, runs: Sequence[ScheduleRun]) -> None:
    """Print one schedule, when it comes due, and what became of its last times."""
    block = Table.grid(padding=(0, 2))
    skipped = f"{schedule.skipped} times" if schedule.skipped else ""
    for name, value in (
        ("schedule", schedule.id),
        ("target", schedule.target or ""),
        ("asset", schedule.asset or ""),
        ("policy", schedule.policy),
        ("how often", schedule.how_often),
        ("overlap", schedule.overlap or ""),
        ("kept in", _kept_in(schedule) if schedule.is_kept_in_prefect else ""),
        ("comment", schedule.comment),
        ("notify", ", ".join(schedule.notify.to) or "nobody" if schedule.notify else ""),
        ("next", ", ".join(map(moment, schedule.next_runs))),
        ("skipped", skipped),
    ):
        if value:
            block.add_row(Text(name, style="bold"), Text(one_line(value, SENTENCE)))
    block.add_row(Text("state", style="bold"), _state(schedule))
    paper().print(block)
    if runs:
        paper().print("", _runs(runs))
    if schedule.state in REMARKS:
        note(REMARKS[schedule.state])
    if schedule.is_kept_in_prefect:
        note(KEPT_IN_PREFECT if schedule.target else UNTOLD)
    if schedule.prefect_away:
        note(AWAY)


def _runs(runs: Sequence[ScheduleRun]) -> Table:
    table = table_of("came", "was due", "outcome", "scan, or why not")
    for run in runs:
        words = ", ".join(run.scans) if run.scans and not run.reason else " ".join((*run.scans, run.reason or ""))
        due = moment(run.due_at) if run.due_at else "by hand"
        table.add_row(moment(run.came_at), due, plain(run.outcome), Text(one_line(words, SENTENCE)))
    return table


def _state(schedule: Schedule) -> Text:
    return Text(one_line(schedule.state.replace("_", " "), SENTENCE), style=STATES.get(schedule.state, ""))


def _kept_in(schedule: Schedule) -> str:
    return f"Prefect: {schedule.deployment}{f', {schedule.slug}' if schedule.slug else ''}"


def _last(schedule: Schedule) -> Text:
    if schedule.is_kept_in_prefect:
        return plain(_kept_in(schedule))
    if schedule.last_scan is None:
        return Text("")
    status = schedule.last_scan.status
    return Text.assemble((status, COLOURS.get(status, "")), f" {moment(schedule.last_scan.created_at)}")
