"""HTTP errors of the API: input errors with a status code.

The code that checks a condition writes its message; error_handlers.py renders it as JSON.
"""

from __future__ import annotations

from wav2lip.errors import InputError


class ApiError(InputError):
    """Request that the server rejects."""

    status = 422


class Unauthorized(ApiError):
    """Missing or invalid API key."""

    status = 401


class Forbidden(ApiError):
    """Request from a foreign host or origin."""

    status = 403


class NotFound(ApiError):
    """Unknown id, or one that belongs to another client."""

    status = 404


class Conflict(ApiError):
    """Request that conflicts with the resource's current state."""

    status = 409


class PayloadTooLarge(ApiError):
    """Request body or file above the size limit."""

    status = 413


class RateLimited(ApiError):
    """Request above a client's limit of requests or jobs."""

    status = 429


class Unavailable(ApiError):
    """Server without capacity at present, for any client."""

    status = 503


class StorageError(Unavailable):
    """Storage of files that does not respond; its reason, which may contain addresses, is in the log only."""

    def __init__(self) -> None:
        super().__init__("the storage of files does not respond; try again later")
