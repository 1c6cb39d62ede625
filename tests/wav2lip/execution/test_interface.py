"""The contract between stages and executors."""

import errno
import pickle

import pytest

from preprocess.build import DetectorFactory
from preprocess.curation.clip_inputs import InspectClip
from preprocess.stages.crops import CropsStage
from preprocess.stages.faces import FacesStage
from preprocess.stages.probe import ProbeStage
from preprocess.stages.quality import QualityStage
from preprocess.stages.segments import SegmentsStage
from preprocess.stages.shots import ShotsStage
from preprocess.sync.measure import CCAExpertFactory, CorrectOffset, ExtractFeatures, MeasureOffset
from tests.helpers.preprocess import make_settings
from wav2lip.errors import InputError
from wav2lip.execution.grant import Grant
from wav2lip.execution.interface import Abort, Crash, WorkerContext
from wav2lip.execution.manifest import FAILED, OK, Manifest, Record
from wav2lip.execution.stage_runner import StageRunner

SETTINGS = make_settings()
WORK = [
    ProbeStage(SETTINGS),
    ShotsStage(SETTINGS.shots),
    FacesStage(SETTINGS.faces, DetectorFactory("haar"), 8, "root"),
    SegmentsStage(SETTINGS.segments, "root"),
    CropsStage(SETTINGS, "root"),
    QualityStage("root"),
    InspectClip("root"),
    ExtractFeatures("root"),
    MeasureOffset("root", (CCAExpertFactory("expert.npz"),), (), 15),
    CorrectOffset("root"),
]


@pytest.mark.parametrize("work", WORK, ids=lambda work: type(work).__name__)
def test_work_is_picklable(work):
    assert pickle.loads(pickle.dumps(work)) == work


@pytest.mark.parametrize(
    "error",
    [InputError("face.mp4: is empty"), OSError("the disk is away"),
     OSError(errno.ENOSPC, "No space left on device", "/data/x")],
)  # fmt: skip
def test_error_that_ends_a_run_keeps_its_kind_reason_and_file(error):
    copy = pickle.loads(pickle.dumps(Abort.from_exception(error))).to_exception()
    assert (type(copy), str(copy)) == (type(error), str(error))
    assert getattr(copy, "errno", None) == getattr(error, "errno", None)


class ReversedExecutor:
    """An executor in this process that completes inputs in reverse order and crashes on "crash"."""

    grant = Grant(1, 1)

    def map(self, work, inputs, progress=lambda inputs: None):
        context = WorkerContext(0, self.grant)
        for value in reversed(inputs):
            yield value, Crash("killed", "by a signal") if value == "crash" else work(value, context, progress)


class LengthStage:
    """A stage that measures the length of a string."""

    def fingerprint(self, value):
        return value

    def __call__(self, value, context, progress):
        return Record("length", value, value, data={"length": len(value)})


def test_stage_runner_accepts_any_executor(tmp_path):
    inputs = {value: value for value in ("a", "bb", "crash")}
    with Manifest(tmp_path) as manifest:
        records = StageRunner(manifest, ReversedExecutor(), ("length",)).run("length", LengthStage(), inputs)
        assert list(records) == ["a", "bb", "crash"]
        assert [record.status for record in records.values()] == [OK, OK, FAILED]
        assert set(manifest.records("length")) == {"a", "bb"}  # a crash is not saved
