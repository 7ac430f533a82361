"""artfp's own encoder and decoder: an informed spread-spectrum watermark that is then trained.

Both work on a coarse grid (one cell is `cell` x `cell` pixels) of at most 32 x 32 cells, so they
are cheap, and what they add is smooth: it survives resizing and recompression. They start as a
watermark that already reads, and training improves it; there is no plateau at 0.5 to leave.

- Each bit owns a *carrier*, a pattern on the grid. Carriers are symmetric about the vertical axis,
  so a mirrored image decodes like the original.
- The decoder estimates the residual on the grid (local mean removed, divided by the local
  deviation, corrected by a small convolutional net) and correlates it with its carriers.
- The encoder listens to the image before it adds anything, and spends less on the bits that the
  image already speaks for (informed embedding; improved spread spectrum, Malvar and Florencio
  2003); it drafts a pattern, listens to the result, and spends more on what is not heard. Local
  strength follows local activity, a simple masking model, and
  a learned level gives harder images more. Levels are centred over the batch while training, so
  the network can only shift energy between images; `strength` alone sets the mean.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artfp.watermark.networks.base import Decoder, Encoder

BASE_RESOLUTION = 128
"""Larger images are averaged down to this side before the networks look at them."""

INITIAL_CHROMA = 0.4
"""Share of the colour in untrained carriers, against gray: gray is what survives JPEG."""

LEVEL_RANGE = 0.5
"""How far, in nepers (8.7 dB), the strength of one image may lie from the middle."""


def grid_shape(bits: int, resolution: int) -> tuple[int, int]:
    """(cell side in pixels of the base resolution, cells a side) for a pair of networks.

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
    """The same layer, with weights and bias 0: the net begins as a no-op and training opens it."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _box(x: Tensor) -> Tensor:
    """Mean over 3 x 3 cells, borders replicated; the shape stays."""
    return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)


def _unit_power(x: Tensor) -> Tensor:
    """Each image of (N, ...) divided by its root mean square."""
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
        fits = bits <= rows.shape[1]
        rows = torch.linalg.qr(rows.T).Q.T if fits else F.normalize(rows, dim=1)
        # The other half mirrors this one, so a full pattern has unit norm.
        half = (rows / math.sqrt(2.0)).reshape(bits, 3, side, side // 2)
        self.left = nn.Parameter(half.contiguous())

    def matrix(self) -> Tensor:
        """All patterns, (bits, 3 * side * side)."""
        return torch.cat([self.left, self.left.flip(-1)], dim=-1).flatten(1)

    def correlate(self, grid: Tensor) -> Tensor:
        """Inner products (N, bits) of grids (N, 3, side, side) with the patterns."""
        return grid.flatten(1) @ self.matrix().T

    def combine(self, weights: Tensor) -> Tensor:
        """Weighted sums (N, 3, side, side) of the patterns for weights (N, bits)."""
        return (weights @ self.matrix()).view(-1, 3, self.side, self.side)


class Cells(nn.Module):
    """Cut images (N, 3, R, R) into cells: (N, 3 * cell * cell, side, side)."""

    def __init__(self, bits: int, resolution: int) -> None:
        super().__init__()
        self.cell, self.side = grid_shape(bits, resolution)
        self.pool = resolution // (self.cell * self.side)
        self.channels = 3 * self.cell * self.cell

    def forward(self, x: Tensor) -> Tensor:
        """Cells of images; the pixels of one colour of one cell are neighbouring channels."""
        if self.pool > 1:
            x = F.avg_pool2d(x, self.pool)
        return F.pixel_unshuffle(x, self.cell).contiguous(memory_format=torch.channels_last)

    def means(self, cells: Tensor) -> Tensor:
        """Mean colour of each cell, (N, 3, side, side)."""
        return cells.unflatten(1, (3, -1)).mean(dim=2)

    def activity(self, cells: Tensor) -> Tensor:
        """Standard deviation of the gray pixels in 3 x 3 cells, (N, 1, side, side)."""
        gray = cells.unflatten(1, (3, -1)).mean(dim=1)
        mean = _box(gray.mean(dim=1, keepdim=True))
        square = _box(gray.square().mean(dim=1, keepdim=True))
        return (square - mean.square()).clamp_min(0.0).sqrt()


class Estimate(nn.Module):
    """What in an image is more likely residual than picture, per cell: (N, 3, side, side)."""

    def __init__(self, cells: Cells, width: int, depth: int) -> None:
        super().__init__()
        self.cells = cells
        layers: list[nn.Module] = [nn.ReLU()]
        for _ in range(depth - 1):
            layers += [_conv(width, width), nn.ReLU()]
        self.first = _conv(cells.channels, width)
        self.rest = nn.Sequential(*layers, _zero_start(_conv(width, 3)))
        self.log_floor = nn.Parameter(torch.tensor(math.log(0.02)))

    def look(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """What `forward` needs of cells (N, channels, side, side): first layer and cell means."""
        return self.first(cells), self.cells.means(cells)

    def with_draft(self, seen: tuple[Tensor, Tensor], draft: Tensor) -> tuple[Tensor, Tensor]:
        """What `look` would give had a residual (N, 3, side, side) been added to every pixel."""
        weight = self.first.weight.unflatten(1, (3, -1)).sum(dim=2)
        return seen[0] + F.conv2d(draft, weight, padding=1), seen[1] + draft

    def forward(self, seen: tuple[Tensor, Tensor]) -> Tensor:
        """Whitened estimate, (N, 3, side, side)."""
        features, means = seen
        detail = means - _box(means)
        spread = (_box(detail.square()) + (2.0 * self.log_floor).exp()).sqrt()
        return detail / spread + self.rest(features)


class ResidualEncoder(Encoder):
    """Informed spread-spectrum encoder; `log_strength` is the scale of its residuals.

    Args: `width`, channels of the hidden layers.
    """

    architecture = "residual"
    adjustable = True
    mean_level: Tensor

    def __init__(self, bits: int, resolution: int, width: int = 32) -> None:
        super().__init__(bits, resolution)
        self.cells = Cells(bits, resolution)
        self.carriers = Carriers(bits, self.cells.side)
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

    def residual(self, x: Tensor, bits: Tensor) -> Tensor:
        """Residual on the grid, (N, 3, side, side)."""
        cells = self.cells(x)
        signs = bits * 2.0 - 1.0
        mask = (self.cells.activity(cells) + 0.01).sqrt()
        scale = self.log_strength.exp() * mask
        seen = self.estimate.look(cells)
        effort = self._effort(0, seen, signs)
        pattern = _unit_power(self.carriers.combine(signs * effort))
        # Rehearse: add this pattern, listen again, and work harder on what is still not heard.
        seen = self.estimate.with_draft(seen, scale * pattern)
        effort = effort + self._effort(1, seen, signs)
        pattern = _unit_power(self.carriers.combine(signs * effort))
        features = self.body(torch.cat([cells, pattern], dim=1))
        gain, shift = self.shape(features).chunk(2, dim=1)
        pattern = _unit_power(pattern * (2.0 * torch.sigmoid(gain)) + shift)
        return self._levels(features, effort) * scale * pattern

    def _effort(self, turn: int, seen: tuple[Tensor, Tensor], signs: Tensor) -> Tensor:
        """Weight (N, bits) of each bit by how well it is heard already, in the given turn."""
        heard = signs * self.listeners.correlate(self.estimate(seen))
        return F.softplus(self.margin[turn] - self.thrift[turn] * heard)

    def _levels(self, features: Tensor, effort: Tensor) -> Tensor:
        """Strength of each image relative to the mean of all, (N, 1, 1, 1)."""
        summary = torch.cat([features.mean(dim=(2, 3)), effort.mean(dim=1, keepdim=True)], dim=1)
        level = LEVEL_RANGE * torch.tanh(self.level(summary))
        if self.training:
            mean = level.mean()
            with torch.no_grad():
                self.mean_level.lerp_(mean.to(self.mean_level), 0.05)
        else:
            mean = self.mean_level
        return (level - mean).exp().view(-1, 1, 1, 1)


class ResidualDecoder(Decoder):
    """Whitened estimate of the residual, then one matched filter a bit.

    Args: `width` and `depth`, channels and number of the hidden layers.
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
        """Whitened estimate of the residual in images (N, 3, R, R), (N, 3, side, side)."""
        grid: Tensor = self.estimate(self.estimate.look(self.cells(x)))
        return grid

    def decode_residual(self, grids: Tensor) -> Tensor:
        """Logits (N, bits) of what `listen` heard, (N, 3, side, side)."""
        return self.log_scale.exp() * self.carriers.correlate(grids) + self.bias

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, bits) of images (N, 3, R, R) in [0, 1]."""
        return self.decode_residual(self.estimate_residual(x))


def share_carriers(encoder: ResidualEncoder, decoder: ResidualDecoder) -> None:
    """Give a new pair one set of carriers, so that the decoder reads the encoder untrained."""
    decoder.carriers.load_state_dict(encoder.carriers.state_dict())
    encoder.listeners.load_state_dict(encoder.carriers.state_dict())
