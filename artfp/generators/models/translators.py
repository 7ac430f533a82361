"""Networks shared by translators: the residual translator and the patch discriminator."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def initialise_translator(module: nn.Module) -> None:
    """Draw convolutions' weights from N(0, 0.02), biases 0 (Zhu et al. 2017, appendix 7.1)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def same_size_conv(
    inputs: int, outputs: int, kernel: int, padding: str, bias: bool = False
) -> nn.Conv2d:
    """Make a convolution that keeps the size; `padding` is reflect or zeros."""
    if padding not in ("reflect", "zeros"):
        raise ValueError(f"padding is {padding!r}; choose reflect or zeros")
    mode: Any = padding
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias, padding_mode=mode)


class TranslatorBlock(nn.Module):
    """Residual block x + norm(conv(relu(norm(conv(x))))) with kernels of 3."""

    def __init__(self, width: int, padding: str, affine: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            same_size_conv(width, width, 3, padding),
            nn.InstanceNorm2d(width, affine=affine),
            nn.ReLU(inplace=True),
            same_size_conv(width, width, 3, padding),
            nn.InstanceNorm2d(width, affine=affine),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, H, W) to the same shape."""
        y: Tensor = x + self.layers(x)
        return y


class ResNetTranslator(nn.Module):
    """Translator: two halvings of the side, residual blocks, two doublings.

    It is that of Johnson et al. 2016 as CycleGAN has it (Zhu et al. 2017, appendix 7.2): c7s1-w,
    d2w, d4w, blocks of 4w, u2w, uw, c7s1-3, instance norm and ReLU, tanh in the end. A convolution
    before a norm has no bias, which the norm would take away.

    Args:
        width: Channels at the full side.
        blocks: Number of residual blocks.
        padding: Padding of the blocks and of the outer convolutions, reflect or zeros.
        inputs: Channels of the input.
        kernel: Kernel of the resampling convolutions in pixels: 3, or 4, which overlaps evenly in
            the doublings.
        affine: True if the norms have a scale and a shift.
    """

    def __init__(
        self,
        width: int,
        blocks: int,
        padding: str = "reflect",
        inputs: int = 3,
        kernel: int = 3,
        affine: bool = False,
    ) -> None:
        super().__init__()
        self.inputs, self.width = inputs, width
        if kernel not in (3, 4):
            raise ValueError(f"kernel is {kernel}; choose 3 or 4")
        if blocks < 1:
            raise ValueError(f"{blocks} residual blocks; there must be one or more")

        def rest(channels: int) -> nn.Sequential:
            norm = nn.InstanceNorm2d(channels, affine=affine)
            return nn.Sequential(norm, nn.ReLU(inplace=True))

        def down(channels: int) -> nn.Conv2d:
            return nn.Conv2d(channels, 2 * channels, kernel, stride=2, padding=1, bias=False)

        def up(channels: int) -> nn.ConvTranspose2d:
            padding = 4 - kernel  # a kernel of 3 pixels would leave out a row and a column
            return nn.ConvTranspose2d(channels, channels // 2, kernel, 2, 1, padding, bias=False)

        self.first = nn.Sequential(same_size_conv(inputs, width, 7, padding), *rest(width))
        self.downs = nn.ModuleList([down(width), down(2 * width)])
        self.rests = nn.ModuleList([rest(2 * width), rest(4 * width)])
        self.blocks = nn.ModuleList(
            TranslatorBlock(4 * width, padding, affine) for _ in range(blocks)
        )
        self.ups = nn.Sequential(up(4 * width), *rest(2 * width), up(2 * width), *rest(width))
        self.last = same_size_conv(width, 3, 7, padding, bias=True)
        self.middle = (blocks + 1) // 2
        initialise_translator(self)

    @property
    def widths(self) -> list[int]:
        """Channels of the maps that `encode` returns."""
        return [self.inputs, 2 * self.width, *[4 * self.width] * 3]

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return features of images (N, inputs, R, R): five maps (N, channels, side, side).

        These are the image itself, both halving convolutions, the first block and the middle one,
        the fifth of nine (Park et al. 2020, appendix). The last is the input of `decode`.
        """
        features = [x]
        h = self.first(x)
        for down, rest in zip(self.downs, self.rests, strict=True):
            h = down(h)
            features.append(h)
            h = rest(h)
        for number, block in enumerate(self.blocks[: self.middle], 1):
            h = block(h)
            if number == 1:
                features.append(h)
        return [*features, h]

    def decode(self, h: Tensor) -> Tensor:
        """Map the last of the features to images (N, 3, R, R) in [-1, 1]."""
        for block in self.blocks[self.middle :]:
            h = block(h)
        y: Tensor = self.last(self.ups(h))
        return y.tanh()

    def forward(self, x: Tensor) -> Tensor:
        """Translate images (N, inputs, R, R) to images (N, 3, R, R) in [-1, 1]."""
        return self.decode(self.encode(x)[-1])


class PatchDiscriminator(nn.Module):
    """PatchGAN: a score for each of many overlapping patches.

    C64-C128-C256-C512 and a convolution to one channel, kernels of 4, leaky ReLU of slope 0.2,
    instance norm but on the first: the receptive field is 70 x 70 pixels, zero outside the image
    (Isola et al. 2017; Zhu et al. 2017, appendix 7.2).

    Args:
        width: Channels of the first layer, the 64 of C64.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(3, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for times, stride in ((2, 2), (4, 2), (8, 1)):
            layers += [
                nn.Conv2d(width * times // 2, width * times, 4, stride, padding=1, bias=False),
                nn.InstanceNorm2d(width * times),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, padding=1))
        initialise_translator(self)

    def forward(self, y: Tensor) -> Tensor:
        """Map images (N, 3, R, R) in [-1, 1] to the scores (N, P) of P patches."""
        scores: Tensor = self.layers(y)
        return scores.flatten(1)
