"""Which part of a name somebody registered, by the public suffix list that the library ships (publicsuffix.org)."""

from __future__ import annotations

from functools import cache

from publicsuffixlist import PublicSuffixList


@cache
def _list() -> PublicSuffixList:
    return PublicSuffixList(only_icann=True)


def registered_domain(name: str) -> str | None:
    """The domain below a public suffix; None for a suffix itself. The last label is one where the list has none.

    Suffixes that companies run for their customers (`azurewebsites.net`) count as their companies' domains.
    """
    domain = _list().privatesuffix(name, accept_unknown=True)
    return domain if isinstance(domain, str) else None
