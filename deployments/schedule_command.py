"""`pulsar schedule`: what is scanned again and again, by way of the API."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from deployments import show
from deployments.home import read_settings, running_api
from deployments.policy_files import policy_given
from deployments.schedule_answers import Schedule
from deployments.show_schedules import schedule_details, schedule_list
from footprint.errors import RequestError
from footprint.policy import DEFAULT_POLICY

schedule_app = typer.Typer(help="Scans that come again and again.", no_args_is_help=True)
ScheduleId = Annotated[str, typer.Argument(metavar="ID", help="The schedule's id, as `pulsar schedule list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else on stdout.")]
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@schedule_app.command("add")
def add_schedule(
    target: Annotated[str | None, typer.Argument(help="A name, an address or a network.")] = None,
    asset: Annotated[str | None, typer.Option(help="An asset's id in place of TARGET: each of its roots.")] = None,
    policy: Annotated[str, typer.Option(help="A policy's name, or @FILE with a policy.")] = DEFAULT_POLICY,
    daily: Annotated[bool, typer.Option("--daily", help="Every day.")] = False,
    weekly: Annotated[bool, typer.Option("--weekly", help="On this day of the week.")] = False,
    monthly: Annotated[bool, typer.Option("--monthly", help="On this day of the month.")] = False,
    at: Annotated[str | None, typer.Option(help="With those: a time such as 03:00; else the present one.")] = None,
    cron: Annotated[str | None, typer.Option(help="A cron expression: '0 3 * * 1'.")] = None,
    rrule: Annotated[str | None, typer.Option(help="A rule of RFC 5545: FREQ=MONTHLY;BYDAY=1SA;BYHOUR=3.")] = None,
    every: Annotated[str | None, typer.Option(help="An interval: 90m, 6h, 2d.")] = None,
    timezone: Annotated[str, typer.Option(help="Of which its times are: Europe/Berlin.")] = "UTC",
    overlap: Annotated[str, typer.Option(help="While the last run goes on: skip, or queue.")] = "skip",
    comment: Annotated[str, typer.Option(help="A remark; its scans have it too.")] = "",
    notify: Annotated[
        list[str] | None, typer.Option(metavar="RECEIVER", help="Who is told, in place of the policy's; repeatable.")
    ] = None,
    paused: Annotated[bool, typer.Option("--paused", help="It waits until it is resumed.")] = False,
    json: AsJson = False,
) -> None:
    """Have TARGET scanned again and again."""
    frequencies = [name for name, is_it in (("DAILY", daily), ("WEEKLY", weekly), ("MONTHLY", monthly)) if is_it]
    ways: list[tuple[str, Any]] = [("frequency", name) for name in frequencies]
    interval = _seconds(every) if every is not None else None
    ways += [(name, said) for name, said in (("cron", cron), ("rrule", rrule), ("interval", interval)) if said]
    if len(ways) != 1:
        raise RequestError("say how often, in one way", hint="--daily, --weekly, --monthly, --cron, --rrule or --every")
    said = {"target": target, "asset": asset, "policy": policy_given(policy), "at": at, **dict(ways)}
    said |= {"timezone": timezone, "overlap": overlap, "comment": comment, "active": not paused}
    said |= {"notify": {"to": notify} if notify else None}
    with running_api(read_settings()) as api:
        made = api.add_schedule({name: value for name, value in said.items() if value is not None})
    if json:
        show.as_json(made.as_sent())
        return
    show.say(show.plain(made.id))
    if made.next_runs:
        show.note(f"It comes due first at {show.moment(made.next_runs[0])}.")


@schedule_app.command("list")
def list_schedules(json: AsJson = False) -> None:
    """List schedules, the oldest first."""
    with running_api(read_settings()) as api:
        found = api.schedules()
    if json:
        show.as_json([schedule.as_sent() for schedule in found])
    else:
        schedule_list(found)


@schedule_app.command("show")
def show_schedule(schedule_id: ScheduleId, json: AsJson = False) -> None:
    """Show one schedule, when it comes due, and what became of its last times."""
    with running_api(read_settings()) as api:
        found = api.schedule(schedule_id)
        runs = [] if json or found.is_kept_in_prefect else api.schedule_runs(schedule_id)
    if json:
        show.as_json(found.as_sent())
    else:
        schedule_details(found, runs)


@schedule_app.command("pause")
def pause_schedule(schedule_id: ScheduleId) -> None:
    """Let a schedule come due no more; a scan that runs goes on."""
    _told(_done(schedule_id, "pause"))


@schedule_app.command("resume")
def resume_schedule(schedule_id: ScheduleId) -> None:
    """Have a schedule come due again."""
    _told(_done(schedule_id, "resume"))


@schedule_app.command("run")
def run_schedule(schedule_id: ScheduleId, json: AsJson = False) -> None:
    """Scan now, beside the schedule's times."""
    with running_api(read_settings()) as api:
        scan = api.run_schedule(schedule_id)
    if json:
        show.as_json(scan.as_sent())
    else:
        show.scan_asked(scan)


@schedule_app.command("rm")
def remove_schedule(schedule_id: ScheduleId) -> None:
    """Remove a schedule; its scans stay."""
    with running_api(read_settings()) as api:
        api.delete_schedule(schedule_id)
    show.note("It is gone. Its scans stay.")


def _done(schedule_id: str, verb: str) -> Schedule:
    with running_api(read_settings()) as api:
        return api.change_schedule(schedule_id, verb)


def _told(schedule: Schedule) -> None:
    upcoming = f"; it comes due next at {show.moment(schedule.next_runs[0])}" if schedule.next_runs else ""
    show.say(f"{show.one_line(schedule.state, show.WORD)}{upcoming}")


def _seconds(every: str) -> int:
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", every)
    if found is None:
        raise RequestError("an interval is a number and a unit", hint="90m, 6h, 2d")
    return int(found[1]) * UNITS[found[2]]
