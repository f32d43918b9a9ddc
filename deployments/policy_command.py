"""`pulsar policy`: policies of one's own, by way of the API; and what is known of them where no platform runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from deployments import show
from deployments.answers import Policy
from deployments.home import home_store, read_settings, running_api
from deployments.policy_files import read_policy_file
from footprint.policy import INLINE, PRESETS, ScanPolicy
from footprint.settings import Settings

policy_app = typer.Typer(help="Policies of your own: how scans are done.", no_args_is_help=True)
MOST_LISTED = 10_000
Name = Annotated[str, typer.Argument(help="The policy's name, as `pulsar policies` lists it.")]


@policy_app.command("show")
def show_policy(
    name: Name, json: Annotated[bool, typer.Option("--json", help="Print JSON: a copy to make another of.")] = False
) -> None:
    """Show all that a policy says."""
    with running_api(read_settings()) as api:
        policy = api.policy(name)
    if json:
        show.as_json(policy.as_sent())
    else:
        show.policy_details(policy)


@policy_app.command("add")
def add_policy(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file with it: JSON, or TOML; - is stdin, JSON.")],
    replace: Annotated[bool, typer.Option("--replace", help="It is there already, and is to say this now.")] = False,
) -> None:
    """Keep a policy for scans to name. Scans that were asked for keep what theirs said."""
    said = read_policy_file(file)
    with running_api(read_settings()) as api:
        kept = api.replace_policy(str(said.get("name", "")), said) if replace else api.add_policy(said)
    show.say(show.plain(kept.name))


@policy_app.command("rm")
def remove_policy(name: Name) -> None:
    """Forget a policy of your own."""
    with running_api(read_settings()) as api:
        api.delete_policy(name)
    show.note("It is gone. Scans that were asked for with it keep what it said.")


def policies_here(settings: Settings) -> list[Policy]:
    """The policies that this home's platform would list."""
    from footprint.store.policies import policies_page

    with home_store(settings) as store, store.read() as session:
        known, _ = policies_page(session, 0, MOST_LISTED)
    return [Policy.model_validate(one.policy.model_dump(mode="json") | {"shipped": one.is_shipped}) for one in known]


def policy_here(settings: Settings, name: str) -> ScanPolicy:
    """The policy that this home's platform would find under that name. Raises `InvalidPolicy`."""
    if name in PRESETS:
        return PRESETS[name]
    from tasks.policies import usable_policy

    with home_store(settings) as store, store.read() as session:
        return usable_policy(session, name)


def policy_in_file(said: dict[str, Any]) -> ScanPolicy:
    """The policy that a scan is to bring along. Raises `InvalidPolicy`."""
    from tasks.policies import policy_of

    return policy_of(said, name=INLINE, where="policy")
