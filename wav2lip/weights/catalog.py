"""Catalog of the files with weights: content, purpose, terms and origin.

The terms are notes for orientation, not legal advice; the pages of the origins have the licences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import prod

import torch
from torch import nn

from face_detection.detectors.s3fd_network import S3FDNetwork
from models import SyncNet, SyncNetV2, VisualQualityDiscriminator, Wav2Lip
from models.sadtalker import NETWORKS as SADTALKER_NETWORKS

ENGINES = ("wav2lip", "sadtalker", "enhancement")

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **SADTALKER_NETWORKS,
    "wav2lip": Wav2Lip,
    "syncnet": SyncNet,
    "quality_discriminator": VisualQualityDiscriminator,
    "syncnet_v2": SyncNetV2,
    "s3fd": S3FDNetwork,
}
UNUSED_NETWORKS = {"he_estimator"}

WAV2LIP_PAGE = "https://github.com/Rudrabha/Wav2Lip#getting-the-weights"
WAV2LIP_TERMS = "research only: trained on LRS2"
SADTALKER_RELEASES = "https://github.com/OpenTalker/SadTalker/releases/download"
SADTALKER_TERMS = "Apache-2.0 code; weights without a licence text, trained on VoxCeleb"
RECON_TERMS = "MIT code; coefficients of the Basel Face Model, which is non-commercial"
FACEXLIB_RELEASES = "https://github.com/xinntao/facexlib/releases/download"
GFPGAN_RELEASES = "https://github.com/TencentARC/GFPGAN/releases/download"
GFPGAN_TERMS = "Apache-2.0 code; trained on FFHQ (CC BY-NC-SA)"


@dataclass(frozen=True)
class Content:
    """One network in a file."""

    network: str  # a name in `NETWORKS`
    key: str = ""  # of the weights in a file of torch.save; empty for a bare state_dict
    prefix: str = ""  # of the names of the tensors


@dataclass(frozen=True)
class WeightsFile:
    """A file with weights."""

    name: str
    engine: str
    purpose: str
    terms: str
    page: str  # with a description and the licence
    contents: tuple[Content, ...] = ()  # empty for networks that spandrel knows
    url: str | None = None  # None if the file cannot be downloaded without a visit to the page
    is_default: bool = False  # needed for the engine's default options

    @property
    def weight_bytes(self) -> int:
        """Size of the weights in float32; files with a training state are larger, 0 if unknown."""
        return 4 * sum(prod(shape) for content in self.contents for shape in key_shapes(content.network).values())


@cache
def key_shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Return the keys and shapes of a network."""
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in NETWORKS[network]().state_dict().items()}


def _wav2lip(name: str, network: str, purpose: str, is_default: bool = False) -> WeightsFile:
    contents = (Content(network, key="state_dict"),)
    return WeightsFile(name, "wav2lip", purpose, WAV2LIP_TERMS, WAV2LIP_PAGE, contents, None, is_default)


def _sadtalker(
    name: str, purpose: str, contents: tuple[Content, ...], release: str = "v0.0.2-rc", is_default: bool = False,
    terms: str = SADTALKER_TERMS,
) -> WeightsFile:  # fmt: skip
    page = "https://github.com/OpenTalker/SadTalker#2-download-models"
    url = f"{SADTALKER_RELEASES}/{release}/{name}"
    return WeightsFile(name, "sadtalker", purpose, terms, page, contents, url, is_default)


def _facexlib(name: str, purpose: str, terms: str, contents: tuple[Content, ...], is_default: bool) -> WeightsFile:
    page, url = "https://github.com/xinntao/facexlib", f"{FACEXLIB_RELEASES}/v0.1.0/{name}"
    return WeightsFile(name, "sadtalker", purpose, terms, page, contents, url, is_default)


def _enhancement(name: str, purpose: str, terms: str, url: str) -> WeightsFile:
    return WeightsFile(name, "enhancement", purpose, terms, url.split("/releases")[0], (), url)


RENDERER_CONTENTS = tuple(
    Content(name, prefix=f"{name}.")
    for name in ("kp_extractor", "generator", "audio2exp", "audio2pose", "face_3drecon")
)
OLD_RENDERER_CONTENTS = (
    Content("generator", "generator"), Content("kp_extractor", "kp_detector"), Content("he_estimator", "he_estimator"),
)  # fmt: skip
RENDERER_TERMS = f"{SADTALKER_TERMS}; {RECON_TERMS}"

CATALOG = (
    _wav2lip("wav2lip.pth", "wav2lip", "lip-sync generator"),
    _wav2lip("wav2lip_gan.pth", "wav2lip", "lip-sync generator with sharper faces", is_default=True),
    _wav2lip("lipsync_expert.pth", "syncnet", "sync expert, to train generators"),
    _wav2lip("visual_quality_disc.pth", "quality_discriminator", "discriminator, to train generators"),
    WeightsFile(
        "s3fd-619a316812.pth", "wav2lip", "face detector; without it MTCNN is used",
        "BSD-3 code; trained on WIDER FACE (research)", "https://github.com/1adrianb/face-alignment",
        (Content("s3fd"),),
        "https://www.adrianbulat.com/downloads/python-fan/s3fd-619a316812.pth", True,
    ),
    WeightsFile(
        "syncnet_v2.model", "wav2lip", "sync metrics LSE-D and LSE-C", "see the page; research",
        "https://www.robots.ox.ac.uk/~vgg/software/lipsync", (Content("syncnet_v2"),),
        "https://www.robots.ox.ac.uk/~vgg/software/lipsync/data/syncnet_v2.model",
    ),
    _sadtalker("SadTalker_V0.0.2_256.safetensors", "renderer of 256 pixels, motion and face coefficients",
               RENDERER_CONTENTS, is_default=True, terms=RENDERER_TERMS),
    _sadtalker("SadTalker_V0.0.2_512.safetensors", "the same with a renderer of 512 pixels (--size 512)",
               RENDERER_CONTENTS, terms=RENDERER_TERMS),
    _sadtalker("mapping_00229-model.pth.tar", "head pose for --preprocess crop, extcrop and resize",
               (Content("mapping", "mapping"),), is_default=True),
    _sadtalker("mapping_00109-model.pth.tar", "head pose for --preprocess full and extfull",
               (Content("mapping_full", "mapping"),), is_default=True),
    _facexlib("alignment_WFLW_4HG.pth", "98 landmarks", "trained on WFLW (research)",
              (Content("landmark_fan98", "state_dict"),), is_default=True),
    _facexlib("detection_Resnet50_Final.pth", "face detector RetinaFace, for SadTalker's own crops",
              "MIT code; trained on WIDER FACE (research)", (Content("retinaface_resnet50"),), is_default=False),
    _sadtalker("auido2exp_00300-model.pth", "expression (--old_version)", (Content("audio2exp", "model"),), "v0.0.2"),
    _sadtalker("auido2pose_00140-model.pth", "head motion (--old_version)", (Content("audio2pose", "model"),),
               "v0.0.2"),
    _sadtalker("facevid2vid_00189-model.pth.tar", "renderer of 256 pixels (--old_version)", OLD_RENDERER_CONTENTS,
               "v0.0.2"),
    _sadtalker("epoch_20.pth", "face coefficients (--old_version)", (Content("face_3drecon", "net_recon"),), "v0.0.2",
               terms=RECON_TERMS),
    _enhancement("GFPGANv1.4.pth", "face restoration (--enhancer gfpgan)", GFPGAN_TERMS,
                 f"{GFPGAN_RELEASES}/v1.3.0/GFPGANv1.4.pth"),
    _enhancement("RestoreFormer.pth", "face restoration (--enhancer RestoreFormer)", GFPGAN_TERMS,
                 f"{GFPGAN_RELEASES}/v1.3.4/RestoreFormer.pth"),
    _enhancement("RealESRGAN_x2plus.pth", "background (--background_enhancer realesrgan)", "BSD-3",
                 "https://github.com/xinntao/Real-ESRGAN/releases/download/v0.2.1/RealESRGAN_x2plus.pth"),
)  # fmt: skip
BY_NAME = {file.name: file for file in CATALOG}
# Networks of SadTalker: prefix in the files of the renderer, and file of torch.save with its key.
PREFIXES = {content.network: content.prefix for content in RENDERER_CONTENTS}
KEYED_FILES = {
    content.network: (file.name, content.key)
    for file in CATALOG
    if file.engine == "sadtalker" and not file.name.endswith(".safetensors")
    for content in file.contents
}
