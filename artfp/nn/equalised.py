"""Layers with an equalised learning rate (Karras et al. 2018, section 4.1)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class EqualisedLinear(nn.Linear):
    """Linear layer whose weights are kept at unit variance and scaled in use.

    So Adam moves all layers alike (Karras et al. 2018, section 4.1).

    Args:
        inputs: Length of the input.
        outputs: Length of the output.
        gain: Factor on the weights.
        lr_multiplier: Factor on the layer's learning rate.
        bias: First value of the biases.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        gain: float = 1.0,
        lr_multiplier: float = 1.0,
        bias: float = 0.0,
    ) -> None:
        super().__init__(inputs, outputs)
        self.scale, self.lr_multiplier = gain * lr_multiplier / inputs**0.5, lr_multiplier
        nn.init.normal_(self.weight, std=1.0 / lr_multiplier)
        nn.init.constant_(self.bias, bias / lr_multiplier)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs) to (N, outputs)."""
        return F.linear(x, self.weight * self.scale, self.bias * self.lr_multiplier)


class EqualisedConv2d(nn.Conv2d):
    """Convolution that keeps the size, with the weights of `EqualisedLinear`.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        side: Side of the kernel, odd, in pixels.
        gain: Factor on the weights.
    """

    def __init__(self, inputs: int, outputs: int, side: int = 3, gain: float = 2.0**0.5) -> None:
        super().__init__(inputs, outputs, side, padding=side // 2)
        self.scale = gain / (inputs * side**2) ** 0.5
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)
