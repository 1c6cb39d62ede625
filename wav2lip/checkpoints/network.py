"""Networks from the weights of a checkpoint, and errors for weights of another network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from wav2lip.checkpoints.checkpoint import Checkpoint, load_checkpoint
from wav2lip.errors import InputError
from wav2lip.types import PathType

Network = TypeVar("Network", bound=nn.Module)
MAX_SIZE_RATIO = 2  # of a network's size to that of its weights; if some are missing, they are named

# One key that identifies each network.
DISCRIMINATOR_KEY = "binary_pred.0.weight"
GENERATOR_KEY = "output_block.1.weight"
EXPERT_KEY = "face_encoder.0.conv_block.0.weight"
NETWORK_KEYS = {"VisualQualityDiscriminator": DISCRIMINATOR_KEY, "Wav2Lip": GENERATOR_KEY, "SyncNet": EXPERT_KEY}
KNOWN_NETWORKS = {
    DISCRIMINATOR_KEY: "a visual-quality discriminator",
    GENERATOR_KEY: "a Wav2Lip generator",
    EXPERT_KEY: "a SyncNet expert",
    "conv3_3_norm_mbox_conf.weight": "the S3FD face detector",
    "netcnnaud.0.weight": "SyncNet v2",
}


def load_network(path: PathType, network: type[Network]) -> Network:
    """Build a network with the width and resolution of a checkpoint's weights, and load them strictly.

    network: SyncNet, Wav2Lip or VisualQualityDiscriminator.
    Raises: InputError if the file has no such network.
    """
    return build_network(load_checkpoint(path, NETWORK_KEYS.get(network.__name__)), path, network)


def build_network(checkpoint: Checkpoint, path: PathType, network: type[Network]) -> Network:
    """Build a network from a loaded checkpoint; see `load_network`. path: of its file, for messages."""
    weights = checkpoint.state_dict
    sized: Any = network
    is_another = NETWORK_KEYS.get(network.__name__, "") not in ("", *weights)
    try:
        shape = sized.infer_shape(weights)._asdict()
        _check_size(sized, shape, weights)
    except KeyError as error:
        if is_another or network.__name__ not in NETWORK_KEYS:
            raise _wrong_network(path, weights, network) from error
        raise _unknown_layers(path, network, f"it lacks {error.args[0]}") from error
    except (IndexError, RuntimeError, ValueError) as error:  # IndexError: a scalar. RuntimeError: sizes beyond int64
        if is_another:
            raise _wrong_network(path, weights, network) from error
        raise _unknown_layers(path, network, str(error).partition("\n")[0]) from error
    model: Network = sized(**shape)
    load_weights(model, weights, path)
    return model


def _check_size(network: Any, shape: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Raise ValueError if a network is larger than its weights, before it takes memory: one layer sets its width."""
    with torch.device("meta"):
        skeleton: nn.Module = network(**shape)
    size, available = (sum(map(Tensor.numel, dict_.values())) for dict_ in (skeleton.state_dict(), weights))
    if size > MAX_SIZE_RATIO * available:
        raise ValueError(f"its first layer belongs to a network of {size} weights, but it has {available}")


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: PathType) -> None:
    """Load weights strictly; InputError with `path` if they belong to another network, width or resolution."""
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise _mismatch(path, weights, model, str(error)) from error


def _mismatch(path: PathType, weights: Mapping[str, Tensor], model: nn.Module, message: str) -> InputError:
    """Build the error for weights that torch rejected with a message."""
    sized: Any = type(model)
    detail = next((line.strip()[:120] for line in message.splitlines()[1:2]), message)
    if identify_network(weights) != identify_network(model.state_dict()):
        return _wrong_network(path, weights, sized, f" ({detail})")
    try:
        actual, expected = sized.infer_shape(weights), sized.infer_shape(model.state_dict())
    except (AttributeError, KeyError):
        return _wrong_network(path, weights, sized, f" ({detail})")
    except ValueError as error:
        return _unknown_layers(path, sized, str(error))
    if actual == expected:
        return _unknown_layers(path, sized, detail)
    return InputError(
        f"{path}: has width {actual.width:g} and resolution {actual.resolution}, but the {sized.__name__} has width "
        f"{expected.width:g} and resolution {expected.resolution}; give another file, or change model and model.width"
    )


def _wrong_network(path: PathType, weights: Mapping[str, Tensor], expected: type, detail: str = "") -> InputError:
    actual = identify_network(weights)
    return InputError(f"{path}: must contain a {expected.__name__}, but contains {actual}{detail}; give another file")


def identify_network(weights: Mapping[str, Tensor]) -> str:
    """Return the description of the network that has these weights."""
    return next((name for key, name in KNOWN_NETWORKS.items() if key in weights), "another network")


def has_generator(path: PathType) -> bool:
    """Return whether a file is a readable checkpoint of a Wav2Lip generator."""
    try:
        return GENERATOR_KEY in load_checkpoint(path).state_dict
    except InputError:
        return False


def _unknown_layers(path: PathType, expected: type, detail: str) -> InputError:
    return InputError(
        f"{path}: a {expected.__name__} with unknown layers ({detail}); give a checkpoint of this project or upstream"
    )
