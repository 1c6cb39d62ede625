"""What the server is told when it is started."""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from wav2lip.errors import InputError

MIB = 1 << 20  # bytes
HOUR = 3600.0  # seconds


@dataclass(frozen=True)
class Settings:
    """How the server runs; the defaults are those of the command line."""

    checkpoints: Mapping[str, Path] = field(default_factory=dict)  # name that clients use to file
    data: Path = Path("serve")  # folder of uploads, results and the default database
    database: str | None = None  # URL; None: SQLite in the data folder
    host: str = "127.0.0.1"
    port: int = 7860
    allowed_hosts: tuple[str, ...] = ()  # names in the address bar that are answered, beside those of loopback
    proxy: str | None = None  # address of the reverse proxy whose X-Forwarded-For is believed
    keys: Path | None = None  # file of API keys; None: whoever reaches the server may use it
    device: str = "auto"
    detector: str = "auto"
    s3fd_weights: Path | None = None
    data_root: Path | None = None  # folder of data sets that the page may show
    runs: Path | None = None  # folder of trainings that the page may show
    expert: Path | None = None  # judges sync where the page's doctor looks at clips; None: one learned from them
    workers: int = 1  # jobs made at a time
    warm: int = 2  # generators kept in memory
    upload_mib: int = 512  # of one file
    media_seconds: float = 600.0  # of one file
    frame_pixels: int = 4096 * 2304  # of one frame or picture
    job_seconds: float = 2 * HOUR  # that one job may run
    queue_length: int = 100  # jobs that wait, of all clients
    queued_per_client: int = 10
    running_per_client: int = 1
    requests_per_minute: int = 240  # of one client; of one address where there are no keys
    upload_seconds: float = 600.0  # that one request's body may take
    keep_hours: float = 24.0  # that files are kept after they came, or after their job ended
    disk_mib: int = 20_480  # of all that is kept: uploads, results, what the page was sent

    def __post_init__(self) -> None:
        for flag in fields(self):
            value = getattr(self, flag.name)
            if isinstance(value, int | float) and not value > 0 and flag.name != "port":  # so that NaN is refused too
                raise InputError(f"--{flag.name} is {value}; give a number above 0")

    @property
    def database_url(self) -> str:
        """Where job records are."""
        return self.database or f"sqlite:///{(self.data / 'jobs.sqlite3').resolve()}"

    @property
    def on_loopback(self) -> bool:
        """Whether only programs of this machine reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a name of a machine
            return False


DEFAULTS = Settings()


def build_parser() -> argparse.ArgumentParser:
    """Flags named as the settings."""
    parser = argparse.ArgumentParser(
        prog="python -m wav2lip.serve",
        description="A web page and an HTTP API that make lip-synced videos, on http://127.0.0.1:7860.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )

    def add(flag: str, kind: type, metavar: str, text: str) -> None:
        parser.add_argument(f"--{flag}", type=kind, metavar=metavar, default=getattr(DEFAULTS, flag), help=text)

    parser.add_argument("--checkpoint", action="append", required=True, metavar="NAME=FILE", dest="checkpoints",
                        default=argparse.SUPPRESS,
                        help="a generator and what clients call it; FILE alone is called by its name; may be "
                             "repeated, the first is the default")  # fmt: skip
    add("data", Path, "FOLDER", "where uploads, results and the database lie; it is made")
    add(
        "database",
        str,
        "URL",
        "of job records, as postgresql+psycopg://USER@HOST/NAME; SQLite in the data folder if none",
    )
    add("host", str, "ADDRESS", "address to listen at; 0.0.0.0 for every network of this machine")
    add("port", int, "N", "port to listen at; 0: one that is free")
    parser.add_argument("--allowed_host", action="append", default=[], metavar="NAME", dest="allowed_hosts",
                        help="name under which browsers may reach the server, beside localhost; may be "
                             "repeated")  # fmt: skip
    add("proxy", str, "ADDRESS", "address of a reverse proxy, whose X-Forwarded-For is then believed")
    add("keys", Path, "FILE", "who may use the server, see python -m wav2lip.serve.keys; everyone if none")
    add("device", str, "DEVICE", "auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--detector", choices=["auto", "s3fd", "mtcnn", "haar"], default="auto", help="finds the faces")
    add("s3fd_weights", Path, "FILE", "S3FD weights")
    add("data_root", Path, "FOLDER", "data sets that the page may show")
    add("runs", Path, "FOLDER", "trainings that the page may show")
    add("expert", Path, "FILE", "SyncNet that judges clips shown to the page's doctor; one learned from them if none")
    add("workers", int, "N", "jobs made at a time")
    add("warm", int, "N", "generators kept in memory")
    add("upload_mib", int, "N", "largest file that is taken, in MiB")
    add("media_seconds", float, "S", "longest sound or video that is taken")
    add("frame_pixels", int, "N", "largest frame or picture that is taken, width times height")
    add("job_seconds", float, "S", "that one job may run")
    add("queue_length", int, "N", "jobs that may wait, of all clients")
    add("queued_per_client", int, "N", "jobs of one client that may wait")
    add("running_per_client", int, "N", "jobs of one client that may run at a time")
    add("requests_per_minute", int, "N", "requests of one client; of one address where there are no keys")
    add("upload_seconds", float, "S", "that the body of one request may take")
    add("keep_hours", float, "H", "after which uploads and results are removed; records stay")
    add("disk_mib", int, "N", "of all uploads and results, and what the page was sent, in MiB")
    return parser


def parse(argv: list[str] | None = None) -> Settings:
    """Settings from a command line. Raises: InputError for a value that cannot be meant."""
    given = vars(build_parser().parse_args(argv))
    given["checkpoints"] = _named(given["checkpoints"])
    given["allowed_hosts"] = tuple(given["allowed_hosts"])
    return Settings(**given)


def _named(texts: list[str]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for text in texts:
        name, equals, file = text.partition("=")
        path = Path(file if equals else text)
        name = name if equals else path.stem
        if not name or not name.isprintable() or len(name) > 100 or "/" in name or "\\" in name:
            raise InputError(f"--checkpoint {text}: {name!r} is no name; give NAME=FILE with a short name")
        if name in named:
            raise InputError(f"--checkpoint {text}: {name} is given twice; give NAME=FILE with another name")
        if not path.is_file():
            raise InputError(f"--checkpoint {text}: {path} is no file; check the path")
        named[name] = path
    return named
