"""What is wrong with a field that somebody sent: the field and its bound, in words, and never what was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


@dataclass(frozen=True, slots=True)
class Fault:
    """A field, by its place (`modules.nmap.timing`), and what it must be."""

    field: str
    problem: str

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}"


WORDS: dict[str, str] = {
    "missing": "is needed",
    "extra_forbidden": "has a field that is not known here",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} characters",
    "too_long": "at most {max_length} entries",
    "too_short": "at least {min_length} entries",
    "string_pattern_mismatch": "of the form {pattern}",
    "literal_error": "one of {expected}",
    "enum": "one of {expected}",
    "value_error": "{error}",
    "finite_number": "a finite number",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "an object"),
    **dict.fromkeys(("list_type", "tuple_type"), "a list"),
    "string_type": "text",
    **dict.fromkeys(("time_type", "time_parsing"), "a time such as 22:00"),
    **dict.fromkeys(("date_type", "date_parsing"), "a date such as 2026-01-31"),
    **dict.fromkeys(("date_from_datetime_parsing", "date_from_datetime_inexact"), "a date such as 2026-01-31"),
    **dict.fromkeys(("time_delta_type", "time_delta_parsing"), "a duration such as PT4H"),
}
"""pydantic's kinds of errors, and what the field must be; any other kind is said as pydantic says it."""


def faults_of(errors: Sequence[ErrorDetails], where: str = "") -> tuple[Fault, ...]:
    """pydantic's errors as faults of the fields below `where`.

    An unknown field is told of the object that has it, since its name is the caller's text.
    """
    return tuple(_fault(entry["type"], entry["loc"], entry.get("ctx", {}), entry["msg"], where) for entry in errors)


def _fault(kind: str, location: Sequence[str | int], bounds: Mapping[str, Any], said: str, where: str) -> Fault:
    parts = [str(part) for part in location if part != "body"]
    if kind == "extra_forbidden":
        parts = parts[:-1]
    problem = WORDS[kind].format_map({name: _plain(bound) for name, bound in bounds.items()}) if kind in WORDS else said
    return Fault(".".join([where, *parts] if where else parts) or "body", problem)


def _plain(bound: object) -> object:
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound
