"""Kubernetes files, checked without a cluster; see docs/containers.md for applying them."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from wav2lip.batch.__main__ import build_parser as build_batch_parser
from wav2lip.execution.shard import Shard
from wav2lip.serve.metrics import ServerMetrics
from wav2lip.serve.settings import build_parser, build_worker_parser

ROOT = Path(__file__).parents[2] / "containers" / "k8s"
FOLDERS = sorted(path.parent for path in ROOT.rglob("kustomization.yaml"))
OBJECTS = [
    (path, document)
    for path in sorted(ROOT.rglob("*.yaml"))
    if path.name != "kustomization.yaml"
    for document in yaml.safe_load_all(path.read_text())
]


def is_patch(path):
    return "overlays" in path.parts


def pod(document):
    return document["spec"]["template"]["spec"]


WORKLOADS = [document for path, document in OBJECTS if "template" in document.get("spec", {}) and not is_patch(path)]


def test_objects_are_found():
    assert [document["kind"] for _, document in OBJECTS].count("Deployment") == 7  # two, and five patches of them
    assert len(WORKLOADS) == 4


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.relative_to(ROOT).as_posix())
def test_kustomization_names_every_file(folder):
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    patches = {entry["path"] for entry in kustomization.get("patches", ()) if "path" in entry}
    files = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
    assert {name for name in kustomization["resources"] if name.endswith(".yaml")} | patches == files
    for name in kustomization["resources"]:
        assert name.endswith(".yaml") or (folder / name / "kustomization.yaml").exists()


def test_objects_match_the_schemas_of_kubernetes():
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for path, document in OBJECTS:
        if not is_patch(path):
            validate.validate(document, "1.31", strict=True)
    broken = {**WORKLOADS[0], "spec": {**WORKLOADS[0]["spec"], "replica": 1}}
    with pytest.raises(validate.ValidationError):
        validate.validate(broken, "1.31", strict=True)


@pytest.mark.parametrize("document", WORKLOADS, ids=lambda document: document["metadata"]["name"])
def test_pods_run_without_root_and_with_limits(document):
    spec = pod(document)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    claims = {volume["persistentVolumeClaim"]["claimName"] for volume in spec["volumes"] if len(volume) > 1
              and "persistentVolumeClaim" in volume}  # fmt: skip
    assert claims <= {d["metadata"]["name"] for _, d in OBJECTS if d["kind"] == "PersistentVolumeClaim"}
    templates = {claim["metadata"]["name"] for claim in document["spec"].get("volumeClaimTemplates", ())}
    volumes = {volume["name"] for volume in spec["volumes"]} | templates
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert set(container["resources"]) == {"requests", "limits"}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_services_select_pods():
    labels = [document["spec"]["template"]["metadata"]["labels"] for document in WORKLOADS]
    services = [document for _, document in OBJECTS if document["kind"] == "Service"]
    assert len(services) == 2
    assert all(service["spec"]["selector"] in labels for service in services)


def containers(name):
    """Containers of a deployment in the base and in the overlays that patch it."""
    return [pod(document)["containers"][0] for _, document in OBJECTS
            if document["kind"] == "Deployment" and document["metadata"]["name"] == name]  # fmt: skip


def test_servers_and_workers_share_database_and_storage():
    parsers = {"server": build_parser(), "worker": build_worker_parser()}
    parsed = [[parser.parse_args(container["args"]) for container in containers(name) if "args" in container]
              for name, parser in parsers.items()]  # fmt: skip
    servers, workers = parsed
    assert len(servers) == 3  # base, external-database and s3
    shared = [[(process.database, process.storage) for process in processes] for processes in parsed]
    assert shared[0] == shared[1] and len(set(shared[0])) == 3
    assert all(database.startswith("postgresql+psycopg://wav2lip@") for database, _ in shared[0])
    assert all(server.no_worker for server in servers)
    models = {argument for server in servers for argument in server.checkpoints}
    assert models == {argument.partition("=")[0] for worker in workers for argument in worker.checkpoints}


def test_liveness_differs_from_readiness():
    server = containers("server")[0]
    assert server["livenessProbe"].keys() - server["readinessProbe"].keys() == {"tcpSocket", "failureThreshold"}


def test_workers_scale_with_the_queue():
    (scaler,) = [document for _, document in OBJECTS if document["kind"] == "HorizontalPodAutoscaler"]
    metric = scaler["spec"]["metrics"][0]["external"]["metric"]["name"]
    assert metric.encode() in ServerMetrics(["wav2lip"]).render(queued=0, running=0, stored_bytes=0)
    (worker,) = [document for document in WORKLOADS if document["metadata"]["name"] == "worker"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == "worker" and "replicas" not in worker["spec"]


def test_batch_job_has_a_pod_for_each_shard():
    (job,) = [document for _, document in OBJECTS if document["kind"] == "Job"]
    assert pod(job)["containers"][0]["command"] == ["sh", "-c"]
    command = pod(job)["containers"][0]["args"][0]
    for index in range(job["spec"]["completions"]):
        line = command.replace("$((JOB_COMPLETION_INDEX + 1))", str(index + 1))
        words = shlex.split(re.sub(r"^exec python -m wav2lip\.batch ", "", line))
        shard = Shard.parse(build_batch_parser().parse_args(words).shard)
        assert (shard.number, shard.count) == (index + 1, job["spec"]["completions"])
