"""The flags of tools that older policies gave as text (`optimization_flags`): those that may be given, as our options.

Each means what the tool's manual says of it. Whatever is not in the table is refused: flags never reach a tool.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from footprint.faults import Fault

FIELD = "optimization_flags"
MOST_FLAGS = 64
TIMINGS = ("paranoid", "sneaky", "polite", "normal", "aggressive", "insane")
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "": 1}


@dataclass(frozen=True, slots=True)
class Chosen:
    """An option that a flag sets: of a module, or of the policy itself where `module` is empty."""

    module: str
    option: str
    value: Any
    field: str
    """The place of the flag that sets it."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag: whose it is, and how its value is read; one that takes no value is read from the empty text."""

    module: str
    read: Callable[[str], dict[str, Any]]
    takes_value: bool = True


def _whole(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise ValueError("a whole number")
    return int(text)


def _number(option: str) -> Callable[[str], dict[str, Any]]:
    return lambda text: {option: _whole(text)}


def _fixed(option: str, value: Any) -> Callable[[str], dict[str, Any]]:
    return lambda text: {option: value}


def _timing(text: str) -> dict[str, Any]:
    if text.lower() in TIMINGS:
        text = str(TIMINGS.index(text.lower()))
    if not re.fullmatch("[0-5]", text):
        raise ValueError(f"0 to 5, or one of {', '.join(TIMINGS)}")
    # Template 0 waits five minutes between two packets and 1 waits 15 s: no unit would end. Ours goes no slower.
    return {"timing": int(text)} if int(text) >= 2 else {"timing": 2, "max_rate": 1}


def _duration(text: str) -> dict[str, Any]:
    read = re.fullmatch(r"(\d{1,9})(ms|s|m|h|)", text, re.ASCII)
    if not read:
        raise ValueError("a time such as 1800, 90s, 30m or 2h")
    return {"host_timeout": round(int(read[1]) * SECONDS[read[2]])}


def _ports(text: str) -> dict[str, Any]:
    return {"ports": "all" if text == "-" else text}


FLAGS: dict[str, Flag] = {
    "-T": Flag("nmap", _timing),
    "--max-rate": Flag("nmap", _number("max_rate")),
    "--max-retries": Flag("nmap", _number("max_retries")),
    "--host-timeout": Flag("nmap", _duration),
    "--version-intensity": Flag("nmap", _number("version_intensity")),
    "-sS": Flag("nmap", _fixed("technique", "syn"), takes_value=False),
    "-sT": Flag("nmap", _fixed("technique", "connect"), takes_value=False),
    "-p": Flag("", _ports),
    "--top-ports": Flag("", lambda text: {"ports": f"top:{_whole(text)}"}),
    "-r": Flag("zmap", _number("rate")),
    "--rate": Flag("zmap", _number("rate")),
}


def read_flags(said: object) -> tuple[list[Chosen], list[Fault]]:
    """The options that flags set, given as text or as a list of text; and which of them are at fault, by place.

    Places count from 0: words of a text, entries of a list.
    """
    words = _words(said)
    if words is None:
        return [], [Fault(FIELD, "text, or a list of text")]
    if len(words) > MOST_FLAGS:
        return [], [Fault(FIELD, f"at most {MOST_FLAGS} words")]
    chosen: list[Chosen] = []
    faults: list[Fault] = []
    for place, flag, text in _flags(words):
        field = f"{FIELD}.{place}"
        try:
            chosen += [Chosen(_named(flag).module, *pair, field) for pair in _named(flag).read(_value(text)).items()]
        except ValueError as error:
            faults.append(Fault(field, str(error)))
    return chosen, faults


def _words(said: object) -> list[tuple[int, str]] | None:
    if isinstance(said, str):
        return list(enumerate(said.split()))
    if isinstance(said, list) and all(isinstance(entry, str) for entry in said):
        return [(place, word) for place, entry in enumerate(said) for word in entry.split()]
    return None


def _flags(words: Sequence[tuple[int, str]]) -> Iterator[tuple[int, str, str | None]]:
    """Each flag's place, its name, and its value: None where it should have one and has none."""
    left = iter(words)
    for place, word in left:
        name, attached = _split(word)
        is_whole = attached is not None or name not in FLAGS or not FLAGS[name].takes_value
        yield place, name, (attached or "") if is_whole else next(left, (place, None))[1]


def _split(word: str) -> tuple[str, str | None]:
    """A word as flag and value: `--rate=10`, `-T4`, `-p80`; the value is None where none is attached."""
    if word in FLAGS:
        return word, None
    if word.startswith("--"):
        name, _, value = word.partition("=")
        return name, value
    return word[:2], word[2:]


def _named(name: str) -> Flag:
    if name not in FLAGS:
        raise ValueError(f"is no flag that may be given; those are {', '.join(FLAGS)}")
    return FLAGS[name]


def _value(text: str | None) -> str:
    if text is None:
        raise ValueError("needs a value")
    return text
