"""What a platform leaves in its home for the commands of the same user: where it listens, its token, its secret."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field, ValidationError

from deployments.client import Api
from footprint.errors import InstallationError, RequestError
from footprint.settings import Settings

if TYPE_CHECKING:
    from footprint.store import Store

TOKEN = re.compile(r"^[\x21-\x7e]{1,512}$")


class Running(BaseModel):
    """`platform.json` of a home: the platform that runs there, and where its parts listen."""

    pid: int = Field(gt=0)
    api: str
    prefect_api: str


def find_running(settings: Settings) -> Running | None:
    """The platform that this home's `platform.json` tells of, where its process is alive."""
    try:
        running = Running.model_validate_json((settings.home / "platform.json").read_bytes())
        os.kill(running.pid, 0)
    except (ValidationError, ProcessLookupError, FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise InstallationError(
            "this home's platform belongs to another user", hint="set PULSAR_API_URL and PULSAR_API_TOKEN"
        ) from None
    return running


def is_claimed(settings: Settings) -> bool:
    """Whether a platform of this home is running, starting or stopping: it holds the home's lock meanwhile."""
    try:
        with (settings.home / "platform.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def find_api(settings: Settings) -> Api | None:
    """The API that `PULSAR_API_URL` names, or that of the platform running for this home; None where there is none.

    Without either nothing is asked: the token must not go to whoever happens to listen on the usual port.
    """
    if settings.api_url:
        return Api(settings.api_url, token_of(settings)).require()
    running = find_running(settings)
    if running is None:
        return None
    api = Api(running.api, token_of(settings))
    return api if api.is_there() else None


def running_api(settings: Settings) -> Api:
    """The API of `find_api`. Raises `InstallationError` where there is none."""
    api = find_api(settings)
    if api is None:
        raise InstallationError(
            "no platform is running for this home", hint="start one with `pulsar up`, or set PULSAR_API_URL"
        )
    return api


@contextlib.contextmanager
def home_store(settings: Settings) -> Iterator[Store]:
    """This home's store, brought to this version's shape, for as long as the block lasts."""
    # SQLAlchemy takes a while to import: most verbs do without it.
    from footprint.store import migrate, open_store

    migrate(settings.store_url)
    store = open_store(settings.store_url)
    try:
        yield store
    finally:
        store.close()


def has_token(settings: Settings) -> bool:
    """Whether this home has a token already: the platform makes it at its first start."""
    return (settings.home / "token").exists()


def token_of(settings: Settings) -> str:
    """The token to send: `PULSAR_API_TOKEN`, or the one the platform left in its home at its first start."""
    token = (settings.api_token or _secret(settings.home / "token")).strip()
    if not TOKEN.match(token):
        raise RequestError(
            "there is no API token for this home",
            hint="the platform makes one at its first start (`pulsar up`); for another machine's, set PULSAR_API_TOKEN",
        )
    return token


def prefect_environment(settings: Settings) -> dict[str, str]:
    """What a worker needs in its environment to reach this home's Prefect server; nothing where one is named there."""
    if os.environ.get("PREFECT_API_URL"):
        return {}
    running = find_running(settings)
    if running is None:
        raise InstallationError(
            "no platform is running for this home", hint="start one with `pulsar up`, or set PREFECT_API_URL"
        )
    secret = _secret(settings.home / "prefect-auth").strip()
    return {"PREFECT_API_URL": running.prefect_api} | ({"PREFECT_API_AUTH_STRING": secret} if secret else {})


def _secret(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        try:
            return path.read_text(errors="replace")
        except PermissionError:
            raise InstallationError(
                f"{path.name} of this home may not be read by this user", hint="run as the user that started Pulsar"
            ) from None
    return ""


def read_settings() -> Settings:
    """Read `PULSAR_*`, or raise `RequestError` that names the variable at fault and not what is in it."""
    try:
        return Settings()
    except ValidationError as error:
        names = sorted({f"PULSAR_{part['loc'][0]}".upper() for part in error.errors(include_input=False)})
        raise RequestError(f"not understood in the environment: {', '.join(names)}") from None
