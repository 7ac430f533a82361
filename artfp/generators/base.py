"""What a generative model is: a generator, and the players that train it.

A model is one file. It holds a `Config` (a frozen dataclass of all its numbers), a `Generator`
(what makes images: all that is averaged, saved and loaded) and a `GenerativeModel` (the other
networks and the losses). The trainer knows none of them: it asks a model for its `Player`s and
gives each its turns. Inside a model images lie in [-1, 1]; at its edge, in `Batch` and in what
`sample` and `translate` return, in [0, 1].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from artfp.nn.random_draws import Draws

Figures = dict[str, Tensor]
"""Scalars worth a plot, by name."""


@dataclass(frozen=True)
class Config:
    """The numbers of a model; each model adds its own.

    `batch` is in images a turn and process, `steps` in updates of the last player, both defaults
    of a training; `average` is the decay of the running mean of the generator's weights a step, 0
    for none; from the share `decay_from` of a training on, all players' rates fall in a straight
    line to 0.
    """

    batch: int = 64
    steps: int = 10_000
    average: float = 0.0
    decay_from: float = 1.0


@dataclass(frozen=True)
class Moment:
    """Where a training is: before `step`, counted from 0, of `total`."""

    step: int
    total: int

    @property
    def progress(self) -> float:
        """Share of the training that is done, 0 to 1."""
        return min(1.0, self.step / max(1, self.total))


@dataclass
class Batch:
    """Training images: (N, 3, R, R) of each domain in [0, 1], and labels (N,) int64 or None."""

    images: tuple[Tensor, ...]
    labels: Tensor | None = None

    @property
    def x(self) -> Tensor:
        """Images of the first, mostly the only domain."""
        return self.images[0]

    def __len__(self) -> int:
        """Number of images of one domain."""
        return len(self.images[0])

    def __getitem__(self, rows: slice) -> Batch:
        """Some of the images."""
        labels = None if self.labels is None else self.labels[rows]
        return Batch(tuple(images[rows] for images in self.images), labels)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch on `device`; Lightning calls this to move it."""
        labels = self.labels
        if labels is not None:
            labels = labels.to(device, non_blocking=non_blocking)
        return Batch(tuple(i.to(device, non_blocking=non_blocking) for i in self.images), labels)


Loss = Callable[[Batch, Draws, Moment], tuple[Tensor, Figures]]
"""A player's loss of a batch, a scalar to be lowered, and its figures. Penalties are part of it;
one that is due every k-th step looks at `Moment.step`."""


@dataclass(frozen=True)
class Player:
    """Who takes turns in a training: what it trains, by which loss, with which Adam.

    In its turn all parameters but those of its `modules` are frozen. A step of the training is one
    round of all players in their order, each with `repeats` turns, each turn of a round with images
    of its own (a player with fewer turns sees the first of them).

    Args: `rate` of learning, with `betas` and `eps` of Adam; it rises in a straight line over the
    first `warm_up` steps; `clip`, the L2 norm that the gradient is cut to, None for none.
    """

    name: str
    modules: tuple[nn.Module, ...]
    loss: Loss
    rate: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    repeats: int = 1
    warm_up: int = 0
    clip: float | None = None

    def parameters(self) -> list[nn.Parameter]:
        """What it trains, each once."""
        return list(dict.fromkeys(p for module in self.modules for p in module.parameters()))

    def rate_at(self, moment: Moment, decay_from: float = 1.0) -> float:
        """Learning rate of a step; see `Config` for `decay_from`."""
        rate = self.rate
        if moment.step < self.warm_up:
            rate *= (moment.step + 1) / self.warm_up
        if moment.progress > decay_from:
            rate *= (1.0 - moment.progress) / (1.0 - decay_from)
        return rate


class Generator(nn.Module):
    """What makes images. Subclasses write `_sample`, or `_translate`, or both.

    Everything that they need must be in this module: parameters, and for the rest (a stage of
    growing, a mean latent) buffers. Weights are drawn by torch's global generator, in `__init__`.

    Args: `resolution` in pixels a side, `config` of the model, `classes` (0: none).
    Attributes: these, and `model`, the name of the model that it belongs to.
    """

    model = ""

    targets: tuple[int, ...] = (1,)
    """What a translator can make: domains, counted from 0, or classes."""

    def __init__(self, resolution: int, config: Any, classes: int = 0) -> None:
        super().__init__()
        self.resolution, self.config, self.classes = resolution, config, classes

    def sample(self, draws: Draws, labels: Tensor | None = None) -> Tensor:
        """Images (N, 3, R, R) in [0, 1], one for each row of `draws`, as if in evaluation mode.

        Args: `labels` (N,) int64, for a class-conditional generator and for no other.
        Raises ValueError: labels for a generator without classes, or none for one with.
        """
        if (labels is None) != (self.classes == 0):
            raise ValueError(f"a generator of {self.classes} classes was given labels {labels}")
        with torch.no_grad(), evaluating(self):
            return to_unit(self._sample(draws, labels))

    def translate(self, x: Tensor, target: int = 1) -> Tensor:
        """Images as images of the domain or class `target`, as if in evaluation mode.

        Args: `x` (N, 3, R, R) in [0, 1]. Returns the same shape and range.
        Raises ValueError: none of `targets`.
        """
        if target not in self.targets:
            raise ValueError(f"target is {target}; this translator makes {self.targets}")
        with torch.no_grad(), evaluating(self):
            return to_unit(self._translate(to_signed(x), target))

    def _sample(self, draws: Draws, labels: Tensor | None) -> Tensor:
        """Images (N, 3, R, R) in [-1, 1]; what lies outside is cut off."""
        raise NotImplementedError(f"{type(self).__name__} translates images; it makes none")

    def _translate(self, y: Tensor, target: int) -> Tensor:
        """Images (N, 3, R, R) in [-1, 1] for such images."""
        raise NotImplementedError(f"{type(self).__name__} makes images; it translates none")


class GenerativeModel(nn.Module, ABC):
    """A generator and whatever trains it.

    Class attributes: `name` by which it is called; `source`, the paper; `departures`, where this
    model is not the paper's; `resolutions` in pixels a side; `sizes`, a configuration for each of
    `paper` and `small`; `generator_type`; `labelled`, whether batches have labels; `translates`,
    whether the generator's work is `translate` and not `sample`; `domains`, the sets of images that
    it is trained on.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    departures: ClassVar[str]
    resolutions: ClassVar[tuple[int, ...]]
    sizes: ClassVar[dict[str, Config]]
    generator_type: ClassVar[type[Generator]]
    labelled: ClassVar[bool] = False
    translates: ClassVar[bool] = False
    domains: ClassVar[int] = 1
    generator: Generator

    def __init__(self, resolution: int, config: Any, classes: int = 0) -> None:
        """Build the generator; subclasses go on with their other networks."""
        super().__init__()
        self.resolution, self.config, self.classes = resolution, config, classes
        self.generator = self.generator_type(resolution, config, classes)
        self.generator.model = self.name

    @classmethod
    def configure(cls, size: str, resolution: int) -> Config:
        """The configuration of a size; override it where it depends on the resolution."""
        return cls.sizes[size]

    @classmethod
    def kind(cls) -> str:
        """`unconditional`, `class-conditional` or `translator`."""
        if cls.translates:
            return "translator"
        return "class-conditional" if cls.labelled else "unconditional"

    @abstractmethod
    def players(self) -> list[Player]:
        """Who takes turns, in order. A likelihood or diffusion model has one player."""

    def prepare(self, batch: Batch, draws: Draws) -> None:
        """Set what the first batch decides, before step 0 and only then; by default nothing."""

    def begin_step(self, moment: Moment) -> None:
        """Set what the step decides, such as a stage of growing, in buffers; by default nothing."""

    def decay(self, moment: Moment) -> float:
        """How much of the averaged generator stays at the end of this step.

        That is `config.average`, but less in the beginning, lest the first weights linger.
        """
        average: float = self.config.average
        return min(average, (1 + moment.step) / (10 + moment.step))


def to_signed(x: Tensor) -> Tensor:
    """[0, 1] to the [-1, 1] of a model's networks."""
    return x * 2.0 - 1.0


def to_unit(y: Tensor) -> Tensor:
    """[-1, 1] of a model's networks to [0, 1]; what lies outside is cut off."""
    return (y.float() * 0.5 + 0.5).clamp(0.0, 1.0)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, as before outside."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
