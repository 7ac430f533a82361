"""Layers with an equalised learning rate (Karras et al. 2018, section 4.1)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class EqualLinear(nn.Linear):
    """A linear layer whose weights are kept at unit variance and scaled in use.

    So Adam moves all layers alike (Karras et al. 2018, section 4.1). Args: `rate`, a factor on its
    learning rate; `bias`, what its biases begin with.
    """

    def __init__(
        self, inputs: int, outputs: int, gain: float = 1.0, rate: float = 1.0, bias: float = 0.0
    ) -> None:
        super().__init__(inputs, outputs)
        self.scale, self.rate = gain * rate / inputs**0.5, rate
        nn.init.normal_(self.weight, std=1.0 / rate)
        nn.init.constant_(self.bias, bias / rate)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) to (N, outputs)."""
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)


class EqualConv(nn.Conv2d):
    """A convolution that keeps the size, whose weights are at unit variance and scaled in use.

    As `EqualLinear`. Args: `side` of the kernel, odd, in pixels.
    """

    def __init__(self, inputs: int, outputs: int, side: int = 3, gain: float = 2.0**0.5) -> None:
        super().__init__(inputs, outputs, side, padding=side // 2)
        self.scale = gain / (inputs * side**2) ** 0.5
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)
