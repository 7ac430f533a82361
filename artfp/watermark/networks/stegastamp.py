"""The published architecture of ArtFP (Yu et al., ICCV 2021, arXiv 2007.08457).

A StegaStamp-like U-Net encoder and a strided convolutional decoder. Layer names and shapes are
those of the checkpoints that the paper's authors published, so their state dicts load by name.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artfp.watermark.networks.base import Decoder, Encoder
from artfp.watermark.networks.shapes import SECRET_SIDE, check_published_shape


def initialise_he(*networks: nn.Module) -> None:
    """Draw all weights from He's normal distribution, biases 0 (He et al., ICCV 2015, section 2.2).

    PyTorch's default passes on a sixth of the mean square at each layer: of the effect of the
    message, 7e-6 of the standard deviation is left at the logits (32 px, 64 bits; with this one
    0.23), and a training stays at bit accuracy 0.5 for thousands of steps.
    """
    for network in networks:
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)


def _double(x: Tensor) -> Tensor:
    """Upsample by 2 (nearest neighbour), with one zero row below and one zero column right."""
    return F.pad(F.interpolate(x, scale_factor=2.0, mode="nearest"), (0, 1, 0, 1))


class StegaStampEncoder(Encoder):
    """U-Net on image and upsampled message; the output is a whole image (sigmoid)."""

    architecture = "stegastamp"
    check_shape = staticmethod(check_published_shape)

    def __init__(self, bits: int, resolution: int) -> None:
        super().__init__(bits, resolution)
        self.secret_dense = nn.Linear(bits, SECRET_SIDE * SECRET_SIDE * 3)
        self.conv1 = nn.Conv2d(6, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 32, 3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(32, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv2d(64, 128, 3, stride=2, padding=1)
        self.conv5 = nn.Conv2d(128, 256, 3, stride=2, padding=1)
        self.up6 = nn.Conv2d(256, 128, 2)
        self.conv6 = nn.Conv2d(256, 128, 3, padding=1)
        self.up7 = nn.Conv2d(128, 64, 2)
        self.conv7 = nn.Conv2d(128, 64, 3, padding=1)
        self.up8 = nn.Conv2d(64, 32, 2)
        self.conv8 = nn.Conv2d(64, 32, 3, padding=1)
        self.up9 = nn.Conv2d(32, 32, 2)
        self.conv9 = nn.Conv2d(70, 32, 3, padding=1)
        self.conv10 = nn.Conv2d(32, 32, 3, padding=1)
        self.residual_ = nn.Conv2d(32, 3, 1)
        # The published name of this layer is that of a method of ours.
        module: Any = self  # torch declares no types for these two
        module._register_load_state_dict_pre_hook(self._from_published_name)
        module.register_state_dict_post_hook(self._to_published_name)

    @staticmethod
    def _from_published_name(state: dict[str, Tensor], prefix: str, *_: object) -> None:
        for part in ("weight", "bias"):
            if f"{prefix}residual.{part}" in state:
                state[f"{prefix}residual_.{part}"] = state.pop(f"{prefix}residual.{part}")

    @staticmethod
    def _to_published_name(
        _module: nn.Module, state: dict[str, Tensor], prefix: str, _metadata: object
    ) -> None:
        for part in ("weight", "bias"):
            state[f"{prefix}residual.{part}"] = state.pop(f"{prefix}residual_.{part}")

    def forward(self, x: Tensor, messages: Tensor) -> Tensor:
        """Return fingerprinted images (N, 3, R, R) in (0, 1)."""
        secret = F.relu(self.secret_dense(messages)).view(-1, 3, SECRET_SIDE, SECRET_SIDE)
        secret = F.interpolate(secret, size=(x.shape[-2], x.shape[-1]), mode="nearest")
        both = torch.cat([secret, x], dim=1)
        c1 = F.relu(self.conv1(both))
        c2 = F.relu(self.conv2(c1))
        c3 = F.relu(self.conv3(c2))
        c4 = F.relu(self.conv4(c3))
        c5 = F.relu(self.conv5(c4))
        u = F.relu(self.up6(_double(c5)))
        u = F.relu(self.conv6(torch.cat([c4, u], dim=1)))
        u = F.relu(self.up7(_double(u)))
        u = F.relu(self.conv7(torch.cat([c3, u], dim=1)))
        u = F.relu(self.up8(_double(u)))
        u = F.relu(self.conv8(torch.cat([c2, u], dim=1)))
        u = F.relu(self.up9(_double(u)))
        u = F.relu(self.conv9(torch.cat([c1, u, both], dim=1)))
        u = F.relu(self.conv10(u))
        return torch.sigmoid(self.residual_(u))

    def residual(self, x: Tensor, messages: Tensor) -> Tensor:
        """Return the difference that the network makes to images, (N, 3, R, R)."""
        marked: Tensor = self(x, messages)
        return marked - x


class StegaStampDecoder(Decoder):
    """Seven 3x3 convolutions (five of stride 2), then two dense layers."""

    architecture = "stegastamp"
    check_shape = staticmethod(check_published_shape)

    def __init__(self, bits: int, resolution: int) -> None:
        super().__init__(bits, resolution)
        plan = [(3, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
        plan += [(64, 64, 2), (64, 128, 2), (128, 128, 2)]
        layers: list[nn.Module] = []
        for inputs, outputs, stride in plan:
            layers += [nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), nn.ReLU()]
        self.decoder = nn.Sequential(*layers)
        features = 128 * max(1, resolution // 32) ** 2
        self.dense = nn.Sequential(nn.Linear(features, 512), nn.ReLU(), nn.Linear(512, bits))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, bits) of images (N, 3, R, R) in [0, 1]."""
        logits: Tensor = self.dense(self.decoder(x).flatten(1))
        return logits
