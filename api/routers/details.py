"""Technologies, certificates, web pages and DNS records, of a scan and of an asset: the same four lists below each."""

from __future__ import annotations

from fastapi import Response

from api.given import Id
from api.paging import Page, PagingDep
from api.reading import ReadingDep
from api.routing import router
from footprint.store.details import (
    CertificateView,
    DnsRecordView,
    TechnologyView,
    View,
    WebPageView,
    details_of_asset,
    details_of_scan,
)

scan_details = router("scans")
asset_details = router("assets")


def _add(path: str, view: type[View], summary: str) -> None:
    """Give scans and assets a route for one kind of detail."""

    async def of_scan(scan_id: Id, paging: PagingDep, reading: ReadingDep) -> Response:
        return await reading(
            lambda session: paging.of(*details_of_scan(session, scan_id, view, paging.offset, paging.limit))
        )

    async def of_asset(asset_id: Id, paging: PagingDep, reading: ReadingDep) -> Response:
        return await reading(
            lambda session: paging.of(*details_of_asset(session, asset_id, view, paging.offset, paging.limit))
        )

    for owned, owner, handler in ((scan_details, "scan", of_scan), (asset_details, "asset", of_asset)):
        owned.add_api_route(
            f"/{{{owner}_id}}/{path}/",
            handler,
            response_model=Page[view],  # type: ignore[valid-type]
            name=f"read_{owner}_{path.replace('-', '_')}",
            description=summary,
        )


_add("technologies", TechnologyView, "The products that services showed to be made with.")
_add("certificates", CertificateView, "The certificates that services presented.")
_add("web-pages", WebPageView, "What web services answered for their first page.")
_add("dns-records", DnsRecordView, "DNS records other than addresses and aliases.")
