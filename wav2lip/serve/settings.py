"""Server settings: one dataclass from whose field metadata the command line is built."""

from __future__ import annotations

import argparse
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from face_detection.build import DETECTORS
from wav2lip.errors import InputError

MIB = 1 << 20  # bytes
SECONDS_PER_HOUR = 3600.0
MAX_MODEL_NAME = 100  # characters
ROOT_PATH = re.compile(r"(/[\w.~-]+)+")
DEFAULT_PORTS = {"http": 80, "https": 443}
POSTGRESQL = "postgresql+psycopg://USER@HOST/NAME"
CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")  # of a URL in a sentence


def parse_origin(origin: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of an origin in lower case, with the default port; None if it is not one."""
    try:
        url = urlsplit(origin)
        port = url.port or DEFAULT_PORTS.get(url.scheme)
    except ValueError:
        return None
    is_origin = url.hostname and not (url.path or url.query or url.fragment or url.username)
    return (url.scheme, url.hostname or "", port) if is_origin and port else None


def is_postgresql(url: str | None) -> bool:
    """Return True if the URL of a database is one of PostgreSQL, which several servers and workers may share."""
    return (url or "").startswith("postgresql")


def without_credentials(text: str) -> str:
    """Return a text without the users and passwords of its URLs."""
    return CREDENTIALS.sub("", text)


def _flag(metavar: str | None, text: str, kind: type = str, **argument: Any) -> dict[str, Any]:
    """Return the metadata of a setting that is also a flag of the same name."""
    if metavar is not None:
        argument |= {"metavar": metavar, "type": kind}
    return {"argument": argument | {"help": text}}


def _repeated_flag(flag: str, metavar: str, text: str) -> dict[str, Any]:
    """Return the metadata of a setting whose values are those of a flag that may be repeated."""
    return {"flag": flag} | _flag(metavar, f"{text}; may be repeated", action="append")


@dataclass(frozen=True)
class Settings:
    """Server configuration; the defaults are those of the command line.

    Limits are grouped by the module that enforces them and raises the error.
    """

    checkpoints: Mapping[str, Path] = field(default_factory=dict)  # model name to file
    data: Path = field(
        default=Path("serve"),
        metadata=_flag("FOLDER", "folder of uploads, results and the database; created if missing", Path),
    )
    database: str | None = field(
        default=None,
        metadata=_flag(
            "URL", "job database, e.g. postgresql+psycopg://USER@HOST/NAME; default: SQLite in the data folder"
        ),
    )
    storage: str | None = field(
        default=None,
        metadata=_flag(
            "URL", "storage of uploads and results: a folder or a URL such as s3://BUCKET/FOLDER, which servers and "
            "workers on several machines share; needs PostgreSQL; default: the data folder"
        ),
    )  # fmt: skip
    host: str = field(
        default="127.0.0.1", metadata=_flag("ADDRESS", "address to listen on; 0.0.0.0 for all network interfaces")
    )
    port: int = field(default=7860, metadata=_flag("N", "port to listen on; 0: any free port", int))
    allowed_hosts: tuple[str, ...] = field(
        default=(),
        metadata=_repeated_flag("allowed_host", "NAME", "host name that browsers may use besides localhost"),
    )
    origins: tuple[str, ...] = field(
        default=(),
        metadata=_repeated_flag("origin", "ORIGIN", "other site whose pages may use the API, e.g. https://example.org"),
    )
    root_path: str = field(
        default="", metadata=_flag("PATH", "path under which a reverse proxy publishes the server, e.g. /lipsync")
    )
    proxy: str | None = field(
        default=None, metadata=_flag("ADDRESS", "address of a reverse proxy whose X-Forwarded-For is trusted")
    )
    keys: Path | None = field(
        default=None,
        metadata=_flag("FILE", "API keys, see python -m wav2lip.serve.auth.api_keys; default: no authentication", Path),
    )
    admins: tuple[str, ...] = field(
        default=(),
        metadata=_repeated_flag("admin", "NAME", "client of --keys that may read the totals of all clients"),
    )
    sadtalker: Path | None = field(
        default=None,
        metadata=_flag("DIR", "folder with the checkpoints of SadTalker, which adds the engine that animates photos",
                       Path),
    )  # fmt: skip
    enhancers: Mapping[str, Path] = field(default_factory=dict)  # name to file of a restoration network
    device: str = field(default="auto", metadata=_flag("DEVICE", "auto, cpu, cuda, cuda:N or mps"))
    detector: str = field(default="auto", metadata=_flag(None, "face detector", choices=DETECTORS))
    s3fd_weights: Path | None = field(default=None, metadata=_flag("FILE", "S3FD weights", Path))
    landmark_weights: Path | None = field(
        default=None, metadata=_flag("FILE", "2DFAN4, for enhancers; default: torch's cache", Path)
    )
    data_root: Path | None = field(
        default=None, metadata=_flag("FOLDER", "folder of datasets shown on the web page", Path)
    )
    runs: Path | None = field(
        default=None, metadata=_flag("FOLDER", "folder of training runs shown on the web page", Path)
    )
    expert: Path | None = field(
        default=None,
        metadata=_flag(
            "FILE", "SyncNet that scores clips in the data check of the web page; default: fitted to the clips", Path
        ),
    )
    live_faces: Path | None = field(
        default=None,
        metadata=_flag("DIR", "folder of prepared faces (.w2l) that speak live over the WebSocket /v1/live", Path),
    )
    tts_voice: Path | None = field(
        default=None,
        metadata=_flag(
            "FILE", "voice of piper-tts (.onnx, with .onnx.json beside it) that reads text aloud in live sessions; "
            "needs the extra tts", Path,
        ),
    )  # fmt: skip
    no_worker: bool = field(
        default=False,
        metadata=_flag(
            None, "run no jobs here but by python -m wav2lip.serve.worker, on PostgreSQL; no checkpoint is read, so "
            "--checkpoint needs only the name", action="store_true",
        ),
    )  # fmt: skip
    workers: int = field(default=1, metadata=_flag("N", "jobs that run in parallel", int))
    loaded_models: int = field(default=2, metadata=_flag("N", "models kept in memory", int))

    # Enforced in middleware/.
    connections: int = field(default=500, metadata=_flag("N", "maximum number of open connections", int))
    connections_per_address: int = field(
        default=100,
        metadata=_flag("N", "maximum number of open connections of one IP address besides the proxy's", int),
    )
    requests_per_minute: int = field(
        default=240, metadata=_flag("N", "requests per client; per IP address if there are no keys", int)
    )
    upload_seconds: float = field(default=600.0, metadata=_flag("S", "maximum time to receive a request body", float))
    # Enforced in jobs/uploads.py, and per request body in middleware/body_limit.py.
    upload_mib: int = field(default=512, metadata=_flag("N", "maximum size of a file in MiB", int))
    client_mib: int = field(
        default=5120, metadata=_flag("N", "maximum size of all uploads and results of a client in MiB", int)
    )
    disk_mib: int = field(
        default=20_480, metadata=_flag("N", "maximum size of all uploads, results and temporary files in MiB", int)
    )
    # Enforced in jobs/media_validation.py.
    media_seconds: float = field(
        default=600.0, metadata=_flag("S", "maximum duration of an audio or video file", float)
    )
    frame_pixels: int = field(
        default=4096 * 2304, metadata=_flag("N", "maximum width times height of a frame or image", int)
    )
    # Enforced in jobs/inspection.py.
    inspect_seconds: float = field(
        default=60.0, metadata=_flag("S", "maximum time to check an uploaded file by decoding it", float)
    )
    # Enforced in jobs/client_jobs.py.
    queue_length: int = field(default=100, metadata=_flag("N", "maximum number of queued jobs", int))
    queued_per_client: int = field(default=10, metadata=_flag("N", "maximum number of queued jobs per client", int))
    # Enforced in jobs/queue.py.
    running_per_client: int = field(default=1, metadata=_flag("N", "maximum number of running jobs per client", int))
    lease_seconds: float = field(
        default=30.0,
        metadata=_flag(
            "S", "with PostgreSQL, time after which the jobs of a worker that does not respond run elsewhere", float
        ),
    )
    # Enforced in jobs/worker_pool.py.
    stall_seconds: float = field(
        default=600.0,
        metadata=_flag("S", "time without progress after which a job fails and its worker is replaced", float),
    )
    job_seconds: float = field(default=2 * SECONDS_PER_HOUR, metadata=_flag("S", "maximum run time of a job", float))
    # Enforced in live/.
    live_sessions: int = field(default=2, metadata=_flag("N", "maximum number of open live sessions", int))
    live_sessions_per_client: int = field(
        default=1, metadata=_flag("N", "maximum number of open live sessions per client", int)
    )
    live_seconds: float = field(default=600.0, metadata=_flag("S", "maximum length of a live session", float))
    # Enforced in jobs/retention.py.
    keep_hours: float = field(
        default=24.0, metadata=_flag("H", "retention of uploads and results; database rows are kept", float)
    )

    # Of a worker process.
    metrics_port: int | None = field(
        default=None, metadata=_flag("N", "port of the worker's metrics for Prometheus; default: none", int)
    )

    def __post_init__(self) -> None:
        if self.no_worker and (not is_postgresql(self.database) or self.storage is None):
            raise InputError(f"--no_worker: needs --database={POSTGRESQL} and --storage of its workers; give both")
        if self.storage is not None and not is_postgresql(self.database):
            raise InputError(
                f"--storage={without_credentials(self.storage)}: needs --database={POSTGRESQL}, which knows the files "
                "of all servers; give both, or omit it to keep the files in --data"
            )
        if self.no_worker and self.live_faces is not None:
            raise InputError("--no_worker: --live_faces needs a generator in this process; omit one of them")
        for setting in fields(self):
            value = getattr(self, setting.name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if is_number and not value > 0 and setting.name != "port":  # also rejects NaN
                raise InputError(f"--{setting.name}={value}: must be > 0; give a positive number")
        if self.tts_voice is not None and self.live_faces is None:
            raise InputError(f"--tts_voice={self.tts_voice}: needs --live_faces; give a folder of prepared faces")
        if self.root_path and not ROOT_PATH.fullmatch(self.root_path):
            raise InputError(f"--root_path={self.root_path}: must start with a slash and not end with one; give /PATH")
        for origin in self.origins:
            if parse_origin(origin) is None:
                raise InputError(f"--origin={origin}: must be SCHEME://HOST or SCHEME://HOST:PORT without a path")

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the job database."""
        return self.database or f"sqlite:///{(self.data / 'jobs.sqlite3').resolve()}"

    @property
    def is_loopback(self) -> bool:
        """True if only programs on this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a host name
            return False


# Settings of a worker process; the others are those of a server.
WORKER_SETTINGS = (
    "data", "database", "storage", "sadtalker", "device", "detector", "s3fd_weights", "landmark_weights", "workers",
    "loaded_models", "frame_pixels", "running_per_client", "lease_seconds", "stall_seconds", "job_seconds",
    "metrics_port",
)  # fmt: skip
WORKER_ONLY = ("metrics_port",)


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the server; every flag is named like its setting."""
    parser = argparse.ArgumentParser(
        prog="python -m wav2lip.serve",
        description="Serve a web page and an HTTP API for lip-sync jobs on http://127.0.0.1:7860.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_named_files(parser)
    for setting in fields(Settings):
        if setting.name not in WORKER_ONLY:
            _add_setting(parser, setting)
    return parser


def build_worker_parser() -> argparse.ArgumentParser:
    """Build the command line of a worker; database and storage are those of its servers."""
    parser = argparse.ArgumentParser(
        prog="python -m wav2lip.serve.worker",
        description="Run the jobs of servers that are started with --no_worker, or of any server on PostgreSQL.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_named_files(parser)
    for setting in fields(Settings):
        if setting.name in WORKER_SETTINGS:
            _add_setting(parser, setting)
    parser.set_defaults(data=Path("worker"))
    return parser


def _add_named_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", action="append", required=True, metavar="NAME=FILE", dest="checkpoints",
                        default=argparse.SUPPRESS,
                        help="generator checkpoint and its model name, by default the file's name; may be repeated, "
                             "the first is the default model")  # fmt: skip
    parser.add_argument("--enhancer", action="append", default=[], metavar="NAME=FILE", dest="enhancers",
                        help="restoration network that jobs may use by its name, e.g. gfpgan=GFPGANv1.4.pth; may be "
                             "repeated")  # fmt: skip


def _add_setting(parser: argparse.ArgumentParser, setting: Field[Any]) -> None:
    if argument := setting.metadata.get("argument"):
        default = list(setting.default) if isinstance(setting.default, tuple) else setting.default
        flag = setting.metadata.get("flag", setting.name)
        parser.add_argument(f"--{flag}", dest=setting.name, default=default, **argument)


def parse_settings(argv: list[str] | None = None) -> Settings:
    """Parse the command line of a server. Raises: InputError for an invalid value."""
    values = vars(build_parser().parse_args(argv))
    _parse_files(values, must_exist=not values["no_worker"])
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    values["allowed_hosts"] = tuple(map(str.lower, values["allowed_hosts"]))
    return Settings(**values)


def parse_worker_settings(argv: list[str] | None = None) -> Settings:
    """Parse the command line of a worker. Raises: InputError for an invalid value."""
    values = vars(build_worker_parser().parse_args(argv))
    if not is_postgresql(values["database"]) or values["storage"] is None:
        raise InputError(f"a worker needs --database={POSTGRESQL} and the --storage of its servers; give both")
    _parse_files(values)
    return Settings(**values)


def _parse_files(values: dict[str, Any], must_exist: bool = True) -> None:
    """Replace the arguments of the flags NAME=FILE by the files."""
    for flag, name in (("checkpoint", "checkpoints"), ("enhancer", "enhancers")):
        values[name] = _parse_named_files(f"--{flag}", values[name], must_exist)


def _parse_named_files(flag: str, arguments: list[str], must_exist: bool) -> dict[str, Path]:
    """Return the files of a flag NAME=FILE by their names; the default name is that of the file."""
    files: dict[str, Path] = {}
    for argument in arguments:
        name, equals, file = argument.partition("=")
        path = Path(file if equals else argument)
        name = name if equals else path.stem
        if not name or not name.isprintable() or len(name) > MAX_MODEL_NAME or "/" in name or "\\" in name:
            raise InputError(
                f"{flag}={argument}: {name!r} must be a printable name without slashes of at most "
                f"{MAX_MODEL_NAME} characters; give NAME=FILE"
            )
        if name in files:
            raise InputError(f"{flag}={argument}: the name {name} is used twice; give NAME=FILE")
        if must_exist and not path.is_file():
            raise InputError(f"{flag}={argument}: {path} does not exist; check the path")
        files[name] = path
    return files
