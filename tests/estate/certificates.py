"""The estate's certificates: what its own authority issued well, too long ago, for others, or for a few days more."""

from __future__ import annotations

from tests.estate.tls_hosts import Draft
from tests.estate.zone import NEIGHBOURS, ROOT

DRAFTS = {
    # Two of its names are told by it alone.
    "good": Draft((f"www.{ROOT}", ROOT, f"mail.{ROOT}", f"ledger-a91.{ROOT}", f"vault-k27.{ROOT}")),
    "expired": Draft((f"secure.{ROOT}",), since=-400, until=-40),
    "self_signed": Draft((f"selfsigned-8mp.{ROOT}",), self_signed=True),
    "mismatched": Draft((f"www.{NEIGHBOURS}",)),
    "expiring": Draft((f"expiring-6hw.{ROOT}",), since=-80, until=6),
}
