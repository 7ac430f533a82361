"""Residual fingerprint of a source: mean noise residual of its images (Marra et al. 2019).

Only sums are kept, so memory does not grow with the number of images. Residuals are rounded to
multiples of 2**-32 before they are added up in float64: up to two million images every sum is
exact, and order, batches and `merge` make no difference, not even in the last bit.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

import artfp
from artfp.core.errors import UserError
from artfp.data.bundle import (
    CARD,
    Card,
    read_card,
    read_state,
)
from artfp.data.files import write_atomic

FINGERPRINT_KIND = "source fingerprint"
"""`kind` in the card of a fingerprint's file."""

_GRID = 2.0**32
_ROUNDING = 1e-6  # relative norm of a constant array of float32 minus its mean
_NEEDED = ("total", "power")
_WEIGHTING = ("product", "square")


@dataclass(eq=False)
class ResidualFingerprint:
    """Sums over the noise residuals of a source's images, with the images' codecs and sizes.

    Args:
        source: Name of the source.
        extractor: `Extractor.text` of the extractor of the residuals.
        total: Sum of the residuals (C, H, W), float64.
        power: Sum of their power spectra |rfft2|^2 / (H W), (C, H, W // 2 + 1), float64.
        product: Sum of residual times image (C, H, W), float64, if kept for maximum likelihood.
        square: Sum of the squared image (C, H, W), float64, if kept for maximum likelihood.
        count: Number of images.
        codecs: Number of images by codec, such as JPEG, where known.
        sizes: Number of images by size before cropping, "WIDTHxHEIGHT", where known.

    Example:
        >>> import torch
        >>> found = ResidualFingerprint.empty((3, 16, 16), "gaussian:sigma=1", "progan")
        >>> found.add(torch.full((4, 3, 16, 16), 0.25))
        >>> found.count, float(found.mean.max())
        (4, 0.25)
    """

    source: str
    extractor: str
    total: Tensor
    power: Tensor
    product: Tensor | None = None
    square: Tensor | None = None
    count: int = 0
    codecs: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)

    @classmethod
    def empty(
        cls, shape: Sequence[int], extractor: str, source: str, weighted: bool = False
    ) -> ResidualFingerprint:
        """Make a residual fingerprint of no image yet.

        Args:
            shape: (C, H, W).
            extractor: `Extractor.text` of the extractor.
            source: Name of the source.
            weighted: True to keep what maximum likelihood needs.

        Raises:
            UserError: not three sides, or one below 1.
        """
        if len(shape) != 3 or min(shape) < 1:
            raise UserError(
                f"fingerprint of {source}: shape {tuple(shape)}; expected (C, H, W), 1 or more"
            )
        channels, height, width = shape

        def zeros(columns: int = width) -> Tensor:
            return torch.zeros(channels, height, columns, dtype=torch.float64)

        power = zeros(width // 2 + 1)
        extra = (zeros(), zeros()) if weighted else (None, None)
        return cls(source, extractor, zeros(), power, *extra)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.total.shape
        return channels, height, width

    @property
    def weighted(self) -> bool:
        """True if it keeps what maximum likelihood needs."""
        return self.product is not None

    @property
    def mean(self) -> Tensor:
        """Mean residual (C, H, W), float32. Raises UserError: no image yet."""
        return (self.total / self._at_least_one()).float()

    @property
    def spectrum(self) -> Tensor:
        """Mean power spectrum (C, H, W // 2 + 1) of single residuals, float32.

        |rfft2|^2 / (H W): white noise of variance v has v everywhere.

        Raises UserError: no image yet.
        """
        return (self.power / self._at_least_one()).float()

    def add(self, residuals: Tensor, images: Tensor | None = None) -> None:
        """Add the residuals of images.

        Args:
            residuals: (N, C, H, W), on any device.
            images: Their images, of the same shape, in [0, 1]; needed if this one is weighted.

        Raises:
            UserError: another shape, values that are not finite, or images missing.
        """
        self._check(residuals, "residuals")
        total = _exact_sum(residuals)
        if not total.isfinite().all():
            raise UserError(f"fingerprint of {self.source}: residuals that are not finite")
        if self.product is not None and self.square is not None:
            if images is None:
                raise UserError(f"fingerprint of {self.source}: it is weighted and needs images")
            self._check(images, "images")
            if len(images) != len(residuals):
                raise UserError(
                    f"fingerprint of {self.source}: {len(residuals)} residuals and "
                    f"{len(images)} images"
                )
            self.product += _exact_sum(residuals.double() * images)
            self.square += _exact_sum(images.double().square())
        self.total += total
        height, width = residuals.shape[-2:]
        power = torch.fft.rfft2(residuals.float()).abs().square() / (height * width)
        self.power += power.sum(0, dtype=torch.float64).cpu()
        self.count += len(residuals)

    def merge(self, other: ResidualFingerprint) -> None:
        """Add all images of another one, as if they had been added here.

        Raises:
            UserError: another shape or extractor, or only one of the two is weighted.
        """
        for what in ("shape", "extractor", "weighted"):
            here, there = getattr(self, what), getattr(other, what)
            if here != there:
                raise UserError(
                    f"fingerprints of {self.source} and {other.source} cannot be merged: "
                    f"{what} is {here} and {there}"
                )
        for name in (*_NEEDED, *_WEIGHTING):
            if getattr(self, name) is not None:
                getattr(self, name).add_(getattr(other, name))
        self.count += other.count
        self.codecs += other.codecs
        self.sizes += other.sizes

    def card(self) -> Card:
        """Return source, count, size, extractor, codecs and sizes as JSON values."""
        return {
            "kind": FINGERPRINT_KIND,
            "source": self.source,
            "count": self.count,
            "size": list(self.shape),
            "extractor": self.extractor,
            "codecs": dict(self.codecs),
            "sizes": dict(self.sizes),
            "version": artfp.__version__,
        }

    def save(self, path: str | Path) -> None:
        """Write all sums as a `.safetensors` file, with `card()` in its metadata.

        Raises:
            UserError: the file cannot be written.
        """
        tensors = {name: getattr(self, name) for name in (*_NEEDED, *_WEIGHTING)}
        kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        write_atomic(Path(path), save(kept, metadata={CARD: json.dumps(self.card())}))

    @classmethod
    def load(cls, path: str | Path) -> ResidualFingerprint:
        """Read a file of `save`; more can be added to it.

        Raises:
            UserError: no such file, no residual fingerprint, or not what its card says.
        """
        path = Path(path)
        card = read_card(path)
        if card.get("kind") != FINGERPRINT_KIND:
            raise UserError(f"{path} holds a {card.get('kind')}, not a {FINGERPRINT_KIND}")
        state = read_state(path)
        problem = _problem(card, state)
        if problem:
            raise UserError(f"{path}: {problem}; the fingerprint has to be estimated again")
        return cls(
            source=card["source"],
            extractor=card["extractor"],
            **state,
            count=card["count"],
            codecs=Counter(card["codecs"]),
            sizes=Counter(card["sizes"]),
        )

    def _at_least_one(self) -> int:
        if not self.count:
            raise UserError(f"fingerprint of {self.source}: no image was added yet")
        return self.count

    def _check(self, x: Tensor, what: str) -> None:
        if x.ndim != 4 or tuple(x.shape[1:]) != self.shape:
            raise UserError(
                f"fingerprint of {self.source}: {what} of shape {tuple(x.shape)}, "
                f"expected (N, {', '.join(map(str, self.shape))})"
            )


def correlation(a: Tensor, b: Tensor, normalised: bool = True) -> Tensor:
    """Return the normalised correlations of arrays with arrays.

    Inner products of the arrays, each minus the mean over all its values and scaled to unit norm
    (Marra et al. 2019, arXiv 1812.11842, section 3); 0 for a constant array.

    Args:
        a: Residuals (N, C, H, W).
        b: Residual fingerprints (K, C, H, W).
        normalised: False to keep the norms.

    Returns:
        (N, K), in [-1, 1], float32, on a's device.

    Raises:
        UserError: shapes that do not fit.

    Example:
        >>> import torch
        >>> a = torch.rand(1, 3, 8, 8)
        >>> correlation(a, torch.cat([2 * a + 1, -a])).round().tolist()
        [[1.0, -1.0]]
    """
    if a.ndim != 4 or b.ndim != 4 or a.shape[1:] != b.shape[1:]:
        raise UserError(
            f"correlation of {tuple(a.shape)} and {tuple(b.shape)}: "
            "expected (N, C, H, W) and (K, C, H, W)"
        )
    left, right = (centred_rows(x.to(a.device), normalised) for x in (a, b))
    return left @ right.T


def centred_rows(x: Tensor, normalised: bool = True) -> Tensor:
    """Return arrays (N, C, H, W) as rows (N, C H W), float32, whose products are correlations.

    Saves time where one batch after another is correlated with the same arrays.
    """
    rows = x.flatten(1).float()
    centred = rows - rows.mean(1, keepdim=True)
    if not normalised:
        return centred
    norm = centred.norm(dim=1, keepdim=True)
    constant = norm <= _ROUNDING * rows.norm(dim=1, keepdim=True)
    return torch.where(constant, 0.0, centred / norm)


def _exact_sum(x: Tensor) -> Tensor:
    """Return the sum over the first axis of values rounded to the grid, float64, on the CPU."""
    return (x.double() * _GRID).round_().sum(0).div_(_GRID).cpu()


def _problem(card: dict[str, Any], state: dict[str, Tensor]) -> str | None:
    """Return why a card and tensors are no residual fingerprint; None if they are."""
    for key, kind in (
        ("source", str),
        ("extractor", str),
        ("count", int),
        ("size", list),
        ("codecs", dict),
        ("sizes", dict),
    ):
        if not isinstance(card.get(key), kind):
            return f"its card has {key} {card.get(key)!r}"
    counts = [card["count"], *card["codecs"].values(), *card["sizes"].values()]
    if not all(isinstance(count, int) and count >= 0 for count in counts):
        return "a number of images in its card is not one"
    if set(state) not in ({*_NEEDED}, {*_NEEDED, *_WEIGHTING}):
        return f"found tensors {', '.join(sorted(state))}, expected {', '.join(_NEEDED)}"
    size = card["size"]
    if len(size) != 3 or not all(isinstance(side, int) and side > 0 for side in size):
        return f"its card has size {size}"
    for name, tensor in sorted(state.items(), reverse=True):
        expected = [*size[:2], size[2] // 2 + 1] if name == "power" else size
        if list(tensor.shape) != expected or tensor.dtype != torch.float64:
            return f"{name} is {list(tensor.shape)} {tensor.dtype}, expected {expected} float64"
        if not tensor.isfinite().all():
            return f"{name} holds values that are not finite"
        if name in ("power", "square") and (tensor < 0).any():
            return f"{name} holds values below 0"
    return None
