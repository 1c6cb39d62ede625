"""What a client is told when it does not get what it asked for: one sentence, with the status of HTTP."""

from __future__ import annotations

from wav2lip.errors import InputError


class Refusal(InputError):
    """One sentence for the client."""

    status = 422


class NotThere(Refusal):
    """There is no such thing, or it is another client's."""

    status = 404


class NotNow(Refusal):
    """It is there, and cannot be had in its state."""

    status = 409


class TooLarge(Refusal):
    """More bytes than are taken."""

    status = 413


class TooMany(Refusal):
    """More jobs or requests than one client may have."""

    status = 429


class Full(Refusal):
    """The server has no room for anyone at present."""

    status = 503


class NotAllowed(Refusal):
    """A key is needed, or the request comes from where it may not."""

    status = 403


class WhoAreYou(Refusal):
    """A key is needed."""

    status = 401
