"""Client identity: by API key; without keys by the browser's cookie, else by IP address."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import HTTPConnection

from wav2lip.errors import InputError
from wav2lip.files import write_atomically
from wav2lip.serve.auth.api_keys import KeyFile, hash_key
from wav2lip.serve.db.database import Database
from wav2lip.serve.db.tables import SecretRecord
from wav2lip.serve.settings import SECONDS_PER_HOUR, Settings

COOKIE = "wav2lip"
LOGIN_MAX_AGE_S = 30 * 24 * SECONDS_PER_HOUR
VISITOR_MAX_AGE_S = 365 * 24 * SECONDS_PER_HOUR  # without keys
SECRET_BYTES = 32


@dataclass(frozen=True)
class Client:
    """Sender of a request."""

    name: str | None  # None: not authenticated
    rate_limit_key: str  # requests with the same key share a rate limit


class ClientResolver:
    """Resolve requests to clients; issue and verify signed cookies."""

    def __init__(self, settings: Settings, database: Database | None = None):
        """Load keys and cookie secret. Raises: InputError if the key file cannot be used.

        database: several servers of it use the same secret.
        """
        self.keys = None if settings.keys is None else KeyFile(settings.keys)
        path = settings.data / "secret"
        if database is not None and database.is_shared:
            self._secret = _load_shared_secret(path, database)
        else:
            self._secret = _load_secret(path)

    def resolve(self, request: HTTPConnection) -> Client:
        """Return the client that sent a request."""
        address = "unknown" if request.client is None else request.client.host
        cookie_text = self._verify_cookie(request.cookies.get(COOKIE, ""))
        if self.keys is None:
            name = f"visitor {cookie_text}" if cookie_text else f"address {address}"
            return Client(name, f"address {address}")
        client_name = self.keys.find_client(_read_key(request)) or self._verify_login(cookie_text)
        return Client(client_name, f"address {address}" if client_name is None else f"key {client_name}")

    def create_visitor_cookie(self) -> str:
        """Create a cookie with a random identity."""
        return self._sign_cookie(secrets.token_urlsafe(16), VISITOR_MAX_AGE_S)

    def create_login_cookie(self, key: str) -> str | None:
        """Create a cookie for the owner of a key; None for an unknown key."""
        name = None if self.keys is None else self.keys.find_client(key)
        return None if name is None else self._sign_cookie(f"{name} {_fingerprint(hash_key(key))}", LOGIN_MAX_AGE_S)

    def _verify_login(self, cookie_text: str | None) -> str | None:
        """Return the client of a login cookie while its key is in the file, so that revoking a key ends the login."""
        name, _, fingerprint = (cookie_text or "").partition(" ")
        assert self.keys is not None
        key_hash = self.keys.hashes().get(name)
        is_valid = key_hash is not None and hmac.compare_digest(_fingerprint(key_hash), fingerprint)
        return name if is_valid else None

    def _sign_cookie(self, text: str, max_age_s: float) -> str:
        content = f"{int(time.time() + max_age_s)} {text}"
        return f"{content.encode().hex()}.{self._signature(content)}"

    def _verify_cookie(self, cookie: str) -> str | None:
        """Return the text of a valid cookie; None if it is forged, malformed or expired."""
        encoded, _, signature = cookie.partition(".")
        try:
            content = bytes.fromhex(encoded).decode()
        except ValueError:
            return None
        if not signature.isascii() or not hmac.compare_digest(self._signature(content), signature):
            return None
        expires, _, text = content.partition(" ")
        return text if time.time() < int(expires) else None

    def _signature(self, content: str) -> str:
        return hmac.new(self._secret, content.encode(), hashlib.sha256).hexdigest()


def _fingerprint(key_hash: str) -> str:
    return hashlib.sha256(key_hash.encode()).hexdigest()[:32]


def _read_key(request: HTTPConnection) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")


def _load_shared_secret(path: Path, database: Database) -> bytes:
    """Read the secret that all servers of a database use; the first one stores that of its file."""
    with database.write_session() as session:
        record = session.get(SecretRecord, COOKIE)
        if record is None:
            record = SecretRecord(name=COOKIE, value=_load_secret(path))
            session.add(record)
        return record.value


def _load_secret(path: Path) -> bytes:
    """Read the secret that signs cookies; create it on the first start. Raises: InputError for a short secret."""
    if not path.exists():
        write_atomically(path, _create_secret)
    secret = path.read_bytes()
    if len(secret) < SECRET_BYTES:
        raise InputError(f"{path}: has {len(secret)} bytes instead of {SECRET_BYTES}; delete it, which ends all logins")
    return secret


def _create_secret(path: Path) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(secrets.token_bytes(SECRET_BYTES))
