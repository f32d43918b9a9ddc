"""Keys to the API: random, kept as hashes, compared in constant time by the database's own index on the hash."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from footprint.secret_files import write_secret
from footprint.store.engine import Store
from footprint.store.tables import Token, now

TOKEN_FILE = "token"  # noqa: S105 -- a file name


def digest_of(token: str) -> str:
    """SHA-256 of a token, in hexadecimal. A token has 256 random bits, so no salt or stretching is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def issue_token(session: Session, name: str) -> str:
    """Make a token of 256 random bits, keep its hash and return it: it cannot be shown again."""
    token = secrets.token_urlsafe(32)
    session.add(Token(name=name, digest=digest_of(token), scopes=["admin"]))
    return token


def valid_digests(session: Session) -> frozenset[str]:
    """The hashes of all tokens that have not expired."""
    rows = session.execute(select(Token.digest, Token.expires_at)).all()
    return frozenset(digest for digest, expires in rows if expires is None or expires > now())


def ensure_home_token(store: Store, home: Path) -> tuple[str, bool]:
    """Find or make this home's own token; True says it was made just now. Only the owner may read the file."""
    path = home / TOKEN_FILE
    if path.exists() and (token := path.read_text().strip()):
        with store.write() as session:
            if digest_of(token) not in valid_digests(session):
                session.add(Token(name="home", digest=digest_of(token), scopes=["admin"]))
        return token, False
    with store.write() as session:
        token = issue_token(session, "home")
        write_secret(path, token)
    return token, True
