"""Refusals as HTTP: JSON with one sentence, whatever went wrong, and never a traceback."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from face_detection.interface import DetectorError
from wav2lip.errors import InputError
from wav2lip.serve.refusals import Refusal

MOST = 5  # faults of one request that are told

log = logging.getLogger(__name__)


def answer(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The sentence as every error of the API has it."""
    return JSONResponse({"error": sentence}, status, headers)


def add_answers(app: FastAPI) -> None:
    """Turn what the application's functions raise into answers."""
    app.add_exception_handler(InputError, _refused)
    app.add_exception_handler(DetectorError, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(ValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _fault)


def _refused(_request: Request, error: Exception) -> JSONResponse:
    status = error.status if isinstance(error, Refusal) else 422
    return answer(status, str(error))


def _not_valid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError | ValidationError)
    faults = []
    for fault in error.errors()[:MOST]:
        place = ".".join(str(part) for part in fault["loc"] if part not in ("body", "query", "path"))
        faults.append(f"{place}: {fault['msg']}" if place else str(fault["msg"]))
    return answer(422, "; ".join(faults))


def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return answer(error.status_code, str(error.detail), dict(error.headers or {}))


def _fault(_request: Request, error: Exception) -> JSONResponse:
    log.error("a request failed by a fault of this program", exc_info=error)
    return answer(500, "the server failed by a fault of its own; its log says how")
