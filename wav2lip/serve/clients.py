"""Who asks: a key's owner; without keys a browser by its cookie, and everyone else by address."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import HTTPConnection

from wav2lip.serve.keys import KeyFile, hash_of
from wav2lip.serve.settings import HOUR, Settings

COOKIE = "wav2lip"
LOGGED_IN = 30 * 24 * HOUR  # seconds that a login lasts
REMEMBERED = 365 * 24 * HOUR  # seconds that a browser is known again where there are no keys
SECRET = 32  # bytes


@dataclass(frozen=True)
class Client:
    """Whoever sent a request."""

    name: str | None  # None: a key is needed and was not given
    counted_as: str  # what its requests are counted by


class Clients:
    """Tells clients apart."""

    def __init__(self, settings: Settings):
        """Raises: InputError if the file of keys cannot be used."""
        self.keys = None if settings.keys is None else KeyFile(settings.keys)
        self._secret = _kept_secret(settings.data / "secret")

    def of(self, request: HTTPConnection) -> Client:
        """Who sent a request."""
        address = "unknown" if request.client is None else request.client.host
        said = self._opened(request.cookies.get(COOKIE, ""))
        if self.keys is None:
            return Client(f"visitor {said}" if said else f"address {address}", f"address {address}")
        name = self.keys.name_of(_key_in(request)) or self._logged_in(said)
        return Client(name, f"address {address}" if name is None else f"key {name}")

    def visitor_cookie(self) -> str:
        """A cookie for a browser that has none."""
        return self._sealed(secrets.token_urlsafe(16), REMEMBERED)

    def login_cookie(self, key: str) -> str | None:
        """A cookie for a browser whose user has typed a key; None if it is nobody's."""
        name = None if self.keys is None else self.keys.name_of(key)
        return None if name is None else self._sealed(f"{name} {_short(hash_of(key))}", LOGGED_IN)

    def _logged_in(self, said: str | None) -> str | None:
        """The name in a login cookie, as long as its key is in the file."""
        name, _, known = (said or "").partition(" ")
        assert self.keys is not None
        listed = self.keys.hashes().get(name)
        return name if listed is not None and hmac.compare_digest(_short(listed), known) else None

    def _sealed(self, text: str, seconds: float) -> str:
        content = f"{int(time.time() + seconds)} {text}"
        return f"{content.encode().hex()}.{self._seal(content)}"

    def _opened(self, cookie: str) -> str | None:
        """What a cookie of ours says; None if it is not ours, or old."""
        packed, _, seal = cookie.partition(".")
        try:
            content = bytes.fromhex(packed).decode()
        except ValueError:
            return None
        if not seal.isascii() or not hmac.compare_digest(self._seal(content), seal):
            return None
        until, _, text = content.partition(" ")
        return text if time.time() < int(until) else None

    def _seal(self, content: str) -> str:
        return hmac.new(self._secret, content.encode(), hashlib.sha256).hexdigest()


def _short(known: str) -> str:
    """What ties a login to the hash of its key, so that it ends with it."""
    return hashlib.sha256(known.encode()).hexdigest()[:32]


def _key_in(request: HTTPConnection) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")


def _kept_secret(path: Path) -> bytes:
    """Random bytes that cookies are sealed with, made once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(SECRET))
    except FileExistsError:
        pass
    return path.read_bytes()
