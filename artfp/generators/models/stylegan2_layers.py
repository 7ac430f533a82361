"""Networks of StyleGAN2: mapping, synthesis, discriminator."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artfp.generators.models.layers import minibatch_deviation, pixel_norm
from artfp.nn.equalised import EqualisedConv2d, EqualisedLinear


def stylegan2_widths(resolution: int, channel_base: int, channel_max: int) -> list[int]:
    """Return the channels at the sides 4, 8, ..., `resolution`."""
    sides = [4 * 2**stage for stage in range(resolution.bit_length() - 2)]
    return [min(channel_max, channel_base // side) for side in sides]


def scaled_leaky_relu(x: Tensor) -> Tensor:
    """Apply a leaky ReLU that is scaled to keep the variance."""
    return F.leaky_relu(x, 0.2).mul(2.0**0.5)


def blur(x: Tensor, pad: int, stride: int = 1, gain: float = 1.0) -> Tensor:
    """Filter (N, C, H, W) with the low-pass filter [1, 3, 3, 1] in both directions.

    Args:
        x: Maps of features.
        pad: Zeros at each border, in pixels: a side H becomes (H + 2 pad - 4) / stride + 1.
        stride: Distance of the outputs in pixels.
        gain: Factor on the result.
    """
    line = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device)
    kernel = (line[:, None] * line * (gain / 64.0)).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, stride=stride, padding=pad, groups=x.shape[1])


def enlarge_bilinear(y: Tensor) -> Tensor:
    """Enlarge (N, 3, H, W) to twice the side: the same filter, but edges are repeated."""
    return F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)


class Mapping(nn.Module):
    """Mapping network of `depth` layers, at 0.01 of the learning rate."""

    def __init__(self, latent: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EqualisedLinear(latent, latent, lr_multiplier=0.01) for _ in range(depth)
        )

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (N, latent) to styles of this size."""
        z = pixel_norm(z)
        for layer in self.layers:
            z = scaled_leaky_relu(layer(z))
        return z


class ModulatedConv(nn.Module):
    """Convolution whose weights are modulated and demodulated by each image's style.

    Input channels are scaled by the style, and output channels divided by the L2 norm of the
    modulated weights (Karras et al. 2020, equations 1 to 3), so that one plain convolution serves
    the whole batch.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        latent: Length of a style.
        side: Side of the kernel in pixels.
        enlarge: True to double the side of the image.
        demodulate: False to leave out the division.
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
        self.scales = EqualisedLinear(latent, inputs, bias=1.0)
        self.raw = nn.Parameter(torch.randn(outputs, inputs, side, side))
        self.enlarge, self.demodulate = enlarge, demodulate

    def weight(self) -> Tensor:
        """Return the weights (outputs, inputs, side, side) that all images share."""
        weight: Tensor = self.raw * self.raw[0].numel() ** -0.5
        return weight

    def norms(self, scales: Tensor) -> Tensor:
        """Return the L2 norms (N, outputs) of each image's filters, for scales (N, inputs)."""
        squares = self.weight().square().sum(dim=(2, 3))
        return (scales.square() @ squares.T + 1e-8).sqrt()

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map (N, inputs, H, W) and styles (N, latent) to (N, outputs, H, W), or 2H and 2W."""
        scales = self.scales(w)
        x = x * scales[:, :, None, None]
        if self.enlarge:
            x = F.conv_transpose2d(x, self.weight().transpose(0, 1), stride=2)
            x = blur(x, pad=1, gain=4.0)
        else:
            x = F.conv2d(x, self.weight(), padding=self.raw.shape[2] // 2)
        return x / self.norms(scales)[:, :, None, None] if self.demodulate else x


class StyledLayer(nn.Module):
    """Modulated convolution, noise, bias and leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, latent: int, enlarge: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, latent, enlarge=enlarge)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs, 1, 1))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        """Map as the convolution does; `noise` (N, 1, H, W) has the output's size."""
        return scaled_leaky_relu(self.conv(x, w) + self.strength * noise + self.bias)


class ToImage(nn.Module):
    """Modulated 1 x 1 convolution to three colours, without demodulation."""

    def __init__(self, inputs: int, latent: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, 3, latent, side=1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3, 1, 1))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map (N, inputs, H, W) and styles (N, latent) to (N, 3, H, W)."""
        y: Tensor = self.conv(x, w) + self.bias
        return y


class Synthesis(nn.Module):
    """Synthesis network: a constant of 4 x 4 pixels, then two layers for each doubling.

    Each side adds its own image to that of the sides below (Karras et al. 2020, figure 7b).

    Attributes:
        styles: Number of styles of an image.
        sides: Sides of the noise of each layer, in pixels.
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
        """Map styles (N, styles, latent) and noise (N, 1, side, side) to images (N, 3, R, R)."""
        x = self.constant.expand(len(w), -1, -1, -1)
        x = self.layers[0](x, w[:, 0], noise[0])
        y: Tensor = self.images[0](x, w[:, 1])
        for stage in range(1, len(self.images)):
            for number in (2 * stage - 1, 2 * stage):
                x = self.layers[number](x, w[:, number], noise[number])
            y = enlarge_bilinear(y) + self.images[stage](x, w[:, 2 * stage + 1])
        return y


class BlurredDownConv(EqualisedConv2d):
    """Low-pass filter, then a convolution that halves the side."""

    def __init__(self, inputs: int, outputs: int, side: int = 3) -> None:
        super().__init__(inputs, outputs, side, gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H/2, W/2)."""
        if self.kernel_size[0] == 1:  # filter only the pixels that the kernel meets
            return F.conv2d(blur(x, pad=1, stride=2), self.weight * self.scale, self.bias)
        return F.conv2d(blur(x, pad=2), self.weight * self.scale, self.bias, stride=2)


class StyleGAN2DownBlock(nn.Module):
    """Residual block of the discriminator, with a 1 x 1 convolution as shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = EqualisedConv2d(inputs, inputs, gain=1.0)
        self.second = BlurredDownConv(inputs, outputs)
        self.shortcut = BlurredDownConv(inputs, outputs, side=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H/2, W/2); the sum keeps the variance."""
        h = scaled_leaky_relu(self.second(scaled_leaky_relu(self.first(x))))
        narrow: Tensor = (h + self.shortcut(x)) * 0.5**0.5
        return narrow


class StyleGAN2Discriminator(nn.Module):
    """Residual discriminator."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.image = EqualisedConv2d(3, channels[-1], 1, gain=1.0)
        self.blocks = nn.Sequential(
            *(StyleGAN2DownBlock(b, a) for a, b in pairwise(channels[::-1]))
        )
        self.last = EqualisedConv2d(channels[0] + 1, channels[0], gain=1.0)
        self.dense = EqualisedLinear(16 * channels[0], channels[0])
        self.logit = EqualisedLinear(channels[0], 1)

    def forward(self, y: Tensor) -> Tensor:
        """Map images (N, 3, R, R) in [-1, 1] to logits (N,) of being real."""
        h = self.blocks(scaled_leaky_relu(self.image(y)))
        h = scaled_leaky_relu(self.last(minibatch_deviation(h)))
        logits: Tensor = self.logit(scaled_leaky_relu(self.dense(h.flatten(1))))
        return logits.flatten()
