"""The networks of StyleGAN2: mapping, synthesis, discriminator."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artfp.generators.models.layers import minibatch_deviation, pixel_norm
from artfp.nn.equalised import EqualConv, EqualLinear


def widths(resolution: int, volume: int, most: int) -> list[int]:
    """Channels at the sides 4, 8, ..., `resolution`: `volume` / side, at most `most`."""
    return [min(most, volume // (4 * 2**stage)) for stage in range(resolution.bit_length() - 2)]


def rectified(x: Tensor) -> Tensor:
    """Leaky ReLU, scaled to keep the variance."""
    return F.leaky_relu(x, 0.2) * 2.0**0.5


def blurred(x: Tensor, pad: int, stride: int = 1, gain: float = 1.0) -> Tensor:
    """(N, C, H, W) through the low-pass filter [1, 3, 3, 1] in both directions.

    Args: `pad`, zeros at each border, in pixels: a side H becomes (H + 2 pad - 4) / stride + 1.
    """
    line = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device)
    kernel = (line[:, None] * line * (gain / 64.0)).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, stride=stride, padding=pad, groups=x.shape[1])


def enlarged(y: Tensor) -> Tensor:
    """Images (N, 3, H, W) at twice the side; the same filter, but for what is beyond the border."""
    return F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)


class Mapping(nn.Module):
    """Latents (N, latent) to styles of this size, by `depth` layers at .01 of the rate."""

    def __init__(self, latent: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EqualLinear(latent, latent, rate=0.01) for _ in range(depth))

    def forward(self, z: Tensor) -> Tensor:
        """Styles w."""
        z = pixel_norm(z)
        for layer in self.layers:
            z = rectified(layer(z))
        return z


class ModulatedConv(nn.Module):
    """A convolution whose input channels are scaled by each image's style.

    Each image's output channels are then divided by the L2 norm of the weights that these scales
    amount to (Karras et al. 2020, equations 1 to 3). Scaling input and output takes one plain
    convolution for the whole batch.

    Args: `side` of the kernel in pixels; `enlarge`, whether the image's side is doubled;
    `demodulate`, whether there is a division.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        latent: int,
        side: int = 3,
        enlarge: bool = False,
        demodulate: bool = True,
    ) -> None:
        super().__init__()
        self.scales = EqualLinear(latent, inputs, bias=1.0)
        self.raw = nn.Parameter(torch.randn(outputs, inputs, side, side))
        self.enlarge, self.demodulate = enlarge, demodulate

    def weight(self) -> Tensor:
        """The weights (outputs, inputs, side, side) that all images share."""
        weight: Tensor = self.raw * self.raw[0].numel() ** -0.5
        return weight

    def norms(self, scales: Tensor) -> Tensor:
        """L2 norms (N, outputs) of each image's filters, for scales (N, inputs)."""
        squares = self.weight().square().sum(dim=(2, 3))
        return (scales.square() @ squares.T + 1e-8).sqrt()

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(N, inputs, H, W) and styles (N, latent) to (N, outputs, H, W), or of 2H and 2W."""
        scales = self.scales(w)
        x = x * scales[:, :, None, None]
        if self.enlarge:
            x = F.conv_transpose2d(x, self.weight().transpose(0, 1), stride=2)
            x = blurred(x, pad=1, gain=4.0)
        else:
            x = F.conv2d(x, self.weight(), padding=self.raw.shape[2] // 2)
        return x / self.norms(scales)[:, :, None, None] if self.demodulate else x


class StyledLayer(nn.Module):
    """A modulated convolution, noise, bias and rectification."""

    def __init__(self, inputs: int, outputs: int, latent: int, enlarge: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, latent, enlarge=enlarge)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs, 1, 1))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        """As the convolution; `noise` (N, 1, H, W) of the output's size."""
        return rectified(self.conv(x, w) + self.strength * noise + self.bias)


class ToImage(nn.Module):
    """A modulated convolution of one pixel to three colours, without demodulation."""

    def __init__(self, inputs: int, latent: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, 3, latent, side=1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3, 1, 1))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, 3, H, W)."""
        y: Tensor = self.conv(x, w) + self.bias
        return y


class Synthesis(nn.Module):
    """Styles to images: a constant of 4 x 4 pixels, then two layers for each doubling.

    Each side adds its own image to that of the sides below (Karras et al. 2020, figure 7b).

    Attributes: `styles`, how many styles an image takes; `sides` of its noise, in pixels.
    """

    def __init__(self, channels: list[int], latent: int) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.randn(channels[0], 4, 4))
        layers = [StyledLayer(channels[0], channels[0], latent)]
        for a, b in pairwise(channels):
            layers += [StyledLayer(a, b, latent, enlarge=True), StyledLayer(b, b, latent)]
        self.layers = nn.ModuleList(layers)
        self.images = nn.ModuleList(ToImage(c, latent) for c in channels)
        self.styles = len(layers) + 1
        self.sides = [4 * 2 ** ((number + 1) // 2) for number in range(len(layers))]

    def forward(self, w: Tensor, noise: list[Tensor]) -> Tensor:
        """Styles (N, styles, latent) and noise, (N, 1, side, side) each, to (N, 3, R, R)."""
        x = self.constant.expand(len(w), -1, -1, -1)
        x = self.layers[0](x, w[:, 0], noise[0])
        y: Tensor = self.images[0](x, w[:, 1])
        for stage in range(1, len(self.images)):
            for number in (2 * stage - 1, 2 * stage):
                x = self.layers[number](x, w[:, number], noise[number])
            y = enlarged(y) + self.images[stage](x, w[:, 2 * stage + 1])
        return y


class Halving(EqualConv):
    """A low-pass filter, then a convolution that halves the side."""

    def __init__(self, inputs: int, outputs: int, side: int = 3) -> None:
        super().__init__(inputs, outputs, side, gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/2, W/2)."""
        if self.kernel_size[0] == 1:  # filter only where it is looked at
            return F.conv2d(blurred(x, pad=1, stride=2), self.weight * self.scale, self.bias)
        return F.conv2d(blurred(x, pad=2), self.weight * self.scale, self.bias, stride=2)


class ResidualBlock(nn.Module):
    """Two convolutions beside one of one pixel: (N, inputs, H, W) to (N, outputs, H/2, W/2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = EqualConv(inputs, inputs, gain=1.0)
        self.second = Halving(inputs, outputs)
        self.shortcut = Halving(inputs, outputs, side=1)

    def forward(self, x: Tensor) -> Tensor:
        """The sum, at the variance of its parts."""
        h = rectified(self.second(rectified(self.first(x))))
        narrow: Tensor = (h + self.shortcut(x)) * 0.5**0.5
        return narrow


class Discriminator(nn.Module):
    """Images (N, 3, R, R) in [-1, 1] to logits (N,) of being real."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.image = EqualConv(3, channels[-1], 1, gain=1.0)
        self.blocks = nn.Sequential(*(ResidualBlock(b, a) for a, b in pairwise(channels[::-1])))
        self.last = EqualConv(channels[0] + 1, channels[0], gain=1.0)
        self.dense = EqualLinear(16 * channels[0], channels[0])
        self.logit = EqualLinear(channels[0], 1)

    def forward(self, y: Tensor) -> Tensor:
        """Logits (N,)."""
        h = self.blocks(rectified(self.image(y)))
        h = rectified(self.last(minibatch_deviation(h)))
        logits: Tensor = self.logit(rectified(self.dense(h.flatten(1))))
        return logits.flatten()
