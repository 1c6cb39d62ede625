"""SyncNet v2 (Chung and Zisserman, "Out of time: automated lip sync in the wild", 2016), used for the sync metrics.

Wav2Lip is trained with another network, `models.syncnet`. Attribute names, the order of the four modules and the
indices inside them are the format of the published file, syncnet_v2.model.
"""

from __future__ import annotations

from torch import Tensor, nn

WINDOW_FRAMES = 5  # 0.2 s at 25 fps
EMBEDDING_SIZE = 1024


class SyncNetV2(nn.Module):
    """Two encoders that map audio and face to points, close to each other if they match."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(  # 13 x 20, cepstra x time
            *_conv2d(1, 64, 3, padding=1),
            nn.Identity(),  # published as a pooling layer of size 1
            *_conv2d(64, 192, 3, padding=1),
            nn.MaxPool2d(3, stride=(1, 2)),  # 11 x 9
            *_conv2d(192, 384, 3, padding=1),
            *_conv2d(384, 256, 3, padding=1),
            *_conv2d(256, 256, 3, padding=1),
            nn.MaxPool2d(3, stride=2),  # 5 x 4
            *_conv2d(256, 512, (5, 4)),  # 1 x 1
        )
        self.netfcaud = _head()
        self.netfclip = _head()
        self.netcnnlip = nn.Sequential(  # T x 224 x 224
            *_conv3d(3, 96, (WINDOW_FRAMES, 7, 7), stride=2),  # T - 4 x 109 x 109: the only layer that spans time
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2)),  # 54 x 54
            *_conv3d(96, 256, (1, 5, 5), stride=2, padding=1),  # 26 x 26
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),  # 13 x 13
            *_conv3d(256, 256, (1, 3, 3), padding=1),
            *_conv3d(256, 256, (1, 3, 3), padding=1),
            *_conv3d(256, 256, (1, 3, 3), padding=1),
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2)),  # 6 x 6
            *_conv3d(256, 512, (1, 6, 6)),  # 1 x 1
        )

    def embed_audio(self, cepstra: Tensor) -> Tensor:
        """Embed MFCC (B, 1, 13, 20) float32 of the 0.2 s of audio of five frames as (B, 1024), not normalized."""
        return self.netfcaud(self.netcnnaud(cepstra).flatten(1))

    def embed_lips(self, frames: Tensor) -> Tensor:
        """Embed every window of five consecutive frames.

        frames: (B, 3, T, 224, 224) float32 in 0..255, BGR, T >= 5: faces in time order.
        Returns: (B, T - 4, 1024), not normalized; row v is the window of frames v..v + 4.
        """
        features = self.netcnnlip(frames).flatten(2).transpose(1, 2)  # (B, T - 4, 512)
        return self.netfclip(features.flatten(0, 1)).unflatten(0, features.shape[:2])


def _conv2d(channels_in: int, channels_out: int, kernel: int | tuple[int, int], padding: int = 0) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, kernel, padding=padding)
    return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)]


def _conv3d(
    channels_in: int, channels_out: int, kernel: tuple[int, int, int], stride: int = 1, padding: int = 0
) -> list[nn.Module]:
    """stride, padding: of height and width; time has stride 1 and no padding."""
    convolution = nn.Conv3d(channels_in, channels_out, kernel, (1, stride, stride), (0, padding, padding))
    return [convolution, nn.BatchNorm3d(channels_out), nn.ReLU(inplace=True)]


def _head() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(inplace=True), nn.Linear(512, EMBEDDING_SIZE)
    )
