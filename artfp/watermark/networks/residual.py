"""Encoder and decoder of artfp: an informed spread-spectrum watermark that is then trained.

Both work on a coarse grid (one cell is `cell` x `cell` pixels) of at most 32 x 32 cells, so they
are fast, and their residual is smooth: it survives resizing and recompression. They start as a
watermark that can be decoded, and training improves it; there is no plateau at bit accuracy 0.5.

- Each bit owns a *carrier*, a pattern on the grid. Carriers are symmetric about the vertical axis,
  so a mirrored image decodes like the original.
- The decoder estimates the residual on the grid (local mean removed, divided by the local
  deviation, corrected by a small convolutional net) and correlates it with its carriers.
- The encoder correlates the image with its carriers before it adds anything, and gives less weight
  to bits that the image already correlates with (informed embedding; improved spread spectrum,
  Malvar and Florencio 2003); it drafts a pattern, correlates again, and gives more weight to bits
  that are still weak. Local strength follows local activity, a simple masking model, and a learned
  level gives harder images more. Levels are centred over the batch in training, so the network can
  only shift energy between images; `log_strength` alone sets the mean.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artfp.watermark.networks.base import Decoder, Encoder

BASE_RESOLUTION = 128
"""Side in pixels to which larger images are averaged before the networks process them."""

INITIAL_CHROMA = 0.4
"""Fraction of colour in untrained carriers, against gray, which survives JPEG."""

LEVEL_RANGE = 0.5
"""Largest deviation, in nepers (8.7 dB), of the strength of one image from the mean."""


def grid_shape(bits: int, resolution: int) -> tuple[int, int]:
    """Return the cell side in pixels of the base resolution, and the number of cells a side.

    Cells have 4 pixels a side where the mirror-symmetric patterns on that grid outnumber the bits
    six to one, and 2 pixels otherwise.
    """
    base = min(resolution, BASE_RESOLUTION)
    side = base // 4
    roomy = 3 * side * side // 2 >= 6 * bits
    return (4, side) if roomy else (2, base // 2)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _zero_start(layer: nn.Conv2d) -> nn.Conv2d:
    """Set weights and bias of a layer to 0, so that training starts from a network without it."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _box(x: Tensor) -> Tensor:
    """Average over 3 x 3 cells, borders replicated; the shape stays."""
    return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)


def _unit_power(x: Tensor) -> Tensor:
    """Divide each image of (N, ...) by its root mean square."""
    power = x.square().mean(dim=tuple(range(1, x.ndim)), keepdim=True)
    return x * (power + 1e-8).rsqrt()


class Carriers(nn.Module):
    """`bits` mirror-symmetric patterns on a grid of 3 x side x side; orthonormal at the start."""

    def __init__(self, bits: int, side: int) -> None:
        super().__init__()
        self.side = side
        rows = torch.randn(bits, 3, side * side // 2)
        gray = rows.mean(dim=1, keepdim=True)
        rows = (gray + INITIAL_CHROMA * (rows - gray)).flatten(1)
        can_be_orthogonal = bits <= rows.shape[1]
        rows = torch.linalg.qr(rows.T).Q.T if can_be_orthogonal else F.normalize(rows, dim=1)
        # The other half mirrors this one, so a full pattern has unit norm.
        half = (rows / math.sqrt(2.0)).reshape(bits, 3, side, side // 2)
        self.left = nn.Parameter(half.contiguous())

    def matrix(self) -> Tensor:
        """Return all patterns, (bits, 3 * side * side)."""
        return torch.cat([self.left, self.left.flip(-1)], dim=-1).flatten(1)

    def correlate(self, grid: Tensor) -> Tensor:
        """Return the inner products (N, bits) of grids (N, 3, side, side) with the patterns."""
        return grid.flatten(1) @ self.matrix().T

    def combine(self, weights: Tensor) -> Tensor:
        """Return the sums (N, 3, side, side) of the patterns with weights (N, bits)."""
        return (weights @ self.matrix()).view(-1, 3, self.side, self.side)


class Cells(nn.Module):
    """Cuts images (N, 3, R, R) into cells: (N, 3 * cell * cell, side, side)."""

    def __init__(self, bits: int, resolution: int) -> None:
        super().__init__()
        self.cell, self.side = grid_shape(bits, resolution)
        self.pool = resolution // (self.cell * self.side)
        self.channels = 3 * self.cell * self.cell

    def forward(self, x: Tensor) -> Tensor:
        """Return the cells; the pixels of one colour of one cell are neighbouring channels."""
        if self.pool > 1:
            x = F.avg_pool2d(x, self.pool)
        return F.pixel_unshuffle(x, self.cell).contiguous(memory_format=torch.channels_last)

    def means(self, cells: Tensor) -> Tensor:
        """Return the mean colour of each cell, (N, 3, side, side)."""
        result: Tensor = cells.unflatten(1, (3, -1)).mean(dim=2)
        return result

    def activity(self, cells: Tensor) -> Tensor:
        """Return the standard deviation of the gray pixels in 3 x 3 cells, (N, 1, side, side)."""
        gray = cells.unflatten(1, (3, -1)).mean(dim=1)
        mean = _box(gray.mean(dim=1, keepdim=True))
        square = _box(gray.square().mean(dim=1, keepdim=True))
        return (square - mean.square()).clamp_min(0.0).sqrt()


class Estimate(nn.Module):
    """Estimate of the whitened watermark residual in each cell of an image."""

    def __init__(self, cells: Cells, width: int, depth: int) -> None:
        super().__init__()
        self.cells = cells
        layers: list[nn.Module] = [nn.ReLU()]
        for _ in range(depth - 1):
            layers += [_conv(width, width), nn.ReLU()]
        self.first = _conv(cells.channels, width)
        self.rest = nn.Sequential(*layers, _zero_start(_conv(width, 3)))
        self.log_floor = nn.Parameter(torch.tensor(math.log(0.02)))

    def features_and_means(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first layer and the means of cells (N, channels, side, side) for `forward`."""
        return self.first(cells), self.cells.means(cells)

    def with_draft(self, features: tuple[Tensor, Tensor], draft: Tensor) -> tuple[Tensor, Tensor]:
        """Return them as if a residual (N, 3, side, side) had been added to every pixel."""
        weight = self.first.weight.unflatten(1, (3, -1)).sum(dim=2)
        return features[0] + F.conv2d(draft, weight, padding=1), features[1] + draft

    def forward(self, features: tuple[Tensor, Tensor]) -> Tensor:
        """Return the whitened estimate, (N, 3, side, side)."""
        first, means = features
        detail = means - _box(means)
        spread = (_box(detail.square()) + (2.0 * self.log_floor).exp()).sqrt()
        result: Tensor = detail / spread + self.rest(first)
        return result


class ResidualEncoder(Encoder):
    """Informed spread-spectrum encoder; `log_strength` is the scale of its residuals.

    Args:
        bits: Number of bits of the message.
        resolution: Pixels a side of the images.
        width: Channels of the hidden layers.
    """

    architecture = "residual"
    adjustable = True
    mean_level: Tensor

    def __init__(self, bits: int, resolution: int, width: int = 32) -> None:
        super().__init__(bits, resolution)
        self.cells = Cells(bits, resolution)
        self.carriers = Carriers(bits, self.cells.side)
        # The decoder's carriers as the encoder knows them; files of weights have this name.
        self.listeners = Carriers(bits, self.cells.side)
        self.estimate = Estimate(self.cells, width, depth=1)
        self.body = nn.Sequential(
            _conv(self.cells.channels + 3, width), nn.ReLU(), _conv(width, width), nn.ReLU()
        )
        self.shape = _zero_start(_conv(width, 6))
        self.level = nn.Linear(width + 1, 1)
        nn.init.zeros_(self.level.weight)
        nn.init.zeros_(self.level.bias)
        self.register_buffer("mean_level", torch.zeros(()))
        self.margin = nn.Parameter(torch.full((2,), 1.0))
        self.thrift = nn.Parameter(torch.full((2,), 2.0))
        self.log_strength = nn.Parameter(torch.tensor(math.log(0.12)))

    def rescale(self, factor: float | Tensor) -> None:
        """Multiply the strength of all future residuals by `factor`."""
        with torch.no_grad():
            self.log_strength.add_(torch.as_tensor(factor).log().to(self.log_strength))

    def residual(self, x: Tensor, messages: Tensor) -> Tensor:
        """Return the residuals on the grid, (N, 3, side, side)."""
        cells = self.cells(x)
        signs = messages * 2.0 - 1.0
        mask = (self.cells.activity(cells) + 0.01).sqrt()
        scale = self.log_strength.exp() * mask
        features = self.estimate.features_and_means(cells)
        weights = self._bit_weights(0, features, signs)
        pattern = _unit_power(self.carriers.combine(signs * weights))
        # Draft: add this pattern, correlate again, and give more weight to bits that are weak.
        features = self.estimate.with_draft(features, scale * pattern)
        weights = weights + self._bit_weights(1, features, signs)
        pattern = _unit_power(self.carriers.combine(signs * weights))
        shape_features = self.body(torch.cat([cells, pattern], dim=1))
        gain, shift = self.shape(shape_features).chunk(2, dim=1)
        pattern = _unit_power(pattern * (2.0 * torch.sigmoid(gain)) + shift)
        return self._levels(shape_features, weights) * scale * pattern

    def _bit_weights(self, turn: int, features: tuple[Tensor, Tensor], signs: Tensor) -> Tensor:
        """Return the weights (N, bits) of the bits: less for those that correlate well already."""
        correlation = signs * self.listeners.correlate(self.estimate(features))
        return F.softplus(self.margin[turn] - self.thrift[turn] * correlation)

    def _levels(self, features: Tensor, weights: Tensor) -> Tensor:
        """Return the strength of each image relative to the mean of all, (N, 1, 1, 1)."""
        summary = torch.cat([features.mean(dim=(2, 3)), weights.mean(dim=1, keepdim=True)], dim=1)
        level = LEVEL_RANGE * torch.tanh(self.level(summary))
        if self.training:
            mean = level.mean()
            with torch.no_grad():
                self.mean_level.lerp_(mean.to(self.mean_level), 0.05)
        else:
            mean = self.mean_level
        return (level - mean).exp().view(-1, 1, 1, 1)


class ResidualDecoder(Decoder):
    """Whitened estimate of the residual, then one matched filter for each bit.

    Args:
        bits: Number of bits of the message.
        resolution: Pixels a side of the images.
        width: Channels of the hidden layers.
        depth: Number of the hidden layers.
    """

    architecture = "residual"

    def __init__(self, bits: int, resolution: int, width: int = 64, depth: int = 3) -> None:
        super().__init__(bits, resolution)
        self.cells = Cells(bits, resolution)
        self.estimate = Estimate(self.cells, width, depth)
        self.carriers = Carriers(bits, self.cells.side)
        self.log_scale = nn.Parameter(torch.tensor(math.log(2.0)))
        self.bias = nn.Parameter(torch.zeros(bits))

    def estimate_residual(self, x: Tensor) -> Tensor:
        """Return the whitened residuals (N, 3, side, side) estimated in images (N, 3, R, R)."""
        grid: Tensor = self.estimate(self.estimate.features_and_means(self.cells(x)))
        return grid

    def decode_residual(self, grids: Tensor) -> Tensor:
        """Return the logits (N, bits) of estimated residuals (N, 3, side, side)."""
        return self.log_scale.exp() * self.carriers.correlate(grids) + self.bias

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, bits) of images (N, 3, R, R) in [0, 1]."""
        return self.decode_residual(self.estimate_residual(x))


def share_carriers(encoder: ResidualEncoder, decoder: ResidualDecoder) -> None:
    """Give a new pair one set of carriers, so that it works before any training."""
    decoder.carriers.load_state_dict(encoder.carriers.state_dict())
    encoder.listeners.load_state_dict(encoder.carriers.state_dict())
