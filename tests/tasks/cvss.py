"""CVSS base scores, computed from their vectors: what the numbers that modules write down are held against.

Version 3.1's specification, section 7.1 and appendix A; version 2's guide, section 3.2.1.
"""

from __future__ import annotations

from math import prod

WORTH3 = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "PR": {"N": 0.85, "L": 0.62, "H": 0.27},
    "UI": {"N": 0.85, "R": 0.62},
    "C": {"H": 0.56, "L": 0.22, "N": 0.0},
    "I": {"H": 0.56, "L": 0.22, "N": 0.0},
    "A": {"H": 0.56, "L": 0.22, "N": 0.0},
}
CHANGED_PR = {"N": 0.85, "L": 0.68, "H": 0.5}
WORTH2 = {
    "AV": {"L": 0.395, "A": 0.646, "N": 1.0},
    "AC": {"H": 0.35, "M": 0.61, "L": 0.71},
    "Au": {"M": 0.45, "S": 0.56, "N": 0.704},
    "C": {"N": 0.0, "P": 0.275, "C": 0.66},
    "I": {"N": 0.0, "P": 0.275, "C": 0.66},
    "A": {"N": 0.0, "P": 0.275, "C": 0.66},
}


def base_score(vector: str) -> float:
    """The base score of a vector of version 3.1, or of version 2, which has no prefix."""
    if not vector.startswith("CVSS:"):
        return _version2(_metrics(vector))
    version, _, rest = vector.partition("/")
    assert version == "CVSS:3.1"
    return _version3(_metrics(rest))


def severity_word(vector: str, score: float) -> str:
    """The word for a score: version 2 knows no critical (NVD's ratings)."""
    if vector.startswith("CVSS:") and score >= 9:
        return "critical"
    return next(word for least, word in ((7, "high"), (4, "medium"), (0.1, "low"), (0, "none")) if score >= least)


def _metrics(text: str) -> dict[str, str]:
    return dict(metric.split(":") for metric in text.split("/"))


def _version3(metrics: dict[str, str]) -> float:
    is_changed = metrics.pop("S") == "C"
    worth = {name: WORTH3[name][value] for name, value in metrics.items()}
    if is_changed:
        worth["PR"] = CHANGED_PR[metrics["PR"]]
    lost = 1 - prod(1 - worth[name] for name in "CIA")
    impact = 7.52 * (lost - 0.029) - 3.25 * (lost - 0.02) ** 15 if is_changed else 6.42 * lost
    if impact <= 0:
        return 0.0
    exploitability = 8.22 * prod(worth[name] for name in ("AV", "AC", "PR", "UI"))
    return _rounded_up(min((1.08 if is_changed else 1) * (impact + exploitability), 10))


def _rounded_up(value: float) -> float:
    whole = round(value * 100_000)
    return (whole if whole % 10_000 == 0 else (whole // 10_000 + 1) * 10_000) / 100_000


def _version2(metrics: dict[str, str]) -> float:
    worth = {name: WORTH2[name][value] for name, value in metrics.items()}
    impact = 10.41 * (1 - prod(1 - worth[name] for name in "CIA"))
    exploitability = 20 * prod(worth[name] for name in ("AV", "AC", "Au"))
    return round((0.6 * impact + 0.4 * exploitability - 1.5) * (1.176 if impact else 0), 1)
