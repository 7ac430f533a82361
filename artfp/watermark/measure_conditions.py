"""Conditions under which fingerprinted images are measured: perturbations at fixed strengths."""

from __future__ import annotations

import torch
from torch import Tensor

from artfp.perturbations.registry import PERTURBATIONS, known_perturbations

CONDITIONS: dict[str, tuple[str, float | None]] = {
    "mirror": ("mirror", 1.0),
    "jpeg90": ("jpeg", 90.0),
    "jpeg75": ("jpeg", 75.0),
    "jpeg50": ("jpeg", 50.0),
    "jpeg30": ("jpeg", 30.0),
    "webp75": ("webp", 75.0),
    "resize50": ("resize", 0.5),
    "blur1": ("blur", 1.0),
    "noise0.02": ("noise", 0.02),
    "noise0.05": ("noise", 0.05),
    "brightness0.5": ("brightness", 0.5),
    "brightness1.5": ("brightness", 1.5),
    "contrast0.5": ("contrast", 0.5),
    "contrast1.5": ("contrast", 1.5),
    "centre_crop10": ("centre_crop", 0.1),
    "random_crop": ("random_crop", None),
    "rotation10": ("rotation", 10.0),
    "screenshot": ("screenshot", 1.0),
    "combination": ("combination", 1.0),
}
"""Perturbations of fingerprinted images by name: the perturbation and its strength, or None where
each image's own is drawn evenly from the perturbation's range."""

MORE_CONDITIONS: dict[str, tuple[str, float | None]] = {
    "super_resolution": ("super_resolution", None),
}
"""Conditions that are measured beside CONDITIONS and are no part of their mean, so that means of
older weights stay comparable."""


def measured_conditions() -> dict[str, tuple[str, float | None]]:
    """Return CONDITIONS, MORE_CONDITIONS, and perturbations of other packages at their levels."""
    others = {k: each for k, each in known_perturbations().items() if k not in PERTURBATIONS}
    return {**CONDITIONS, **MORE_CONDITIONS} | {
        f"{name}{level:g}": (name, level) for name, each in others.items() for level in each.levels
    }


def apply_condition(name: str, pixels: Tensor, rng: torch.Generator) -> Tensor:
    """Return 8-bit images (N, 3, H, W) under a condition; the shape stays."""
    kind, strength = measured_conditions()[name]
    perturbation = known_perturbations()[kind]
    if strength is not None:
        return perturbation.real(pixels, strength, rng)
    strengths = perturbation.draw(len(pixels), rng).tolist()
    parts = zip(pixels.split(1), strengths, strict=True)
    return torch.cat([perturbation.real(one, own, rng) for one, own in parts])
