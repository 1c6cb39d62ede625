"""Exception handlers: every error becomes JSON with one sentence, never a traceback."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from face_detection.interface import DetectorError
from wav2lip.errors import InputError
from wav2lip.serve.db.database import OUTAGES
from wav2lip.serve.errors import ApiError

MAX_REPORTED_ERRORS = 5  # validation errors per response

log = logging.getLogger(__name__)


def error_response(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Build the body that every error of the API has."""
    return JSONResponse({"error": message}, status, headers)


def add_error_handlers(app: FastAPI) -> None:
    """Register a handler for each kind of exception that routes raise."""
    app.add_exception_handler(InputError, _input_error)
    app.add_exception_handler(DetectorError, _input_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(ValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)
    for outage in OUTAGES:
        app.add_exception_handler(outage, _outage)
    app.add_exception_handler(ClientDisconnect, _disconnect)
    app.add_exception_handler(Exception, _internal_error)


def _input_error(_request: Request, error: Exception) -> JSONResponse:
    status = error.status if isinstance(error, ApiError) else 422
    return error_response(status, str(error))


def _validation_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError | ValidationError)
    return error_response(422, describe_validation_error(error))


def describe_validation_error(error: RequestValidationError | ValidationError) -> str:
    """Return the first errors with their fields as one sentence."""
    messages = []
    for detail in error.errors()[:MAX_REPORTED_ERRORS]:
        field = ".".join(str(key) for key in detail["loc"] if key not in ("body", "query", "path"))
        messages.append(f"{field}: {detail['msg']}" if field else str(detail["msg"]))
    return "; ".join(messages)


def _http_exception(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return error_response(error.status_code, str(error.detail), dict(error.headers or {}))


def _outage(_request: Request, error: Exception) -> JSONResponse:
    log.error("the database is unreachable", exc_info=error)
    return error_response(503, "the database is unreachable; try again later")


def _disconnect(_request: Request, _error: Exception) -> JSONResponse:
    """Nobody receives this response; a client that ends its uploads early must not fill the log with tracebacks."""
    return error_response(400, "the request ended before its body was complete; send it again")


def _internal_error(_request: Request, error: Exception) -> JSONResponse:
    log.error("internal error while handling a request", exc_info=error)
    return error_response(500, "internal server error; see the server's log")
