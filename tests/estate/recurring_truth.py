"""What differs in the recurring estate between looks: exactly this, and nothing beside it."""

from __future__ import annotations

SECOND: tuple[str, ...] = ()
FIFTH: tuple[str, ...] = ()
