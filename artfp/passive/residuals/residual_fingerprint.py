"""Fingerprint of a source: the mean of its images' residuals (Marra et al. 2019, 1812.11842).

    print_of = ResidualFingerprint.empty((3, 128, 128), extractor.text, "progan")
    for x in batches:                       # (N, 3, 128, 128) in [0, 1]
        print_of.add(extractor(x))
    correlation(extractor(suspects), print_of.mean[None])   # (N, 1)

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
_ROUNDING = 1e-6  # what is left of a constant array of float32 when its mean is taken off
_NEEDED = ("total", "power")
_WEIGHTING = ("product", "square")


@dataclass(eq=False)
class ResidualFingerprint:
    """Sums over the residuals of a source's images, and what is known of these images."""

    source: str
    """Name of the source."""
    extractor: str
    """`Extractor.text` of what made the residuals."""
    total: Tensor
    """Sum of the residuals (C, H, W), float64."""
    power: Tensor
    """Sum of their power spectra |rfft2|^2 / (H W), (C, H, W // 2 + 1), float64."""
    product: Tensor | None = None
    """Sum of residual times image (C, H, W), float64, if kept for maximum likelihood."""
    square: Tensor | None = None
    """Sum of the image squared (C, H, W), float64, if kept for maximum likelihood."""
    count: int = 0
    """Number of images."""
    codecs: Counter[str] = field(default_factory=Counter)
    """How many images came in each codec, such as JPEG, as far as told."""
    sizes: Counter[str] = field(default_factory=Counter)
    """How many images had each size, as "WIDTHxHEIGHT" before they were cut, as far as told."""

    @classmethod
    def empty(
        cls, shape: Sequence[int], extractor: str, source: str, weighted: bool = False
    ) -> ResidualFingerprint:
        """Of no image yet; `shape` is (C, H, W); `weighted` keeps what maximum likelihood needs.

        Raises UserError: not three sides, or one below 1.
        """
        if len(shape) != 3 or min(shape) < 1:
            raise UserError(
                f"fingerprint of {source}: shape {tuple(shape)}; expected (C, H, W), 1 or more"
            )
        channels, height, width = shape

        def zeros(across: int = width) -> Tensor:
            return torch.zeros(channels, height, across, dtype=torch.float64)

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
        """Whether it keeps what maximum likelihood needs."""
        return self.product is not None

    @property
    def mean(self) -> Tensor:
        """The fingerprint: mean residual (C, H, W), float32. Raises UserError: no image yet."""
        return (self.total / self._at_least_one()).float()

    @property
    def spectrum(self) -> Tensor:
        """Mean power spectrum (C, H, W // 2 + 1) of single residuals, float32.

        |rfft2|^2 / (H W): white noise of variance v has v everywhere.

        Raises UserError: no image yet.
        """
        return (self.power / self._at_least_one()).float()

    def add(self, residuals: Tensor, images: Tensor | None = None) -> None:
        """Take in residuals (N, C, H, W), on any device; weighted ones want their `images` too.

        Raises UserError: another shape, values that are not finite, or images missing.
        """
        self._check(residuals, "residuals")
        total = _exact_sum(residuals)
        if not total.isfinite().all():
            raise UserError(f"fingerprint of {self.source}: residuals that are not finite")
        if self.product is not None and self.square is not None:
            if images is None:
                raise UserError(f"fingerprint of {self.source}: it is weighted, and wants images")
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
        """Take in all that another one has seen, as if it had been added here.

        Raises UserError: another shape or extractor, or only one of the two is weighted.
        """
        for what in ("shape", "extractor", "weighted"):
            here, there = getattr(self, what), getattr(other, what)
            if here != there:
                raise UserError(
                    f"fingerprints of {self.source} and {other.source} cannot be merged: "
                    f"{what} is {here} and {there}"
                )
        self.total += other.total
        self.power += other.power
        if self.product is not None and other.product is not None:
            self.product += other.product
        if self.square is not None and other.square is not None:
            self.square += other.square
        self.count += other.count
        self.codecs += other.codecs
        self.sizes += other.sizes

    def card(self) -> Card:
        """Source, count, size, extractor, and the codecs and sizes seen, as JSON values."""
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

        Raises UserError: the file cannot be written.
        """
        tensors = {name: getattr(self, name) for name in (*_NEEDED, *_WEIGHTING)}
        kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        write_atomic(Path(path), save(kept, metadata={CARD: json.dumps(self.card())}))

    @classmethod
    def load(cls, path: str | Path) -> ResidualFingerprint:
        """Read what `save` wrote; more can be added to it.

        Raises UserError: no such file, not a source's fingerprint, or not what its card says.
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
    """Correlations (N, K) of each of a (N, C, H, W) with each of b (K, C, H, W), in [-1, 1].

    Inner products of the arrays, each with its mean over all its values taken off and scaled to
    unit norm (Marra et al. 2019); 0 for a constant array. Without `normalised` both keep their
    norm. float32, on a's device.

    Raises UserError: shapes that do not fit.
    """
    if a.ndim != 4 or b.ndim != 4 or a.shape[1:] != b.shape[1:]:
        raise UserError(
            f"correlation of {tuple(a.shape)} and {tuple(b.shape)}: "
            "expected (N, C, H, W) and (K, C, H, W)"
        )
    left, right = (centred_rows(x.to(a.device), normalised) for x in (a, b))
    return left @ right.T


def centred_rows(x: Tensor, normalised: bool = True) -> Tensor:
    """Arrays (N, C, H, W) as rows (N, C H W), float32, whose products are their correlations.

    For those who correlate one batch after another with the same arrays.
    """
    rows = x.flatten(1).float()
    centred = rows - rows.mean(1, keepdim=True)
    if not normalised:
        return centred
    norm = centred.norm(dim=1, keepdim=True)
    constant = norm <= _ROUNDING * rows.norm(dim=1, keepdim=True)
    return torch.where(constant, 0.0, centred / norm)


def _exact_sum(x: Tensor) -> Tensor:
    """Sum over the first axis of values rounded to the grid, float64, on the CPU."""
    return (x.double() * _GRID).round_().sum(0).div_(_GRID).cpu()


def _problem(card: dict[str, Any], state: dict[str, Tensor]) -> str | None:
    """What keeps a card and tensors from being a fingerprint; None if nothing does."""
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
