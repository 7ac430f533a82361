"""Steps of a training: batches of images, networks that are updated, and their losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from artfp.nn.random_inputs import RandomInputs

Scalars = dict[str, Tensor]
"""Scalars for TensorBoard, by name."""

Loss = tuple[Tensor, Scalars]
"""A scalar to minimise, and what else is worth a plot."""


@dataclass(frozen=True)
class TrainingStep:
    """Step of a training.

    Args:
        index: Number of the step, counted from 0.
        total: Number of steps of the training.

    Example:
        >>> TrainingStep(25, 100).fraction
        0.25
    """

    index: int
    total: int

    @property
    def fraction(self) -> float:
        """Fraction of the training that is done before the step, 0 to 1."""
        return min(1.0, self.index / max(1, self.total))


@dataclass
class DataBatch:
    """Training images of a step.

    Args:
        images: Images (N, 3, R, R) of each domain in [0, 1].
        labels: Classes (N,), int64, for labelled models.

    Example:
        >>> batch = DataBatch((torch.rand(4, 3, 8, 8),))
        >>> batch[:2].x.shape
        torch.Size([2, 3, 8, 8])
    """

    images: tuple[Tensor, ...]
    labels: Tensor | None = None

    @property
    def x(self) -> Tensor:
        """Images of the first, mostly the only domain."""
        return self.images[0]

    def __len__(self) -> int:
        """Number of images of one domain."""
        return len(self.images[0])

    def __getitem__(self, rows: slice) -> DataBatch:
        """Images of these rows, with their labels."""
        labels = None if self.labels is None else self.labels[rows]
        return DataBatch(tuple(images[rows] for images in self.images), labels)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> DataBatch:
        """Return the batch on `device`; Lightning calls this to move it."""
        labels = self.labels
        if labels is not None:
            labels = labels.to(device, non_blocking=non_blocking)
        images = tuple(i.to(device, non_blocking=non_blocking) for i in self.images)
        return DataBatch(images, labels)


LossFunction = Callable[[DataBatch, RandomInputs, TrainingStep], Loss]
"""Loss of a batch. Penalties are part of it; one that is due every k-th step reads
`TrainingStep.index`."""


@dataclass(frozen=True)
class TrainedNetwork:
    """Modules that are updated together, with their loss and the settings of their Adam.

    In its updates all parameters but those of its `modules` are frozen. A step of the training
    updates all networks in their order, each `updates_per_step` times, each time with images of its
    own (a network with fewer updates than others sees the first of them).

    Args:
        name: Name in logs.
        modules: What is trained.
        loss: Loss that is minimised.
        lr: Learning rate of Adam.
        betas: Coefficients of Adam.
        eps: Term of Adam's denominator.
        updates_per_step: Updates in each step of the training.
        warmup_steps: First steps in which the learning rate rises linearly.
        max_grad_norm: L2 norm that the gradient is clipped to; None: no clipping.

    Example:
        >>> layer = nn.Linear(1, 1)
        >>> loss = lambda batch, rng, step: (layer.weight.square().mean(), {})
        >>> network = TrainedNetwork("layer", (layer,), loss, lr=0.1, warmup_steps=4)
        >>> network.lr_at(TrainingStep(0, 9))
        0.025
    """

    name: str
    modules: tuple[nn.Module, ...]
    loss: LossFunction
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    updates_per_step: int = 1
    warmup_steps: int = 0
    max_grad_norm: float | None = None

    def parameters(self) -> list[nn.Parameter]:
        """Return the trained parameters, each once."""
        return list(dict.fromkeys(p for module in self.modules for p in module.parameters()))

    def lr_at(self, step: TrainingStep, lr_decay_start: float = 1.0) -> float:
        """Return the learning rate of a step; see `ModelConfig` for `lr_decay_start`."""
        lr = self.lr
        if step.index < self.warmup_steps:
            lr *= (step.index + 1) / self.warmup_steps
        if step.fraction > lr_decay_start:
            lr *= (1.0 - step.fraction) / (1.0 - lr_decay_start)
        return lr
