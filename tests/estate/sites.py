"""The estate's web sites: one real nginx with a virtual host for each, written out as its configuration and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.estate import addresses as at
from tests.estate.zone import ROOT

HEAD = """\
user root;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log warn;
events {{ worker_connections 512; }}
http {{
    access_log {directory}/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    default_type text/html;
"""
CAREFUL = """
        server_tokens off;
        add_header Strict-Transport-Security "max-age=63072000; includeSubDomains" always;
        add_header Content-Security-Policy "default-src 'self'" always;
        add_header X-Content-Type-Options nosniff always;
        add_header X-Frame-Options DENY always;
        add_header Referrer-Policy no-referrer always;
        add_header Permissions-Policy "camera=(), geolocation=()" always;"""
MODERN, OLD = "TLSv1.2 TLSv1.3", "TLSv1 TLSv1.1 TLSv1.2"


@dataclass(frozen=True, slots=True)
class Site:
    """A virtual host: where it listens, for which names, with which certificate, and what its first page holds."""

    folder: str
    places: tuple[str, ...]
    """`address:port`, the address of IPv6 in brackets."""
    names: tuple[str, ...] = ("_",)
    certificate: str | None = None
    protocols: str = MODERN
    extra: str = ""
    index: bool = True


SITES = (
    Site("www", (f"{at.WWW}:443", f"[{at.WEB6}]:443"), (f"www.{ROOT}", ROOT), "good", extra=CAREFUL),
    Site(
        "moved",
        (f"{at.WWW}:80", f"[{at.WEB6}]:80"),
        (f"www.{ROOT}", ROOT),
        extra=f"\n        return 301 https://www.{ROOT}$request_uri;",
    ),
    Site("blog", (f"{at.WWW}:80",), (f"blog.{ROOT}",)),
    Site("expired", (f"{at.EXPIRED}:443",), certificate="expired"),
    Site("selfsigned", (f"{at.SELF_SIGNED}:443",), certificate="self_signed"),
    Site("mismatched", (f"{at.MISMATCHED}:443",), certificate="mismatched"),
    Site("expiring", (f"{at.EXPIRING}:443",), certificate="expiring"),
    Site("files", (f"{at.FILES}:80",), extra="\n        autoindex on;", index=False),
    Site("dev", (f"{at.DEV}:80",)),
    Site("vault", (f"{at.VAULT}:443",), (f"ledger-a91.{ROOT}", f"vault-k27.{ROOT}"), "good", extra=CAREFUL),
    Site("office", (f"{at.OFFICE}:80",)),
    Site("shop", (f"{at.SHOP}:80",)),
)
GIT = {
    ".git/HEAD": "ref: refs/heads/main\n",
    ".git/config": "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n",
    ".git/index": "DIRC",
}


def write(directory: Path, certificates: Path, sites: Sequence[Site] = SITES) -> Sequence[str]:
    """Write the configuration and the pages of sites, `files` and `dev` among them; returns nginx's words."""
    for site in sites:
        folder = directory / site.folder
        folder.mkdir(parents=True)
        if site.index:
            page = f"<!doctype html><html><head><title>{site.folder}</title></head><body>{site.folder}</body></html>\n"
            (folder / "index.html").write_text(page)
    (directory / "files" / "minutes.txt").write_text("what was said\n")
    for name, text in GIT.items():
        (directory / "dev" / name).parent.mkdir(exist_ok=True)
        (directory / "dev" / name).write_text(text)
    blocks = "".join(_block(site, directory, certificates) for site in sites)
    configuration = directory / "nginx.conf"
    configuration.write_text(f"{HEAD.format(directory=directory)}{blocks}}}\n")
    return ["-p", str(directory), "-e", "stderr", "-c", str(configuration), "-g", "daemon off;"]


def _block(site: Site, directory: Path, certificates: Path) -> str:
    ssl = " ssl" if site.certificate else ""
    lines = [f"listen {place}{ssl};" for place in site.places]
    lines += [f"server_name {' '.join(site.names)};", f"root {directory / site.folder};"]
    if site.certificate:
        stem = certificates / site.certificate
        lines += [f"ssl_certificate {stem}.pem;", f"ssl_certificate_key {stem}.key;"]
        lines += [f"ssl_protocols {site.protocols};"]
    body = "".join(f"\n        {line}" for line in lines)
    return f"    server {{{body}{site.extra}\n    }}\n"
