"""Run a Dockerfile without Docker, instruction by instruction, until its health check passes.

    sudo python tests/containers/run_dockerfile.py containers/Dockerfile.cpu --checkpoints FOLDER

The host's file system and this Python replace the base image. An empty overlay (overlayfs in a private mount namespace)
receives all writes, so COPY, RUN, USER and the others run as written and the host stays unchanged. Linux, as root.
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

CONTEXT = Path(__file__).resolve().parents[2]
VENV = "/opt/image"  # of the image's Python
IMAGE_PATH = f"{VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SCRATCH_FLAG = "--scratch"  # set inside the mount namespace, with the scratch folder
HEALTH_TIMEOUT_S = 300
HEALTH_INTERVAL_S = 2
STOP_TIMEOUT_S = 60


@dataclass
class Image:
    """State after the instructions so far."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": IMAGE_PATH, "HOME": "/root"})
    args: dict[str, str] = field(default_factory=dict)  # of ARG, visible to RUN only
    user: str = "0"
    folder: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health_command: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)

    def start(self, arguments: Sequence[str], env: Mapping[str, str], quiet: bool = False) -> subprocess.Popen[bytes]:
        """Start a program inside the image as its user and in its folder."""
        script = f"cd {shlex.quote(self.folder)} && exec {shlex.join(arguments)}"
        chroot = ["chroot", f"--userspec={self.user}:{self.user}", str(self.root), "/bin/sh", "-c", script]
        output = subprocess.DEVNULL if quiet else None
        return subprocess.Popen(chroot, env=dict(env), stdout=output, stderr=output)

    def is_healthy(self) -> bool:
        """Run the health check."""
        return self.start(self.health_command, self.env, quiet=True).wait() == 0


def parse_instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and arguments of each instruction, without comments and with continued lines joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", " ", lines).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name.upper(), rest.strip()


def parse_command(text: str) -> list[str]:
    """Parse the exec form (a JSON list) or the shell form of a command."""
    return json.loads(text) if text.startswith("[") else ["/bin/sh", "-c", text]


def is_ignored(path: str, patterns: Sequence[str]) -> bool:
    """Apply .dockerignore: the last pattern that matches the file or a parent folder decides."""
    parts = path.split("/")
    prefixes = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    ignored = False
    for pattern in patterns:
        bare = pattern.removeprefix("!").rstrip("/")
        suffix = bare.removeprefix("**/")
        names = parts if suffix != bare else [prefix for prefix in prefixes if prefix.count("/") == bare.count("/")]
        if any(fnmatch(name, suffix) for name in names):
            ignored = not pattern.startswith("!")
    return ignored


def list_context(context: Path) -> list[Path]:
    """List the files that COPY . copies, relative to the build context."""
    lines = (context / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    files = (path.relative_to(context) for path in sorted(context.rglob("*")) if path.is_file())
    return [path for path in files if not is_ignored(path.as_posix(), patterns)]


def build_image(file: Path, image: Image, build_args: Mapping[str, str], host_env: Mapping[str, str]) -> None:
    """Run all instructions of a Dockerfile. host_env: variables of the host that RUN gets too, e.g. a proxy."""
    for name, rest in parse_instructions(file.read_text(encoding="utf-8")):
        log(f"{name} {rest}")
        if name == "FROM":
            log(f"  replaced by this host with Python {sys.version.split()[0]}")
        elif name == "ENV":
            pairs = (word.partition("=") for word in shlex.split(rest))
            image.env |= {key: substitute(value, image.env | image.args) for key, _, value in pairs}
        elif name == "ARG":
            key, _, default = rest.partition("=")
            image.args[key] = build_args.get(key, default)
        elif name == "RUN":
            if image.start(parse_command(rest), dict(host_env) | image.args | image.env).wait():
                raise SystemExit(f"{file}: RUN {rest} failed")
        elif name == "COPY":
            copy_context(rest, image)
        elif name == "USER":
            image.user = rest
            image.env["HOME"] = find_home(image)
        elif name == "WORKDIR":
            image.folder = rest
            (image.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif name == "HEALTHCHECK":
            image.health_command = parse_command(rest.partition("CMD ")[2])
        elif name == "ENTRYPOINT":
            image.entrypoint = parse_command(rest)
        elif name == "CMD":
            image.command = parse_command(rest)
        elif name == "VOLUME":
            image.volumes.append(rest)
        elif name != "EXPOSE":  # ports are published at run time
            raise SystemExit(f"{file}: {name} is not supported")


def substitute(text: str, values: Mapping[str, str]) -> str:
    """Replace $NAME in a text."""
    return string.Template(text).substitute(values)


def copy_context(rest: str, image: Image) -> None:
    """Run COPY . FOLDER."""
    source, target = shlex.split(rest)
    assert source == ".", "only COPY . is supported"
    for path in list_context(CONTEXT):
        copy = image.root / target.lstrip("/") / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CONTEXT / path, copy)


def find_home(image: Image) -> str:
    """Return the home folder of the image's user."""
    lines = (image.root / "etc/passwd").read_text(encoding="utf-8").splitlines()
    return next(line.split(":")[5] for line in lines if line.split(":")[2] == image.user)


def mount_volumes(image: Image, read_only: bool) -> None:
    """Mount an empty volume at each VOLUME. read_only: make the rest but /tmp read-only, as in compose.yaml."""
    for volume in image.volumes:
        mount("-t", "tmpfs", "-o", f"uid={image.user},mode=755", "tmpfs", str(image.root / volume.lstrip("/")))
    if read_only:
        mount("-t", "tmpfs", "tmpfs", str(image.root / "tmp"))
        mount("-o", "remount,ro", str(image.root))


def serve(image: Image, command: Sequence[str]) -> None:
    """Start the entry point, wait for the health check, and stop it as docker stop does."""
    server = image.start([*image.entrypoint, *(command or image.command)], image.env)
    start = time.monotonic()
    while not image.is_healthy():
        if server.poll() is not None:
            raise SystemExit(f"the server exited with code {server.returncode}")
        if time.monotonic() - start > HEALTH_TIMEOUT_S:
            server.kill()
            raise SystemExit(f"the health check did not pass within {HEALTH_TIMEOUT_S} s")
        time.sleep(HEALTH_INTERVAL_S)
    status = (image.root / f"proc/{server.pid}/status").read_text(encoding="utf-8")
    uid = status.partition("Uid:")[2].split()[0]
    log(f"healthy after {time.monotonic() - start:.0f} s, running as user {uid}")
    server.send_signal(signal.SIGTERM)
    log(f"stopped with exit code {server.wait(timeout=STOP_TIMEOUT_S)}")


def mount_root(scratch: Path, checkpoints: Path | None) -> Path:
    """Mount an empty overlay over the host's file system and create a venv in it; both end with the mount namespace."""
    root = scratch / "root"
    for name in ("root", "upper", "work"):
        (scratch / name).mkdir()
    layers = f"lowerdir=/,upperdir={scratch / 'upper'},workdir={scratch / 'work'}"
    mount("-t", "overlay", "overlay", "-o", layers, str(root))
    mount("-t", "proc", "proc", str(root / "proc"))
    mount("--rbind", "/dev", str(root / "dev"))
    (root / "tmp").chmod(0o1777)
    if checkpoints:
        (root / "checkpoints").mkdir()
        mount("--bind", "-o", "ro", str(checkpoints.resolve()), str(root / "checkpoints"))
    python = Path(sys.base_prefix)
    for folder in python.parents[:-1]:  # so that users other than root reach Python, as they would in /usr/local
        overlay_folder = root / folder.relative_to("/")
        overlay_folder.chmod(overlay_folder.stat().st_mode | 0o011)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    subprocess.run(["chroot", str(root), str(python / "bin" / version), "-m", "venv", VENV], check=True)
    return root


def mount(*arguments: str) -> None:
    """Call mount(8)."""
    subprocess.run(["mount", *arguments], check=True)


def log(text: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(f"{text}\n")


def main() -> None:
    """Parse the command line, then build and run the image inside a namespace."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="Arguments after -- replace CMD.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("file", type=Path, help="Dockerfile")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE", help="value of an ARG")
    parser.add_argument("--pass", action="append", default=[], metavar="NAME", dest="host_variables",
                        help="variable of the host that RUN gets too, e.g. HTTPS_PROXY or PIP_CERT")  # fmt: skip
    parser.add_argument("--checkpoints", type=Path, metavar="DIR", help="folder mounted at /checkpoints")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="variable of the server")
    parser.add_argument("--read-only", action="store_true", help="only volumes and /tmp are writable for the server")
    parser.add_argument(SCRATCH_FLAG, type=Path, metavar="DIR", help=argparse.SUPPRESS)
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    args, command = parser.parse_args(sys.argv[1:end]), sys.argv[end + 1 :]
    if args.scratch is None:
        raise SystemExit(run_in_namespace(sys.argv[1:]))
    image = Image(mount_root(args.scratch, args.checkpoints))
    build_args = dict(pair.split("=", 1) for pair in args.build_arg)
    build_image(args.file, image, build_args, {name: os.environ[name] for name in args.host_variables})
    mount_volumes(image, args.read_only)
    image.env |= dict(pair.split("=", 1) for pair in args.env)
    serve(image, command)


def run_in_namespace(arguments: Sequence[str]) -> int:
    """Run this program again with private mounts and processes that end with it; returns its exit code.

    The scratch folder is removed by the caller, outside the namespace, where nothing is mounted in it.
    """
    with tempfile.TemporaryDirectory(prefix="dockerfile_") as scratch:
        unshare = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
        command = [*unshare, sys.executable, __file__, SCRATCH_FLAG, scratch, *arguments]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    main()
