"""Which units of a scan may begin now: those whose destinations, and whose tool's places, have room for them."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

from pydantic import ValidationError

from footprint.budget import Claim, Held, Load, Request, allowance_of, decide, destinations
from footprint.errors import StoreUnavailable
from footprint.store.ledger import Owner, acquire, claims_now
from footprint.store.scans import Begun
from footprint.store.units import Unit
from tasks.catalogue import tool_named
from tasks.installation import Installation
from tasks.pacing import load_of, too_heavy
from tasks.tool import Tool
from tasks.unit import options_of

NOTHING = Load(0.0, connections=0, fewest=0)


class Gate:
    """Lets units of one scan pass, and claims in their name. `waits` says by module what held those that may not.

    It looks at all claims once a round and decides by them; only a unit that seems to fit costs a transaction, in
    which it is decided again.
    """

    def __init__(self, scan: Begun, here: Installation) -> None:
        self.waits: dict[str, Held] = {}
        self._scan = scan
        self._here = here
        self._allowance = allowance_of(scan.policy, here.settings)
        self._claims: list[Claim] = []
        self._options: dict[str, Any] = {}
        self._tools: dict[str, Tool] = {}

    def look(self) -> None:
        """Begin a round: see what is claimed now, and forget what was waited for."""
        self.waits = {}
        self._tools = {}  # what a module risks may depend on what is installed meanwhile
        # Where the store is away, the last look will do: nothing is claimed before it is back.
        with suppress(StoreUnavailable), self._here.store.read() as session:
            self._claims = claims_now(session)

    def admit(self, unit: Unit) -> bool:
        """True where the unit may begin: what it needs is claimed then, until it is given back."""
        request = self._request(unit)
        if not request.keys:
            return True
        decided = decide(request, self._claims)
        if not isinstance(decided, Held):
            owner = Owner(self._scan.id, self._scan.attempt, unit.module, unit.batch)
            decided = self._here.store.keep(partial(acquire, owner=owner, request=request))
        if isinstance(decided, Held):
            self.waits.setdefault(unit.module, decided)
            return False
        self._claims += [
            Claim(key, decided, request.load.is_sweep, self._scan.id, unit.module, unit.batch) for key in request.keys
        ]
        return True

    def is_bearable(self, unit: Unit) -> bool:
        """False where the unit is heavier than its destinations may ever be sent."""
        load = self._load(unit)
        return load is None or not too_heavy(unit.module, load, self._allowance)

    def _request(self, unit: Unit) -> Request:
        load = self._load(unit)
        # What is too heavy is refused, aloud, by what carries it out.
        is_sent = load is not None and not too_heavy(unit.module, load, self._allowance)
        networks = destinations(unit.records) if is_sent else ()
        places = self._here.settings.tool_limits.get(unit.module)
        return Request(unit.module, networks, load or NOTHING, self._allowance, places)

    def _load(self, unit: Unit) -> Load | None:
        """What the unit would send one destination; None where that is nothing."""
        tool, policy = self._tool(unit.module), self._scan.policy
        try:
            if unit.module not in self._options:
                self._options[unit.module] = options_of(tool, policy, self._here.settings)
        except ValidationError:
            return None
        return load_of(tool, unit.records, self._options[unit.module])

    def _tool(self, name: str) -> Tool:
        if name not in self._tools:
            self._tools[name] = tool_named(name).here(self._here.settings)
        return self._tools[name]
