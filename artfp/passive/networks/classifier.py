"""Classifiers of the source of an image: the published one, and a smaller one.

`PublishedClassifier` is the network of Yu, Davis and Fritz (ICCV 2019, arXiv 1811.08180), built
from its description, with the settings of their two studies: the frequency band of its input, and
the size of the patches that it convolves. `CompactClassifier` needs far fewer images and far less
time. Both take squares with a side that is a power of two; images of other sizes are cropped, not
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

MIN_CLASSIFIER_SIDE, MAX_CLASSIFIER_SIDE = 32, 256
"""Least and largest side of images in pixels."""

FINAL_SIDE = 4
"""Side of the last feature maps."""

LOW_PASS_FACTORS = (1, 2, 4, 8, 16, 32)
"""Factors of the low-pass filter in the frequency study."""

MAX_STATISTICS = 256
"""Feature statistics of an image, at most."""

_MAX_CHANNELS = 512
_CHANNELS_TIMES_SIDE = 2048


@dataclass(frozen=True)
class ClassifierDesign:
    """Architecture of a classifier, without its weights and the number of its sources.

    Args:
        network: One of NETWORKS.
        resolution: Side of the images, a power of two.
        low_pass: Factor by which images are reduced and enlarged again before the network sees
            them; 1 for none.
        residual: Factor of a low-pass filter whose residual the network sees instead.
        convolve_from: Least side of the feature maps that the published network convolves; smaller
            ones are only pooled.

    Raises:
        UserError: a value out of range, or two that exclude each other.
    """

    network: str = "compact"
    resolution: int = 128
    low_pass: int = 1
    residual: int | None = None
    convolve_from: int = FINAL_SIDE

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise UserError(f"network {self.network!r}: choose from {', '.join(NETWORKS)}")
        if self.resolution not in _powers(MIN_CLASSIFIER_SIDE, MAX_CLASSIFIER_SIDE):
            raise UserError(
                f"resolution is {self.resolution}; take a power of two from {MIN_CLASSIFIER_SIDE} "
                f"to {MAX_CLASSIFIER_SIDE}"
            )
        if self.low_pass not in LOW_PASS_FACTORS:
            raise UserError(f"low_pass is {self.low_pass}; choose from {_listed(LOW_PASS_FACTORS)}")
        if self.residual is not None and self.residual not in LOW_PASS_FACTORS[1:]:
            known = _listed(LOW_PASS_FACTORS[1:])
            raise UserError(f"residual is {self.residual}; choose from {known}")
        if self.low_pass > 1 and self.residual is not None:
            raise UserError("low pass and high pass exclude each other; give one")
        sides = _powers(FINAL_SIDE, self.resolution)
        if self.convolve_from not in sides:
            raise UserError(
                f"convolve_from is {self.convolve_from}; at {self.resolution} px choose from "
                f"{_listed(sides)}"
            )
        if self.convolve_from != FINAL_SIDE and self.network != "published":
            raise UserError("convolve_from is a setting of the published network alone")

    def card(self) -> dict[str, Any]:
        """Return the design as JSON values."""
        return asdict(self)

    @classmethod
    def load(cls, card: Mapping[str, Any]) -> ClassifierDesign:
        """Make a design of its `card`. Raises KeyError, TypeError, UserError: anything else."""
        return cls(**{name: card[name] for name in cls.__dataclass_fields__})

    def build(self, sources: int) -> SourceClassifier:
        """Return the network for so many sources, two or more, with new weights."""
        if sources < 2:
            raise UserError(f"an attributor takes two sources or more; found {sources}")
        return NETWORKS[self.network](self, sources)

    def input_band(self, x: Tensor) -> Tensor:
        """Return the frequency band of images (N, 3, R, R) that the network sees, in [-1, 1]."""
        if self.residual is not None:
            return 2.0 * (x - low_pass_filter(x, self.residual))
        return 2.0 * low_pass_filter(x, self.low_pass) - 1.0


def low_pass_filter(x: Tensor, factor: int) -> Tensor:
    """Reduce images (N, C, H, W) by a factor of their sides, by means; enlarge them linearly."""
    if factor == 1:
        return x
    size = (x.shape[-2], x.shape[-1])
    return F.interpolate(F.avg_pool2d(x, factor), size, mode="bilinear", align_corners=False)


class SourceClassifier(nn.Module):
    """Base of the classifiers: a trunk that computes features, and a linear layer to logits.

    Attributes:
        design: The architecture.
        sources: Number of sources.
        trunk, head: The two parts, which a subclass provides.
        STATISTICS_OF: Modules of the trunk whose maps give feature statistics.
    """

    STATISTICS_OF: ClassVar[tuple[type[nn.Module], ...]]
    trunk: nn.Sequential
    head: nn.Linear

    def __init__(self, design: ClassifierDesign, sources: int) -> None:
        super().__init__()
        self.design, self.sources = design, sources

    def features(self, x: Tensor) -> Tensor:
        """Return the last layer but one (N, F) of images (N, 3, R, R) in [0, 1].

        Raises:
            ValueError: images of another size.
        """
        side = self.design.resolution
        if tuple(x.shape[1:]) != (3, side, side):
            raise ValueError(f"images {tuple(x.shape)}, expected (N, 3, {side}, {side})")
        return cast(Tensor, self.trunk(self.design.input_band(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, sources) of images (N, 3, R, R) in [0, 1]."""
        return cast(Tensor, self.head(self.features(x)))

    def logits_and_statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N, sources) and feature statistics (N, T), T at most MAX_STATISTICS.

        Feature statistics are means and standard deviations, over all places, of the first feature
        maps of STATISTICS_OF that are larger than the last ones. Logits only distinguish the
        sources that the network learned; early maps still hold what else is in an image, and so
        reveal that it has another source.
        """
        maps, count = self.design.input_band(x), 0
        statistics: list[Tensor] = []
        for module in self.trunk:
            maps = module(maps)
            if (
                isinstance(module, self.STATISTICS_OF)
                and maps.ndim == 4
                and maps.shape[-1] > FINAL_SIDE
            ):
                count += 2 * maps.shape[1]
                if count <= MAX_STATISTICS:
                    statistics += [maps.mean((2, 3)), maps.std((2, 3))]
        return self.head(maps), torch.cat(statistics, 1)


class PublishedClassifier(SourceClassifier):
    """Classifier of Yu et al. 2019: ProGAN's discriminator without its normalisation.

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
        """Side in pixels of the patch on which a value of the last convolution depends.

        At 128 pixels 3, 10, 24, 52, 108 and 128 for convolutions from 128, 64, 32, 16, 8 and 4.
        """
        field, stride, side = 1, 1, self.design.resolution
        while side > self.design.convolve_from:
            field += 5 * stride  # two convolutions and the pooling
            stride *= 2
            side //= 2
        return min(field + 2 * stride, self.design.resolution)


class CompactClassifier(SourceClassifier):
    """Small residual network for few images: batch normalisation, and a high-pass at its input.

    Built like a steganalyser (`artfp.secrecy.network`): its input is the image and, amplified, the
    difference from the mean of the neighbourhood; the first layers neither pool nor stride. Blocks
    that each halve the sides follow, to 4x4 pixels, of 16 to 64 channels.
    """

    STATISTICS_OF = (ConvNormReLU, SRNetBlock, SRNetPoolingBlock)
    WIDTH = 16

    def __init__(self, design: ClassifierDesign, sources: int) -> None:
        super().__init__(design, sources)
        width, max_width = self.WIDTH, 4 * self.WIDTH
        blocks: list[nn.Module] = []
        side, outputs = design.resolution, width
        channels = width
        while side > FINAL_SIDE:
            blocks.append(SRNetPoolingBlock(channels, outputs))
            channels, outputs, side = outputs, min(2 * outputs, max_width), side // 2
        self.trunk = nn.Sequential(
            _WithHighPass(),
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


class _WithHighPass(nn.Module):
    """Images in [-1, 1] beside their high-pass: (N, 6, R, R), both of order one."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([2.0 * images, 32.0 * high_pass(images)], dim=1)


NETWORKS: dict[str, type[SourceClassifier]] = {
    "published": PublishedClassifier,
    "compact": CompactClassifier,
}
"""Classes of networks by name."""


def _channels(side: int) -> int:
    """Return the channels of the published network's maps of a side."""
    return min(_MAX_CHANNELS, _CHANNELS_TIMES_SIDE // side)


def _convolved(inputs: int, outputs: int) -> list[nn.Module]:
    return [EqualisedConv2d(inputs, outputs), nn.LeakyReLU(0.2)]


def _powers(least: int, most: int) -> list[int]:
    return [2**n for n in range(least.bit_length() - 1, most.bit_length())]


def _listed(values: object) -> str:
    return ", ".join(map(str, values))  # type: ignore[call-overload]
