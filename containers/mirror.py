"""Run a Dockerfile without Docker, instruction by instruction, and ask its health check whether the server answers.

    sudo python containers/mirror.py containers/Dockerfile.cpu --checkpoints FOLDER

What it cannot have is the base image: this machine's own file system stands in for it, with the Python that runs this.
Over it lies an empty one that takes all that is written (overlayfs in a mount namespace of its own), so that COPY, RUN,
USER and the rest are done to the letter, and this machine is as it was afterwards. Linux, as root.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

CONTEXT = Path(__file__).resolve().parents[1]
ENVIRONMENT = "/opt/image"  # of the image's Python
IMAGE_PATH = f"{ENVIRONMENT}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INSIDE = "--inside"  # set where the mount namespace is ours, to the folder to work in
PATIENCE = 300  # seconds until the health check must be content


@dataclass
class Image:
    """What the instructions so far have come to."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": IMAGE_PATH, "HOME": "/root"})
    args: dict[str, str] = field(default_factory=dict)  # known to RUN alone
    user: str = "0"
    folder: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)

    def start(self, words: Sequence[str], env: Mapping[str, str], quiet: bool = False) -> subprocess.Popen[bytes]:
        """Start a program in it, as its user and in its folder."""
        inside = f"cd {shlex.quote(self.folder)} && exec {shlex.join(words)}"
        chroot = ["chroot", f"--userspec={self.user}:{self.user}", str(self.root), "/bin/sh", "-c", inside]
        said = subprocess.DEVNULL if quiet else None
        return subprocess.Popen(chroot, env=dict(env), stdout=said, stderr=said)

    def healthy(self) -> bool:
        """Whether its health check is content."""
        return self.start(self.health, self.env, quiet=True).wait() == 0


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Name and arguments of each instruction, comments gone and continued lines joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", " ", lines).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name.upper(), rest.strip()


def words_of(text: str) -> list[str]:
    """A command as a JSON list or, as Docker has it, for the shell."""
    return json.loads(text) if text.startswith("[") else ["/bin/sh", "-c", text]


def ignored(path: str, patterns: Sequence[str]) -> bool:
    """Whether .dockerignore keeps a file out; the last line that fits it, or a folder above it, decides."""
    parts = path.split("/")
    above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    out = False
    for pattern in patterns:
        bare = pattern.removeprefix("!").rstrip("/")
        anywhere = bare.removeprefix("**/")
        names = parts if anywhere != bare else [name for name in above if name.count("/") == bare.count("/")]
        if any(fnmatch(name, anywhere) for name in names):
            out = not pattern.startswith("!")
    return out


def context_files(context: Path) -> list[Path]:
    """What COPY . copies, relative to the context."""
    lines = (context / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    found = (path.relative_to(context) for path in sorted(context.rglob("*")) if path.is_file())
    return [path for path in found if not ignored(path.as_posix(), patterns)]


def build(file: Path, image: Image, build_args: Mapping[str, str], host_env: Mapping[str, str]) -> None:
    """Do all instructions of a Dockerfile. host_env: variables that RUN has beside the image's, as a proxy."""
    for name, rest in instructions(file.read_text(encoding="utf-8")):
        say(f"{name} {rest}")
        if name == "FROM":
            say(f"  stood in for by this machine and Python {sys.version.split()[0]}")
        elif name == "ENV":
            given = (word.partition("=") for word in shlex.split(rest))
            image.env |= {key: filled(value, image.env | image.args) for key, _, value in given}
        elif name == "ARG":
            key, _, default = rest.partition("=")
            image.args[key] = build_args.get(key, default)
        elif name == "RUN":
            if image.start(words_of(rest), dict(host_env) | image.args | image.env).wait():
                raise SystemExit(f"{file}: failed at RUN {rest}")
        elif name == "COPY":
            copy(rest, image)
        elif name == "USER":
            image.user = rest
            image.env["HOME"] = home_of(image)
        elif name == "WORKDIR":
            image.folder = rest
            (image.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif name == "HEALTHCHECK":
            image.health = words_of(rest.partition("CMD ")[2])
        elif name == "ENTRYPOINT":
            image.entrypoint = words_of(rest)
        elif name == "CMD":
            image.command = words_of(rest)
        elif name == "VOLUME":
            image.volumes.append(rest)
        elif name != "EXPOSE":  # which ports are published is said when it is run
            raise SystemExit(f"{file}: {name} is not known here")


def filled(text: str, values: Mapping[str, str]) -> str:
    """A text with $NAME replaced."""
    return string.Template(text).substitute(values)


def copy(rest: str, image: Image) -> None:
    """COPY . FOLDER."""
    source, target = shlex.split(rest)
    assert source == ".", "only the whole context is copied"
    for path in context_files(CONTEXT):
        to = image.root / target.lstrip("/") / path
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CONTEXT / path, to)


def home_of(image: Image) -> str:
    """The home folder of the image's user."""
    lines = (image.root / "etc/passwd").read_text(encoding="utf-8").splitlines()
    return next(line.split(":")[5] for line in lines if line.split(":")[2] == image.user)


def mount_volumes(image: Image, read_only: bool) -> None:
    """A new volume at each VOLUME. read_only: the rest cannot be written to, but for /tmp, as compose.yaml has it."""
    for volume in image.volumes:
        mount("-t", "tmpfs", "-o", f"uid={image.user},mode=755", "tmpfs", str(image.root / volume.lstrip("/")))
    if read_only:
        mount("-t", "tmpfs", "tmpfs", str(image.root / "tmp"))
        mount("-o", "remount,ro", str(image.root))


def serve(image: Image, command: Sequence[str]) -> None:
    """Start what the image starts, wait for its health check, stop it as docker stop does."""
    server = image.start([*image.entrypoint, *(command or image.command)], image.env)
    began = time.monotonic()
    while not image.healthy():
        if server.poll() is not None:
            raise SystemExit(f"the server ended with exit code {server.returncode}")
        if time.monotonic() - began > PATIENCE:
            server.kill()
            raise SystemExit(f"the health check was not content within {PATIENCE} s")
        time.sleep(2)
    status = (image.root / f"proc/{server.pid}/status").read_text(encoding="utf-8")
    uid = status.partition("Uid:")[2].split()[0]
    say(f"healthy after {time.monotonic() - began:.0f} s, running as user {uid}")
    server.send_signal(signal.SIGTERM)
    say(f"stopped with exit code {server.wait(timeout=60)}")


def mount_image(scratch: Path, checkpoints: Path | None) -> Path:
    """An empty file system over this machine's, with a fresh Python environment; ends with the mount namespace."""
    root = scratch / "root"
    for name in ("root", "written", "work"):
        (scratch / name).mkdir()
    layers = f"lowerdir=/,upperdir={scratch / 'written'},workdir={scratch / 'work'}"
    mount("-t", "overlay", "overlay", "-o", layers, str(root))
    mount("-t", "proc", "proc", str(root / "proc"))
    mount("--rbind", "/dev", str(root / "dev"))
    (root / "tmp").chmod(0o1777)
    if checkpoints:
        (root / "checkpoints").mkdir()
        mount("--bind", "-o", "ro", str(checkpoints.resolve()), str(root / "checkpoints"))
    python = Path(sys.base_prefix)
    for folder in python.parents[:-1]:  # for users who are not root to get there, as to a Python in /usr/local
        shown = root / folder.relative_to("/")
        shown.chmod(shown.stat().st_mode | 0o011)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    subprocess.run(["chroot", str(root), str(python / "bin" / version), "-m", "venv", ENVIRONMENT], check=True)
    return root


def mount(*words: str) -> None:
    """Mount something in this namespace."""
    subprocess.run(["mount", *words], check=True)


def say(text: str) -> None:
    """A line about what is done."""
    sys.stderr.write(f"{text}\n")


def main() -> None:
    """Entry point."""
    last = "What is behind -- goes to its entry point instead of its CMD."
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=last, formatter_class=shape)
    parser.add_argument("file", type=Path, help="Dockerfile")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE", help="for its ARG")
    parser.add_argument("--pass", action="append", default=[], metavar="NAME", dest="passed",
                        help="variable of this machine that RUN has too, as HTTPS_PROXY or PIP_CERT")  # fmt: skip
    parser.add_argument("--checkpoints", type=Path, metavar="DIR", help="folder that is mounted at /checkpoints")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="variable of what is run")
    parser.add_argument("--read-only", action="store_true", help="what is run can write to its volumes and /tmp alone")
    parser.add_argument(INSIDE, type=Path, metavar="DIR", help=argparse.SUPPRESS)
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    args, command = parser.parse_args(sys.argv[1:at]), sys.argv[at + 1 :]
    if args.inside is None:
        raise SystemExit(in_namespace(sys.argv[1:]))
    image = Image(mount_image(args.inside, args.checkpoints))
    build_args = dict(pair.split("=", 1) for pair in args.build_arg)
    build(args.file, image, build_args, {name: os.environ[name] for name in args.passed})
    mount_volumes(image, args.read_only)
    image.env |= dict(pair.split("=", 1) for pair in args.env)
    serve(image, command)


def in_namespace(words: Sequence[str]) -> int:
    """Run this program again where its mounts and processes are its own and end with it; returns the exit code.

    The folder is removed out here, where nothing is mounted in it: in there this would remove what is mounted.
    """
    with tempfile.TemporaryDirectory(prefix="mirror_") as scratch:
        alone = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
        return subprocess.run([*alone, sys.executable, __file__, INSIDE, scratch, *words], check=False).returncode


if __name__ == "__main__":
    main()
