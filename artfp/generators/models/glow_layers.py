"""Invertible layers of Glow; sections and equations are those of Kingma & Dhariwal 2018."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_STRETCH = 2.0
"""Bound of the magnitude of a log scale that depends on the image."""


class Invertible(nn.Module):
    """Invertible map that keeps the shape (N, C, H, W).

    `forward` returns the output, and the logarithms of the Jacobians' determinants (N,).
    """

    def inverse(self, y: Tensor) -> Tensor:
        """Return the input that has this output."""
        raise NotImplementedError


class ActNorm(Invertible):
    """Activation normalisation: a scale and a bias for each channel (section 3.1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set both so that each channel of the output for `x` has mean 0 and deviation 1."""
        variance, mean = torch.var_mean(x, dim=(0, 2, 3), unbiased=False)
        self.log_scale.copy_(-0.5 * (variance + 1e-6).log()[:, None, None])
        self.bias.copy_(-mean[:, None, None])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output, and the log-determinants of the Jacobians (N,)."""
        log_det = self.log_scale.sum() * x[0, 0].numel()
        return (x + self.bias) * self.log_scale.exp(), log_det.expand(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        """Return the input that has this output."""
        return y * (-self.log_scale).exp() - self.bias


class InvertibleConv(Invertible):
    """Invertible 1 x 1 convolution, W = P L (U + diag(s)) (section 3.2, equation 10).

    It begins as a random rotation. P and the signs of s stay; L has ones on its diagonal.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        rotation = nn.init.orthogonal_(torch.empty(channels, channels, dtype=torch.float64))
        permutation, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        self.register_buffer("permutation", permutation.float())
        self.register_buffer("sign", diagonal.sign().float())
        self.lower = nn.Parameter(lower.tril(-1).float())
        self.upper = nn.Parameter(upper.triu(1).float())
        self.log_scale = nn.Parameter(diagonal.abs().log().float())

    def weight(self) -> Tensor:
        """Return W (C, C)."""
        lower = self.lower.tril(-1) + torch.eye(len(self.lower)).to(self.lower)
        upper = self.upper.triu(1) + torch.diag(self.sign * self.log_scale.exp())
        return self.permutation @ lower @ upper

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output, and the log-determinants (N,)."""
        log_det = self.log_scale.sum() * x[0, 0].numel()
        return F.conv2d(x, self.weight()[:, :, None, None]), log_det.expand(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        """Return the input that has this output."""
        inverse = torch.linalg.inv(self.weight().double()).to(y)
        return F.conv2d(y, inverse[:, :, None, None])


class Coupling(Invertible):
    """Affine coupling: the first half of the channels scales and shifts the second (section 3.3).

    The last layer begins at 0, and with it the coupling as the identity. Log scales are kept within
    2 by a hyperbolic tangent, so that no step can blow up the inverse.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        first = nn.Conv2d(channels // 2, width, 3, padding=1)
        middle = nn.Conv2d(width, width, 1)
        for layer in (first, middle):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.hidden = nn.Sequential(first, nn.ReLU(), middle, nn.ReLU())

    def _scale_and_shift(self, unchanged: Tensor) -> tuple[Tensor, Tensor]:
        """Log scales and shifts of the second half."""
        raw, shift = self.last(self.hidden(unchanged)).chunk(2, dim=1)
        return _STRETCH * torch.tanh(raw / _STRETCH), shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output, and the log-determinants (N,)."""
        unchanged, changed = x.chunk(2, dim=1)
        log_scale, shift = self._scale_and_shift(unchanged)
        y = torch.cat([unchanged, changed * log_scale.exp() + shift], dim=1)
        return y, log_scale.flatten(1).sum(dim=1)

    def inverse(self, y: Tensor) -> Tensor:
        """Return the input that has this output."""
        unchanged, changed = y.chunk(2, dim=1)
        log_scale, shift = self._scale_and_shift(unchanged)
        return torch.cat([unchanged, (changed - shift) * (-log_scale).exp()], dim=1)


class Prior(nn.Module):
    """Learned prior: standardises latents by means and deviations that depend on coarser ones.

    Both have a part of their own for each pixel. Begins as the identity.

    Args:
        channels: Channels of the latents.
        side: Side of the latents.
        given: Channels of the coarser latents; 0 for the coarsest.
    """

    def __init__(self, channels: int, side: int, given: int) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.zeros(2 * channels, side, side))
        self.conditional = (
            nn.Conv2d(given, 2 * channels, 3, padding=1, bias=False) if given else None
        )
        if self.conditional is not None:
            nn.init.zeros_(self.conditional.weight)

    def _moments(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log deviations."""
        moments = self.constant.expand(len(given), -1, -1, -1)
        if self.conditional is not None:
            moments = moments + self.conditional(given)
        mean, log_deviation = moments.chunk(2, dim=1)
        return mean, _STRETCH * torch.tanh(log_deviation / _STRETCH)

    def forward(self, z: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """Return the standardised latents, and the log-determinants (N,)."""
        mean, log_deviation = self._moments(given)
        return (z - mean) * (-log_deviation).exp(), -log_deviation.flatten(1).sum(dim=1)

    def inverse(self, noise: Tensor, given: Tensor) -> Tensor:
        """Return the latents for standard normal noise."""
        mean, log_deviation = self._moments(given)
        return mean + noise * log_deviation.exp()


class Flow(nn.Module):
    """Invertible map between images (N, channels, R, R) and noise of several scales.

    Each level squeezes squares of four pixels into channels, takes `depth` steps, and splits off
    half of the channels as noise; the last gives all (section 3, figure 2b).

    Args:
        channels: Channels of the images.
        side: Side of the images.
        levels: Number of scales.
        depth: Steps at each scale.
        width: Channels within a coupling.
        learned: True if a `Prior` follows each level.

    Attributes:
        shapes: Shapes (C, H, W) of the parts of the noise.

    Raises:
        ValueError: the side cannot be halved so often.
    """

    def __init__(
        self, channels: int, side: int, levels: int, depth: int, width: int, learned: bool = True
    ) -> None:
        super().__init__()
        if levels < 1 or side % 2**levels:
            raise ValueError(f"{side} pixels cannot be halved {levels} times; take fewer levels")
        self.levels, self.layers_per_level = levels, 3 * depth
        self.shapes: list[tuple[int, int, int]] = []
        self.steps, self.priors = nn.ModuleList(), nn.ModuleList()
        for level in range(levels):
            channels, side = 4 * channels, side // 2
            for _ in range(depth):
                self.steps.extend(
                    [ActNorm(channels), InvertibleConv(channels), Coupling(channels, width)]
                )
            left = channels // 2 if level < levels - 1 else 0
            self.shapes.append((channels - left, side, side))
            if learned:
                self.priors.append(Prior(channels - left, side, left))
            channels = left

    def _layers(self, level: int) -> list[Invertible]:
        """Layers of a level."""
        first = level * self.layers_per_level
        return cast(list[Invertible], list(self.steps)[first : first + self.layers_per_level])

    def forward(self, y: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the noise, standard normal for the model's images, and log-determinants (N,)."""
        parts, log_det, x = [], y.new_zeros(len(y)), y
        for level in range(self.levels):
            x = F.pixel_unshuffle(x, 2)
            for step in self._layers(level):
                x, more = step(x)
                log_det = log_det + more
            x, z = (x, x) if level == self.levels - 1 else x.chunk(2, dim=1)
            if self.priors:
                z, more = self.priors[level](z, x)
                log_det = log_det + more
            parts.append(z)
        return parts, log_det

    def inverse(self, parts: Sequence[Tensor]) -> Tensor:
        """Return the images (N, channels, R, R) that have this noise."""
        x = parts[-1]
        for level in reversed(range(self.levels)):
            z = parts[level]
            if self.priors:
                z = cast(Prior, self.priors[level]).inverse(z, x)
            x = z if level == self.levels - 1 else torch.cat([x, z], dim=1)
            for step in reversed(self._layers(level)):
                x = step.inverse(x)
            x = F.pixel_shuffle(x, 2)
        return x
