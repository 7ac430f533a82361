"""Settings of training the denoiser of the extractor `learned`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from artfp.core.settings import NonNegativeInt, PositiveFloat, PositiveInt, Settings, option


@dataclass(frozen=True, kw_only=True)
class DenoiserSettings(Settings):
    """Training of a denoiser.

    Args:
        data_dir: Folders (at any depth), zips, or lists of image paths; taken in turns.
        output: File for the weights.
        limit: Images of each folder, at most.
        max_steps: Steps of training.
        batch_size: Patches of 96 pixels a side in a step; more where they are smaller.
        lr: Learning rate at its peak.
        width: Channels of the network's layers.
        seed: Seed of the weights and of all draws.
        precision: Lightning's precision: 32-true, bf16-mixed, ...
    """

    title: ClassVar[str] = "training"

    data_dir: tuple[str, ...] = option(metavar="IMAGES")
    output: Path = option(metavar="FILE.safetensors")
    limit: PositiveInt | None = None
    max_steps: PositiveInt = 5000
    batch_size: PositiveInt = 3
    lr: PositiveFloat = 5e-3
    width: PositiveInt = 16
    seed: NonNegativeInt = 0
    precision: str = "32-true"
