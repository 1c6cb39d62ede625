"""Routes of the totals: those of the client itself, and for administrators those of all."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response, Security
from pydantic import BaseModel, Field

from wav2lip.serve.errors import Forbidden
from wav2lip.serve.routes import API_KEY, ERROR_RESPONSES, ClientDep, ServiceDep
from wav2lip.serve.usage import Group
from wav2lip.serve.usage.statistics import format_csv, sum_totals

router = APIRouter(prefix="/v1", responses=ERROR_RESPONSES, dependencies=[Security(API_KEY)], tags=["usage"])


class TotalOut(BaseModel):
    """Sums over the jobs of a group."""

    name: str = Field(description="User, day in UTC, or engine.", examples=["2026-03-01"])
    jobs: int
    done: int
    failed: int
    cancelled: int
    video_seconds: float = Field(description="Duration of the results.")
    run_seconds: float = Field(description="From the start of the last run of each job to its end.")
    upload_bytes: int = Field(description="Bytes of uploads; 0 by engine.")


@router.get("/usage", summary="Get totals", response_model=list[TotalOut],
            responses={200: {"content": {"text/csv": {}}}, 403: {"description": "Not an administrator."}})  # fmt: skip
def get_usage(
    service: ServiceDep, client: ClientDep,
    by: Annotated[Group, Query(description="group")] = "day",
    scope: Annotated[Literal["own", "all"], Query(description="your jobs, or those of all clients")] = "own",
    format: Annotated[Literal["json", "csv"], Query(description="format of the response")] = "json",
) -> list[TotalOut] | Response:  # fmt: skip
    """Return totals of your jobs; those of all clients need the key of an administrator (`--admin`)."""
    if scope == "all" and client not in service.settings.admins:
        raise Forbidden("scope=all: needs the key of an administrator; omit it, or start the server with --admin NAME")
    totals = sum_totals(service.database, by, None if scope == "all" else client)
    if format == "csv":
        return Response(format_csv(totals, by), media_type="text/csv")
    return [TotalOut(**vars(total)) for total in totals]
