"""Networks that tell sources of images apart: the published one, and a smaller one.

`PublishedClassifier` is the classifier of Yu, Davis and Fritz (ICCV 2019, arXiv 1811.08180), built
from its description, with the settings of their two studies: what band of frequencies it is shown,
and how large the patches are that it convolves. `CompactClassifier` needs far fewer images and far
less time. Both take squares with a side that is a power of two; images of other sizes are cut, not
resized (`artfp.passive.attributors.window`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artfp.core.errors import UserError
from artfp.nn.blocks import (
    ConvNormReLU,
    SRNetBlock,
    SRNetPoolingBlock,
    high_pass,
)
from artfp.nn.equalised import EqualisedConv2d, EqualisedLinear

MIN_RESOLUTION, MAX_RESOLUTION = 32, 256
"""Sides in pixels."""

FINAL_SIDE = 4
"""Side of the last maps."""

LOW_PASS_FACTORS = (1, 2, 4, 8, 16, 32)
"""Of the frequency study."""

MAX_STATISTICS = 256
"""Numbers that `seen` tells of an image's maps, at most."""

_MOST_CHANNELS = 512
_CHANNELS_TIMES_SIDE = 2048


@dataclass(frozen=True)
class ClassifierDesign:
    """All that decides a network but for its weights and the number of its sources.

    `network`: see NETWORKS. `resolution`: side of the images. `low_pass`: the factor by which they
    are made smaller and large again, 1 for not at all; or `residual`: what that takes away.
    `convolve_from`, of the published network: the side from which on maps are convolved; smaller
    ones are only pooled.

    Raises UserError: a value that cannot be.
    """

    network: str = "compact"
    resolution: int = 128
    low_pass: int = 1
    residual: int | None = None
    convolve_from: int = FINAL_SIDE

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise UserError(f"network {self.network!r}: choose from {', '.join(NETWORKS)}")
        if self.resolution not in _powers(MIN_RESOLUTION, MAX_RESOLUTION):
            raise UserError(
                f"resolution is {self.resolution}; take a power of two from {MIN_RESOLUTION} "
                f"to {MAX_RESOLUTION}"
            )
        if self.low_pass not in LOW_PASS_FACTORS:
            raise UserError(f"low_pass is {self.low_pass}; choose from {_listed(LOW_PASS_FACTORS)}")
        if self.residual is not None and self.residual not in LOW_PASS_FACTORS[1:]:
            known = _listed(LOW_PASS_FACTORS[1:])
            raise UserError(f"residual is {self.residual}; choose from {known}")
        if self.low_pass > 1 and self.residual is not None:
            raise UserError("low_pass and residual exclude each other; give one")
        sides = _powers(FINAL_SIDE, self.resolution)
        if self.convolve_from not in sides:
            raise UserError(
                f"convolve_from is {self.convolve_from}; at {self.resolution} px choose from "
                f"{_listed(sides)}"
            )
        if self.convolve_from != FINAL_SIDE and self.network != "published":
            raise UserError("convolve_from is a setting of the published network alone")

    def card(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def load(cls, card: Mapping[str, Any]) -> ClassifierDesign:
        """What `card` gave. Raises KeyError, TypeError, UserError: anything else."""
        return cls(**{name: card[name] for name in cls.__dataclass_fields__})

    def build(self, sources: int) -> SourceClassifier:
        """The network for so many sources, two or more, with new weights."""
        if sources < 2:
            raise UserError(f"an attributor tells two sources or more apart; found {sources}")
        return NETWORKS[self.network](self, sources)

    def input_band(self, x: Tensor) -> Tensor:
        """The band of images (N, 3, R, R) in [0, 1] that the network sees, around 0, in +-1."""
        if self.residual is not None:
            return 2.0 * (x - low_pass_filter(x, self.residual))
        return 2.0 * low_pass_filter(x, self.low_pass) - 1.0


def low_pass_filter(x: Tensor, factor: int) -> Tensor:
    """Images (N, C, H, W), sides multiples of `factor`: means of its squares, enlarged linearly."""
    if factor == 1:
        return x
    size = (x.shape[-2], x.shape[-1])
    return F.interpolate(F.avg_pool2d(x, factor), size, mode="bilinear", align_corners=False)


class SourceClassifier(nn.Module):
    """Base of the networks: a trunk that makes features, and a linear layer that makes logits.

    Attributes: `design`; `sources`, how many; `trunk` and `head`, which a subclass provides;
    `STATISTICS_OF`, the modules of the trunk whose maps give traits.
    """

    STATISTICS_OF: ClassVar[tuple[type[nn.Module], ...]]
    trunk: nn.Sequential
    head: nn.Linear

    def __init__(self, design: ClassifierDesign, sources: int) -> None:
        super().__init__()
        self.design, self.sources = design, sources

    def features(self, x: Tensor) -> Tensor:
        """The last layer but one (N, F) of images (N, 3, R, R) in [0, 1].

        Raises ValueError: images of another size.
        """
        side = self.design.resolution
        if tuple(x.shape[1:]) != (3, side, side):
            raise ValueError(f"images {tuple(x.shape)}, expected (N, 3, {side}, {side})")
        return cast(Tensor, self.trunk(self.design.input_band(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, sources) of images (N, 3, R, R) in [0, 1]."""
        return cast(Tensor, self.head(self.features(x)))

    def logits_and_statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N, sources) and feature statistics (N, T), T at most MAX_STATISTICS.

        Feature statistics are means and standard deviations, over all places, of the first feature
        maps of STATISTICS_OF that are larger than the last ones. Logits only distinguish the
        sources that the network learned; early maps still hold what else is in an image, and so
        reveal that it has another source.
        """
        maps, told = self.design.input_band(x), 0
        traits: list[Tensor] = []
        for module in self.trunk:
            maps = module(maps)
            if (
                isinstance(module, self.STATISTICS_OF)
                and maps.ndim == 4
                and maps.shape[-1] > FINAL_SIDE
            ):
                told += 2 * maps.shape[1]
                if told <= MAX_STATISTICS:
                    traits += [maps.mean((2, 3)), maps.std((2, 3))]
        return self.head(maps), torch.cat(traits, 1)


class PublishedClassifier(SourceClassifier):
    """The classifier of Yu et al. 2019, which is ProGAN's discriminator without its normalisation.

    From R to 8 pixels a side two 3x3 convolutions each, and 2x2 average pooling; at 4x4 one more,
    then a dense layer of 512 and one of a logit a source. Leaky ReLU of slope 0.2 after all but the
    last; equalised learning rates; 16 channels at 128 pixels, twice as many at half the side, at
    most 512. As in ProGAN the second convolution of a side already has the channels of the next.

    With `convolve_from` above 4 there is one convolution at that side, and pooling from there on.
    """

    STATISTICS_OF = (nn.LeakyReLU,)

    def __init__(self, design: ClassifierDesign, sources: int) -> None:
        super().__init__(design, sources)
        layers: list[nn.Module] = []
        channels, side = 3, design.resolution
        while side >= design.convolve_from:
            layers += _convolved(channels, _channels(side))
            channels = _channels(side)
            if side > design.convolve_from:
                layers += _convolved(channels, _channels(side // 2))
                channels = _channels(side // 2)
                layers.append(nn.AvgPool2d(2))
            side //= 2
        if design.convolve_from > FINAL_SIDE:
            layers.append(nn.AvgPool2d(design.convolve_from // FINAL_SIDE))
        width = _channels(FINAL_SIDE)
        dense = EqualisedLinear(channels * FINAL_SIDE**2, width, gain=2.0**0.5)
        self.trunk = nn.Sequential(*layers, nn.Flatten(), dense, nn.LeakyReLU(0.2))
        self.head = EqualisedLinear(width, sources)

    @property
    def receptive_field(self) -> int:
        """Side in pixels of the patch that a value of the last convolution depends on.

        At 128 pixels 3, 10, 24, 52, 108 and 128 for convolutions from 128, 64, 32, 16, 8 and 4.
        """
        field, apart, side = 1, 1, self.design.resolution
        while side > self.design.convolve_from:
            field += 5 * apart  # two convolutions and the pooling
            apart *= 2
            side //= 2
        return min(field + 2 * apart, self.design.resolution)


class CompactClassifier(SourceClassifier):
    """A small residual network for few images: batch normalisation, and a high-pass at its input.

    It looks for traces as a steganalyser does (`artfp.secrecy.network`): it is shown the image
    and, stronger, what differs from the mean of the neighbourhood; the first layers neither pool
    nor stride. Blocks that each halve the sides follow, to 4x4 pixels, of 16 to 64 channels.
    """

    STATISTICS_OF = (ConvNormReLU, SRNetBlock, SRNetPoolingBlock)
    WIDTH = 16

    def __init__(self, design: ClassifierDesign, sources: int) -> None:
        super().__init__(design, sources)
        width, widest = self.WIDTH, 4 * self.WIDTH
        blocks: list[nn.Module] = []
        side, outputs = design.resolution, width
        channels = width
        while side > FINAL_SIDE:
            blocks.append(SRNetPoolingBlock(channels, outputs))
            channels, outputs, side = outputs, min(2 * outputs, widest), side // 2
        self.trunk = nn.Sequential(
            _Traces(),
            ConvNormReLU(6, width),
            SRNetBlock(width),
            *blocks,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(channels, sources)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)


class _Traces(nn.Module):
    """What is shown, in +-1, beside its high-pass: (N, 6, R, R), both of order one."""

    def forward(self, shown: Tensor) -> Tensor:
        return torch.cat([2.0 * shown, 32.0 * high_pass(shown)], dim=1)


NETWORKS: dict[str, type[SourceClassifier]] = {
    "published": PublishedClassifier,
    "compact": CompactClassifier,
}
"""Networks by name."""


def _channels(side: int) -> int:
    """Of the published network's maps."""
    return min(_MOST_CHANNELS, _CHANNELS_TIMES_SIDE // side)


def _convolved(inputs: int, outputs: int) -> list[nn.Module]:
    return [EqualisedConv2d(inputs, outputs), nn.LeakyReLU(0.2)]


def _powers(least: int, most: int) -> list[int]:
    return [2**n for n in range(least.bit_length() - 1, most.bit_length())]


def _listed(values: object) -> str:
    return ", ".join(map(str, values))  # type: ignore[call-overload]
