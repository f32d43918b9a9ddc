"""One scan from the command line: the platform for it, the request, the wait, the results."""

from __future__ import annotations

import time
import uuid
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from deployments import found, show
from deployments.answers import Scan
from deployments.client import Api, patiently
from deployments.home import find_api, is_claimed, token_of
from deployments.policy_command import policy_here, policy_in_file
from deployments.progress import watching
from footprint.admission import admit
from footprint.errors import PulsarError, RequestError, TransientError
from footprint.settings import Settings

CLAIM_SECONDS = 240.0
"""How long another command may take to start this home's platform."""
LOOK_SECONDS = 2.0
CANCEL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be scanned, and how."""

    target: str
    policy: str | dict[str, Any]
    """A policy's name, or one for this scan alone, in JSON's values."""
    comment: str


def ask(settings: Settings, wish: Wish) -> Scan:
    """Ask a running platform for a scan, and leave."""
    api = find_api(settings)
    if api is None:
        raise RequestError("no platform is running that would carry the scan out", hint="start one: `pulsar up`")
    with api:
        return _ask(api, wish)


def carry_out(settings: Settings, wish: Wish, *, json: bool) -> Scan:
    """Ask for a scan, follow it to its end, print what was found. Without a platform, one is started and stopped."""
    with ExitStack() as stack:
        running = find_api(settings) or _started_by_another(settings)
        if running is None:
            _refuse_early(settings, wish)
        api = stack.enter_context(running or _embedded(settings, stack))
        asked = _ask(api, wish)
        ended = _follow(api, asked, embedded=running is None)
        _print_results(api, ended, json=json)
        if running is None:
            _let_others_finish(api, asked)
    return ended


def _refuse_early(settings: Settings, wish: Wish) -> None:
    """Refuse what the platform would refuse, before it is started."""
    policy = wish.policy if isinstance(wish.policy, str) else policy_in_file(wish.policy)
    find = partial(policy_here, settings)
    admit(settings, target=wish.target, policy=policy, comment=wish.comment, origin="api", find=find)


def _ask(api: Api, wish: Wish) -> Scan:
    key = str(uuid.uuid4())
    return patiently(lambda: api.start_scan(wish.target, wish.policy, wish.comment, key), show.telling())


def _embedded(settings: Settings, stack: ExitStack) -> Api:
    with show.starting() as tell:
        from deployments.platform import Platform

        addresses = stack.enter_context(Platform(settings, on_event=tell, free_ports=True))
    return Api(addresses.api, token_of(settings))


def _started_by_another(settings: Settings) -> Api | None:
    """The platform that another command is starting for this home at this moment, once it answers."""
    tell = show.telling()
    give_up = time.monotonic() + CLAIM_SECONDS
    while is_claimed(settings) and time.monotonic() < give_up:
        tell("Another command is starting or stopping this home's platform; waiting for it.")
        if (api := find_api(settings)) is not None:
            return api
        time.sleep(LOOK_SECONDS / 4)
    return None


def _follow(api: Api, asked: Scan, *, embedded: bool) -> Scan:
    last = asked
    try:
        with watching() as bar:
            for last in api.watch(asked.id, bar.trouble):
                bar.update(last)
    except (KeyboardInterrupt, SystemExit):
        if embedded:
            show.note("Stopping the scan, and the platform that was started for it.")
            _call_off(api, asked)
        else:
            show.note(f"The scan goes on. `pulsar status {asked.id}` shows it.")
        raise
    except TransientError:
        show.note(f"What became of the scan is not known yet. Later, `pulsar status {asked.id}` shows it.")
        raise
    return last


def _call_off(api: Api, asked: Scan) -> None:
    """End the scan with the platform that was started for it: it would go on with the next one otherwise."""
    with suppress(PulsarError):
        api.cancel(asked.id)
        give_up = time.monotonic() + CANCEL_SECONDS
        while not api.scan(asked.id).is_over and time.monotonic() < give_up:
            time.sleep(LOOK_SECONDS / 8)


def _print_results(api: Api, ended: Scan, *, json: bool) -> None:
    tell = show.telling()
    services = patiently(lambda: api.services(ended.id), tell)
    services.sort(key=found.service_order)
    findings = patiently(lambda: api.findings(ended.id), tell)
    if json:
        lists = {
            "services": [service.as_sent() for service in services],
            "findings": [finding.as_sent() for finding in findings],
        }
        show.as_json(ended.as_sent() | lists)
        return
    names = patiently(lambda: api.names(ended.id), tell)
    hosts = patiently(lambda: api.hosts(ended.id), tell) if names else []
    technologies = patiently(lambda: api.technologies(ended.id), tell)
    found.results(ended, found.Found(services, names, hosts, technologies, findings))


def _let_others_finish(api: Api, first: Scan) -> None:
    """Wait for what other commands asked of this platform meanwhile: it would end with the platform."""
    tell = show.telling()
    while any(_is_later(other, first) for other in patiently(lambda: api.scans(None, 1), tell).results):
        tell("Another scan runs on the platform started for this one; waiting for it. Ctrl-C stops it.")
        time.sleep(LOOK_SECONDS)


def _is_later(other: Scan, first: Scan) -> bool:
    if other.is_over:
        return False
    return datetime.fromisoformat(other.created_at) > datetime.fromisoformat(first.created_at)
