"""Conditions of a robustness sweep: perturbations at strengths, and unperturbed images."""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.perturbations import Perturbation, known_perturbations

IDENTITY = "identity"
"""Name of the condition under which images stay as they are."""

_TRIAL_SIDE = 64


@dataclass(frozen=True)
class Condition:
    """A perturbation at a strength; the default is none."""

    perturbation: Perturbation | None = None
    strength: float | None = None

    @property
    def group(self) -> str:
        """Name of the perturbation."""
        return IDENTITY if self.perturbation is None else self.perturbation.name

    @property
    def name(self) -> str:
        """`perturbation@strength`, or `identity`."""
        return self.group if self.strength is None else f"{self.group}@{self.strength:g}"

    @property
    def key(self) -> str:
        """The same with all digits of the strength."""
        return self.group if self.strength is None else f"{self.group}@{self.strength!r}"

    @property
    def unit(self) -> str:
        """Unit of the strength."""
        return "" if self.perturbation is None else self.perturbation.unit

    def apply(self, pixels: Tensor, seed: int, batch: str) -> Tensor:
        """Return 8-bit images (N, 3, H, W) perturbed, of the same shape.

        The draws depend on the seed, the condition and the name of the batch alone.
        """
        if self.perturbation is None or self.strength is None:
            return pixels
        label = f"{seed}/{self.key}/{batch}"
        number = int.from_bytes(hashlib.sha256(label.encode()).digest()[:8], "big") >> 1
        generator = torch.Generator().manual_seed(number)
        changed = self.perturbation.real(pixels, self.strength, generator)
        if changed.shape != pixels.shape or changed.dtype != torch.uint8:
            raise ValueError(
                f"{self.name} made {changed.dtype} of shape {tuple(changed.shape)} from 8-bit "
                f"images of shape {tuple(pixels.shape)}"
            )
        return changed


def arms(perturbation: Perturbation, strengths: Sequence[float]) -> list[list[float]]:
    """Sort strengths from mild to harsh: one list, or one below and one above the mildest."""
    mildest, harshest = perturbation.mildest, perturbation.harshest
    unique = sorted(set(strengths))
    if perturbation.both_ways:
        below = [s for s in reversed(unique) if s < mildest]
        above = [s for s in unique if s >= mildest]
        return [arm for arm in (below, above) if arm]
    return [unique if harshest >= mildest else unique[::-1]]


def choose(
    names: Sequence[str] | None = None,
    strengths: Mapping[str, Sequence[float]] | None = None,
    known: Mapping[str, Perturbation] | None = None,
) -> list[Condition]:
    """Return the identity, and perturbations at given strengths or their levels.

    Args:
        names: Names of perturbations; None: all.
        strengths: Strengths by name, in place of the perturbation's levels.
        known: Perturbations by name; None: artfp's and those of other packages.

    Returns:
        Conditions, those of a perturbation from mild to harsh, each once.

    Raises:
        UserError: an unknown name, no strength, or one at which the perturbation cannot be applied.

    Example:
        >>> [condition.name for condition in choose(["jpeg"], {"jpeg": [50, 90]})]
        ['identity', 'jpeg@90', 'jpeg@50']
    """
    known = known_perturbations() if known is None else known
    strengths = dict(strengths or {})
    chosen = list(dict.fromkeys(known if names is None else names))
    for name in [*chosen, *strengths]:
        if name not in known:
            raise UserError(f"no perturbation {name!r}; {_hint(name, known)}")
    for name in strengths:
        if name not in chosen:
            raise UserError(f"strengths of {name}, which is not among the perturbations")
        _check(known[name], strengths[name])
    conditions = [Condition()]
    for name in chosen:
        perturbation = known[name]
        for arm in arms(perturbation, strengths.get(name, perturbation.levels)):
            conditions += [Condition(perturbation, strength) for strength in arm]
    return conditions


def parse_strengths(text: str) -> dict[str, list[float]]:
    """Parse `jpeg=90,50;noise=0.02`. Raises UserError on anything else.

    Example:
        >>> parse_strengths("jpeg=90,50;noise=0.02")
        {'jpeg': [90.0, 50.0], 'noise': [0.02]}
    """
    found: dict[str, list[float]] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, values = (piece.strip() for piece in part.partition("="))
        if not equals or not name or name in found:
            raise UserError(f"found {part!r}; expected each perturbation once, as jpeg=90,75,50")
        try:
            found[name] = [float(value) for value in values.split(",")]
        except ValueError:
            raise UserError(f"found {part!r}; expected numbers after =, as jpeg=90,75,50") from None
    if not found:
        raise UserError("no strength given; expected jpeg=90,75,50;noise=0.02")
    return found


def _check(perturbation: Perturbation, strengths: Sequence[float]) -> None:
    """Refuse strengths at which the perturbation fails on a small gray image."""
    pixels = torch.full((1, 3, _TRIAL_SIDE, _TRIAL_SIDE), 128, dtype=torch.uint8)
    for strength in strengths:
        try:
            if not math.isfinite(strength):
                raise ValueError("not a finite number")
            Condition(perturbation, strength).apply(pixels, 0, "trial")
        except (ValueError, RuntimeError, ArithmeticError, OSError, MemoryError) as error:
            reason = " ".join(str(error).split())[:120]
            levels = ", ".join(f"{level:g}" for level in perturbation.levels)
            raise UserError(
                f"{perturbation.name} cannot be applied at {strength:g} ({reason}); "
                f"its usual strengths are {levels} ({perturbation.unit})"
            ) from error


def _hint(name: str, known: Mapping[str, Perturbation]) -> str:
    close = difflib.get_close_matches(name.lower(), known, n=1)
    return f"did you mean {close[0]}?" if close else f"choose from {', '.join(known)}"
