"""Base classes of generative models: a generator, and the networks and losses that train it.

A model is one file. It holds a `ModelConfig` (a frozen dataclass of all its numbers), a `Generator`
(the network that makes images: all that is averaged, saved and loaded) and a `GenerativeModel` (the
other networks and the losses). The trainer knows none of them: it asks a model for its
`TrainedNetwork`s and updates each by its loss. Inside a model images lie in [-1, 1]; at its edge,
in `DataBatch` and in the results of `sample` and `translate`, in [0, 1].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from artfp.generators.trained_network import DataBatch, Loss, TrainedNetwork, TrainingStep
from artfp.nn.random_inputs import RandomInputs

SIZES = ("small", "paper")
"""Configurations of every model: for two CPU cores, and the paper's."""


@dataclass(frozen=True)
class ModelConfig:
    """Numbers of a model; each model adds its own.

    Args:
        batch_size: Images in an update and process, by default.
        steps: Training steps, by default.
        ema_decay: Decay of the exponential moving average of the generator's weights, a step; 0
            for none.
        lr_decay_start: Fraction of the training from which on all learning rates fall linearly to
            0.

    Example:
        >>> ModelConfig(ema_decay=0.999).batch_size
        64
    """

    batch_size: int = 64
    steps: int = 10_000
    ema_decay: float = 0.0
    lr_decay_start: float = 1.0


class Generator(nn.Module):
    """Network that makes images. Subclasses define `_sample`, or `_translate`, or both.

    Everything that they need must be in this module: parameters, and for the rest (a stage of
    growing, a mean latent) buffers. Weights are drawn by torch's global generator, in `__init__`.

    Args:
        resolution: Side of the images in pixels.
        config: Numbers of the model.
        classes: Number of classes of a class-conditional generator, else 0.

    Attributes:
        model: Name of the model that the generator belongs to.

    Example:
        >>> from artfp.generators import build_model
        >>> from artfp.nn import ImageRandomInputs
        >>> generator = build_model("dcgan", 16, changes={"width": 4}).generator
        >>> generator.sample(ImageRandomInputs(0, range(2))).shape
        torch.Size([2, 3, 16, 16])
    """

    model = ""

    targets: tuple[int, ...] = (1,)
    """Domains, counted from 0, or classes that a translator can make."""

    def __init__(self, resolution: int, config: Any, classes: int = 0) -> None:
        super().__init__()
        self.resolution, self.config, self.classes = resolution, config, classes

    def sample(self, rng: RandomInputs, labels: Tensor | None = None) -> Tensor:
        """Generate an image for each row of `rng`, as if in evaluation mode.

        Args:
            rng: Random inputs of N images.
            labels: Classes (N,) int64, for a class-conditional generator and for no other.

        Returns:
            Images (N, 3, R, R) in [0, 1].

        Raises:
            ValueError: labels for a generator without classes, or none for one with.
        """
        if (labels is None) != (self.classes == 0):
            raise ValueError(f"a generator of {self.classes} classes was given labels {labels}")
        with torch.no_grad(), evaluation_mode(self):
            return from_signed(self._sample(rng, labels))

    def translate(self, x: Tensor, target: int = 1) -> Tensor:
        """Translate images to the domain or class `target`, as if in evaluation mode.

        Args:
            x: Images (N, 3, R, R) in [0, 1].
            target: One of `targets`.

        Returns:
            Images of the same shape and range.

        Raises:
            ValueError: `target` is none of `targets`.
        """
        if target not in self.targets:
            raise ValueError(f"target is {target}; this translator makes {self.targets}")
        with torch.no_grad(), evaluation_mode(self):
            return from_signed(self._translate(to_signed(x), target))

    def _sample(self, rng: RandomInputs, labels: Tensor | None) -> Tensor:
        """Images (N, 3, R, R) in [-1, 1]; values outside are clipped."""
        raise NotImplementedError(f"{type(self).__name__} translates images; it makes none")

    def _translate(self, y: Tensor, target: int) -> Tensor:
        """Translations (N, 3, R, R) in [-1, 1] of such images."""
        raise NotImplementedError(f"{type(self).__name__} makes images; it translates none")


class GenerativeModel(nn.Module, ABC):
    """Generator and everything that trains it.

    Other packages add models as entry points of the group `artfp.generators`; the name of the entry
    point must be `name`.

    Args:
        resolution: Side of the images in pixels.
        config: Numbers of the model.
        classes: Number of classes of a labelled model, else 0.

    Attributes:
        name: Name in commands.
        reference: The paper.
        departures: Where this model differs from the paper.
        resolutions: Sides in pixels at which it works.
        small: Configuration for two CPU cores.
        paper: Configuration of the paper.
        generator_type: Class of the generator.
        labelled: True if batches have labels.
        translates: True if the generator's work is `translate`, not `sample`.
        domains: Number of sets of images that it is trained on.

    Example:
        >>> from artfp.generators import find_model
        >>> find_model("cyclegan").kind(), find_model("cyclegan").domains
        ('translator', 2)
    """

    name: ClassVar[str]
    reference: ClassVar[str]
    departures: ClassVar[str]
    resolutions: ClassVar[tuple[int, ...]]
    small: ClassVar[ModelConfig]
    paper: ClassVar[ModelConfig]
    generator_type: ClassVar[type[Generator]]
    labelled: ClassVar[bool] = False
    translates: ClassVar[bool] = False
    domains: ClassVar[int] = 1
    generator: Generator

    def __init__(self, resolution: int, config: Any, classes: int = 0) -> None:
        super().__init__()
        self.resolution, self.config, self.classes = resolution, config, classes
        self.generator = self.generator_type(resolution, config, classes)
        self.generator.model = self.name

    @classmethod
    def configure(cls, size: str, resolution: int) -> ModelConfig:
        """Return the configuration of a size; override it where it depends on the resolution."""
        return cls.paper if size == "paper" else cls.small

    @classmethod
    def kind(cls) -> str:
        """Return `unconditional`, `class-conditional` or `translator`."""
        if cls.translates:
            return "translator"
        return "class-conditional" if cls.labelled else "unconditional"

    @abstractmethod
    def trained_networks(self) -> list[TrainedNetwork]:
        """Return the networks in the order of their updates; a likelihood model has one."""

    def prepare(self, batch: DataBatch, rng: RandomInputs) -> None:
        """Initialise what depends on data from the first batch, before step 0; default: nothing."""

    def begin_step(self, step: TrainingStep) -> None:
        """Set what the step decides, such as a stage of growing, in buffers; default: nothing."""

    def ema_decay_at(self, step: TrainingStep) -> float:
        """Return the decay of the generator's moving average at the end of this step.

        That is `config.ema_decay`, but less in the beginning, lest the first weights linger.
        """
        ema_decay: float = self.config.ema_decay
        return min(ema_decay, (1 + step.index) / (10 + step.index))


@dataclass(frozen=True)
class AdversarialConfig(ModelConfig):
    """Numbers of a generator that is trained against a discriminator.

    Args:
        lr: Learning rate of both.
        betas: Coefficients of both networks' Adam.
        discriminator_steps: Updates of the discriminator for each of the generator.

    Example:
        >>> AdversarialConfig(discriminator_steps=5).betas
        (0.5, 0.999)
    """

    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    discriminator_steps: int = 1


class AdversarialModel(GenerativeModel):
    """Generator trained against a discriminator (or critic), which is updated first.

    Example:
        >>> from artfp.generators import build_model
        >>> [network.name for network in build_model("dcgan", 16).trained_networks()]
        ['discriminator', 'generator']
    """

    discriminator: nn.Module

    @abstractmethod
    def discriminator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the loss of the discriminator on real and generated images."""

    @abstractmethod
    def generator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the loss of the generator, by the discriminator's scores of its images."""

    def trained_networks(self) -> list[TrainedNetwork]:
        """Return the discriminator, then the generator."""
        lr, betas, steps = self.config.lr, self.config.betas, self.config.discriminator_steps
        return [
            TrainedNetwork(
                "discriminator",
                (self.discriminator,),
                self.discriminator_loss,
                lr,
                betas,
                updates_per_step=steps,
            ),
            TrainedNetwork("generator", self.generator_modules(), self.generator_loss, lr, betas),
        ]

    def generator_modules(self) -> tuple[nn.Module, ...]:
        """Return the modules that the generator's loss trains."""
        return (self.generator,)


def to_signed(x: Tensor) -> Tensor:
    """Map [0, 1] to the [-1, 1] of a model's networks."""
    return x * 2.0 - 1.0


def from_signed(y: Tensor) -> Tensor:
    """Map the [-1, 1] of a model's networks to [0, 1]; values outside are clipped."""
    return (y.float() * 0.5 + 0.5).clamp(0.0, 1.0)


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode, and afterwards back in its own."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
