"""Networks of Wav2Lip (Prajwal et al., ACM Multimedia 2020), with the state_dict keys of the published checkpoints."""

from models.discriminator import VisualQualityDiscriminator
from models.syncnet import SyncNet
from models.syncnet_v2 import SyncNetV2
from models.wav2lip import Wav2Lip

__all__ = ["SyncNet", "SyncNetV2", "VisualQualityDiscriminator", "Wav2Lip"]
