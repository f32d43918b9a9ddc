"""Endpoints as programs may be told of them: checked once more, just before their words are written into a file."""

from __future__ import annotations

from ipaddress import ip_address

from footprint.errors import InvalidTarget
from footprint.records import Endpoint
from footprint.target import parse_name


def sound(record: object, module: str) -> Endpoint:
    """The endpoint that a record is. Raises `InvalidTarget` where its address, port or name is none."""
    if not isinstance(record, Endpoint):
        raise InvalidTarget(f"{module}: takes web services only")
    try:
        ip_address(record.address)
    except ValueError:
        raise InvalidTarget(f"{module}: a target of this unit is no address") from None
    if not 0 < record.port < 65536:
        raise InvalidTarget(f"{module}: a target of this unit has no port")
    if record.name is not None and parse_name(record.name) != record.name:
        raise InvalidTarget(f"{module}: a name of this unit is not in its usual spelling")
    return record
