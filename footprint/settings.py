"""What this installation is: read from the environment (`PULSAR_*`) once, at the edge, and passed down."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Settings(BaseSettings):
    """The installation's knobs. Lists are separated by commas; times are in seconds."""

    model_config = SettingsConfigDict(env_prefix="PULSAR_", extra="ignore", frozen=True, env_ignore_empty=True)

    home: Path = Field(default=Path("~/.pulsar"), description="Where this platform keeps its state.")
    api_host: str = Field(default="127.0.0.1", description="Address the API listens on.")
    api_port: int = Field(default=8000, ge=1, le=65535, description="Port of the API.")
    api_url: str | None = Field(default=None, description="Where the `pulsar` command finds the API.")
    api_token: str | None = Field(default=None, description="Token the `pulsar` command sends, instead of the home's.")
    prefect_port: int = Field(default=4200, ge=1, le=65535, description="Port of the embedded Prefect server.")
    database_url: str | None = Field(default=None, description="SQLAlchemy URL of the store; SQLite in the home else.")
    scope_allow: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(), description="Networks that may be scanned although they are special-purpose (RFC 6890)."
    )
    scope_exclude: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Networks, addresses and domains that are never touched."
    )
    require_authorization: bool = Field(
        default=False, description="Whether active scans need an authorisation that their asset carries."
    )
    resolvers: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Name servers to ask, `address` or `address:port`; the system's else."
    )
    own_ports: Annotated[tuple[int, ...], NoDecode] = Field(
        default=(), description="Ports of loopback that the worker itself listens on: not looked at. Set by workers."
    )
    tools_path: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Directories where tools are looked for, before the system's own."
    )
    fence: bool = Field(
        default=False, description="Keep tools to their targets by rules in the kernel's firewall: on or off."
    )
    proxy: str | None = Field(
        default=None,
        description="Proxy for the public services that modules and feeds ask (ct, NVD, …), not for notifications.",
    )
    ct_url: str = Field(default="https://crt.sh/", description="Search of certificate-transparency logs (crt.sh).")
    ripestat_url: str = Field(default="https://stat.ripe.net/data/", description="RIPEstat's data API.")
    nvd_url: str = Field(
        default="https://services.nvd.nist.gov/rest/json/cves/2.0", description="NVD's API 2.0, or a directory."
    )
    epss_url: str = Field(
        default="https://epss.empiricalsecurity.com/epss_scores-current.csv.gz", description="EPSS scores."
    )
    kev_url: str = Field(
        default="https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json",
        description="CISA's catalogue of known exploited vulnerabilities.",
    )
    nvd_api_key: str | None = Field(default=None, description="A key of NVD's: five times the rate.")
    bucket_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Where buckets are looked for, `{bucket}` in each; the three public clouds else."
    )
    nuclei_templates: Path | None = Field(default=None, description="The directory of nuclei's templates.")
    tls_authorities: Path | None = Field(
        default=None, description="PEM file of authorities that are trusted for TLS besides the public ones."
    )
    worker_poll_seconds: float = Field(default=1.0, ge=0.2, le=60, description="How often a worker asks for work.")
    grace_seconds: float = Field(
        default=10.0, ge=0, le=3600, description="What running units get to end when a worker is stopped by SIGTERM."
    )
    scans_at_once: int = Field(default=4, ge=1, le=200, description="Scans that run at the same time (pool limit).")

    schedule_min_interval: int = Field(
        default=900, ge=60, description="Seconds between two runs of a schedule, at least."
    )
    destination_rate: int | None = Field(
        default=None, ge=1, description="Packets a second for one destination, at most, whatever a policy says."
    )
    tool_limits: Annotated[dict[str, Annotated[int, Field(ge=1)]], NoDecode] = Field(
        default={"amass": 1}, description="Units of a tool at once on the installation: `amass=1,nuclei=2`."
    )
    max_addresses: int = Field(
        default=65536, ge=1, le=65536, description="Largest network one scan may cover, whatever its policy says."
    )
    notify_allow: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(), description="Networks where signed webhooks may be although they are special-purpose; http will do."
    )
    public_url: str | None = Field(default=None, description="Where people reach the API: for links in notifications.")
    prefect_ui_url: str | None = Field(default=None, description="Where people reach the Prefect UI, likewise.")
    keep_days: int = Field(default=365, ge=0, description="Days after which an ended scan is forgotten; 0: never.")
    keep_scans: int = Field(default=1000, ge=0, description="Ended scans of one target that are kept; 0: all.")
    keep_run_days: int = Field(
        default=7, ge=0, description="Days for which Prefect keeps runs of maintenance, and of no scan; 0: for ever."
    )
    keep_backups: int = Field(default=7, ge=0, description="Copies of the store that are kept in the home; 0: all.")
    refresh_feeds: bool | None = Field(
        default=None, description="Fetch the feeds daily: on, off; unset, where they were fetched from there once."
    )

    @field_validator("home", mode="after")
    @classmethod
    def _absolute_home(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("scope_allow", "notify_allow", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        return tuple(ip_network(word) for word in _words(value)) if isinstance(value, str) else value

    @field_validator("scope_exclude", "resolvers", "own_ports", "tools_path", "bucket_urls", mode="before")
    @classmethod
    def _word_list(cls, value: object) -> object:
        return _words(value) if isinstance(value, str) else value

    @field_validator("tool_limits", mode="before")
    @classmethod
    def _limits(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        limits = dict(word.partition("=")[::2] for word in _words(value))
        return {name.strip(): limit.strip() for name, limit in limits.items()}

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the store: `PULSAR_DATABASE_URL`, or `pulsar.db` in the home."""
        url = self.database_url or f"sqlite:///{self.home / 'pulsar.db'}"
        for plain in ("postgresql://", "postgres://"):
            if url.startswith(plain):
                return "postgresql+psycopg://" + url.removeprefix(plain)
        return url

    @property
    def work_dir(self) -> Path:
        """Where units of work keep their files while they run."""
        return self.home / "work"

    @property
    def spool_dir(self) -> Path:
        """Where results are kept that the store did not take."""
        return self.home / "spool"


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
