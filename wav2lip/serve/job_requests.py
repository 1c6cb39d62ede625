"""Requests of jobs: a schema for each engine, told apart by the field `engine`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json

from wav2lip.engines import SADTALKER, WAV2LIP
from wav2lip.errors import InputError
from wav2lip.serve.db.tables import MAX_NAME
from wav2lip.serve.engines.registry import EngineRegistry
from wav2lip.serve.jobs.options import SCHEMAS
from wav2lip.serve.schemas import EXAMPLE_ID

MAX_VOICES = 8  # audio files of a job
REF = "#/components/schemas/{model}"
ROLES = ("face", "audio", "reference")  # fields with an upload
MAX_FILES = len(ROLES) + MAX_VOICES - 1  # of a form
FILE = {"type": "string", "format": "binary"}
UploadId = Annotated[str, Field(examples=[EXAMPLE_ID])]
ModelName = Annotated[str, Field(description="Name from /v1/models; empty: the default one.", max_length=MAX_NAME)]


class LipSyncJobIn(BaseModel):
    """Job of the Wav2Lip engine: lip-sync a video or an image to audio."""

    model_config = ConfigDict(extra="forbid")

    engine: Literal["wav2lip"] = "wav2lip"
    face: UploadId = Field(description="Id of an upload with a face: a video or an image.")
    audio: UploadId | Annotated[list[UploadId], Field(min_length=1, max_length=MAX_VOICES)] = Field(
        description="Id of an upload with audio; several, with the option faces such as 0,1: one of each face."
    )
    model: ModelName = ""
    options: SCHEMAS[WAV2LIP] = Field(default_factory=SCHEMAS[WAV2LIP])  # type: ignore[valid-type]


class SadTalkerJobIn(BaseModel):
    """Job of the SadTalker engine: animate a photo."""

    model_config = ConfigDict(extra="forbid")

    engine: Literal["sadtalker"]
    face: UploadId = Field(description="Id of an upload with a face: a photo, or a video whose first frame is used.")
    audio: UploadId | None = Field(
        None, description="Id of an upload with speech; null with the option idle, or with all motion of a reference."
    )
    reference: UploadId | None = Field(
        None, description="Id of an upload with a video; the option ref_info says which of its motion is taken."
    )
    model: ModelName = ""
    options: SCHEMAS[SADTALKER] = Field(default_factory=SCHEMAS[SADTALKER])  # type: ignore[valid-type]


JobIn = LipSyncJobIn | SadTalkerJobIn
REQUESTS: Mapping[str, type[JobIn]] = {WAV2LIP: LipSyncJobIn, SADTALKER: SadTalkerJobIn}


def parse_json(text: str | bytes, field: str) -> Any:
    """Parse JSON. Raises: InputError."""
    try:
        return from_json(text)
    except ValueError as error:
        raise InputError(f"{field}: is not JSON ({error}); send a JSON object") from error


def parse_job_request(values: object, engines: EngineRegistry) -> JobIn:
    """Build a request from the values of its fields.

    Raises: InputError for an engine that the server does not have, ValidationError for invalid values.
    """
    engine = values.get("engine", WAV2LIP) if isinstance(values, dict) else WAV2LIP
    engines.get(str(engine))
    return REQUESTS[engine].model_validate(values)


def parse_form_fields(text: Mapping[str, str], roles: Sequence[str], engines: EngineRegistry) -> JobIn:
    """Build a request from the text fields of a form; ids of uploads are empty.

    text: fields engine, model and options; empty ones have their defaults. roles: fields with an upload.
    Raises: as `parse_job_request`; InputError for an upload that the engine does not use.
    """
    values: dict[str, Any] = {name: value for name, value in text.items() if value}
    if "options" in values:
        values["options"] = parse_json(values["options"], "options")
    fields = REQUESTS.get(values.get("engine", WAV2LIP), LipSyncJobIn).model_fields
    job_in = parse_job_request({**values, **{role: "" for role in ROLES if role in fields}}, engines)
    for role in roles:
        if role not in fields:
            raise InputError(f"{role}: is not used by engine={job_in.engine}; remove it")
    return job_in


def upload_ids(job_in: JobIn) -> dict[str, list[str]]:
    """Return the ids of the uploads of a request by role."""
    values = {role: getattr(job_in, role, None) for role in ROLES}
    return {role: value if isinstance(value, list) else [value] for role, value in values.items() if value is not None}


def describe_requests(build: Callable[[], dict[str, Any]], engines: Sequence[str]) -> dict[str, Any]:
    """Return an OpenAPI document whose jobs are those of the engines of a server.

    build: returns the document with any requests.
    """
    document = build()
    models = {name: REQUESTS[name] for name in engines}
    for model in models.values():
        schema = model.model_json_schema(ref_template=REF)
        document["components"]["schemas"] |= {**schema.pop("$defs"), model.__name__: schema}
    refs = {name: REF.format(model=model.__name__) for name, model in models.items()}
    union: dict[str, Any] = {"oneOf": [{"$ref": ref} for ref in refs.values()]}
    union["discriminator"] = {"propertyName": "engine", "mapping": refs}
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]
    body["content"] = {
        "multipart/form-data": {"schema": _form_schema(engines)}, "application/json": {"schema": union}
    }  # fmt: skip
    return document


def _form_schema(engines: Sequence[str]) -> dict[str, Any]:
    upload = {"oneOf": [FILE, {"type": "string"}], "description": "a file, or the id of an upload"}
    uploads = {"type": "array", "items": upload, "minItems": 1, "maxItems": MAX_VOICES,
               "description": "audio; repeated, with the option faces such as 0,1: one of each face"}  # fmt: skip
    options = {"type": "string", "description": "options of the engine as JSON", "example": '{"fit": "pingpong"}'}
    used = [role for role in ROLES if any(role in REQUESTS[name].model_fields for name in engines)]
    return {
        "type": "object",
        "required": ["face"],
        "properties": {
            "engine": {"type": "string", "enum": list(engines), "default": WAV2LIP},
            **{role: uploads if role == "audio" else upload for role in used},
            "model": {"type": "string", "description": "model name; default: the first model of the engine"},
            "options": options,
        },
    }
