"""One draw for each image of a batch: most are perturbed, some are left alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from artfp.perturbations import warp
from artfp.perturbations.base import Perturbation
from artfp.perturbations.chains import Combination, Screenshot
from artfp.perturbations.codec import Jpeg, Webp
from artfp.perturbations.frequency import Blur
from artfp.perturbations.geometric import RandomCrop, ResizeBack, Rotation
from artfp.perturbations.local import Erase, Relight
from artfp.perturbations.photometric import (
    Brightness,
    Contrast,
    Gamma,
    Hue,
    Noise,
    Quantise,
    Saturation,
)
from artfp.perturbations.super_resolution import SuperResolution

TRAINING: tuple[type[Perturbation], ...] = (
    Jpeg,
    Webp,
    ResizeBack,
    Blur,
    Noise,
    Quantise,
    RandomCrop,
    Rotation,
    Erase,
    Brightness,
    Contrast,
    Gamma,
    Saturation,
    Hue,
    Relight,
    Screenshot,
    SuperResolution,
    Combination,
)
"""Perturbations that a fingerprint is trained to survive, beside mirroring of half the images."""

MOVING: tuple[type[Perturbation], ...] = (RandomCrop, Rotation, Combination)
"""Those of them that need to be undone, and the least resolution at which they can be found."""
LEAST_TO_MOVE = 64

MISPLACED = 0.5
"""Pixels by which a realigned corner is off, as a standard deviation along each axis."""

REACH_STEP, LEAST_REACH = 0.005, 0.05
"""By how much a step may change a member's reach, and the least that it can be."""

HOPELESS = 0.15
"""Error from which a member is not drawn more often any more: it may be beyond reading."""

MEMORY = 0.95
"""Weight of the past in the running error of a member."""


class Mixture(nn.Module):
    """Module that draws one perturbation for each image, or none for some of them.

    Every image is mirrored with probability one half, whatever else happens to it. Each member
    has a reach: the share of its range, from the mildest strength on, that is drawn from. `learn`
    widens the reach of members that are read well and narrows that of the others, so that training
    stays at the edge of what can be read, and has the members drawn more that are read worst (half
    of the draws go by their errors). Reach and errors are buffers: a checkpoint holds them.
    A member that is drawn for more images of a batch than its `most_images` leaves the rest to the
    members that have no such bound. Batches may be of any size.

    Args:
        members: Perturbations to draw from.
        identity: Fraction of the images that keep their values, 0 to 1.
        hold: Bit accuracy from which a member counts as read well.
        reach: Reach of every member at the start, 0 to 1.

    Raises:
        ValueError: `identity` is not between 0 and 1.
    """

    reach: Tensor
    error: Tensor

    def __init__(
        self,
        members: Sequence[Perturbation],
        identity: float = 0.3,
        hold: float = 0.93,
        reach: float = 0.3,
    ) -> None:
        super().__init__()
        if not 0.0 <= identity <= 1.0:
            raise ValueError(f"identity is {identity}; it is a share from 0 to 1")
        self.members, self.identity = list(members), identity
        self.hold = hold
        self.register_buffer("reach", torch.full((len(self.members),), reach))
        self.register_buffer("error", torch.full((len(self.members),), 0.1))

    def forward(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb each image by a member that is drawn for it.

        Args:
            x: Images (N, 3, H, W) in [0, 1].
            generator: Source of the random numbers.

        Returns:
            Perturbed images (N, 3, H, W), and the number of the member that changed each (N,), -1
            for none.
        """
        count = len(x)
        errors = self.error.cpu().clamp_max(HOPELESS) + 1e-4
        odds = 0.5 / len(self.members) + 0.5 * errors / errors.sum()
        choice = torch.multinomial(odds, count, replacement=True, generator=generator)
        choice[torch.rand(count, generator=generator) < self.identity] = -1
        self._bound(choice, odds, (x.shape[-2], x.shape[-1]), generator)
        out = x
        for number, member in enumerate(self.members):
            where = (choice == number).nonzero().flatten()
            if len(where):
                strength = member.draw(len(where), generator, float(self.reach[number]))
                where = where.to(x.device)
                out = out.index_copy(0, where, _received(member, x[where], strength, generator))
        mirrored = torch.rand(count, generator=generator) < 0.5
        out = torch.where(mirrored.view(-1, 1, 1, 1).to(x.device), out.flip(-1), out)
        return out, choice

    def _bound(
        self, choice: Tensor, odds: Tensor, size: tuple[int, int], generator: torch.Generator
    ) -> None:
        """Replace choices (N,) of members beyond their bounds by other members, or by none."""
        bounds = [member.most_images(size) for member in self.members]
        others = odds * torch.tensor([float(bound is None) for bound in bounds])
        for number, bound in enumerate(bounds):
            beyond = (choice == number).nonzero().flatten()[bound:] if bound is not None else ()
            if len(beyond) and others.any():
                choice[beyond] = torch.multinomial(
                    others, len(beyond), replacement=True, generator=generator
                )
            elif len(beyond):
                choice[beyond] = -1

    def learn(self, choice: Tensor, accuracy: Tensor) -> None:
        """Adapt reaches and errors to how well the images of the last draw were decoded.

        Args:
            choice: Number of the member that changed each image (N,), as `forward` returned it.
            accuracy: Bit accuracy of each image (N,), 0 to 1.
        """
        for number in range(len(self.members)):
            mine = accuracy[choice.to(accuracy.device) == number]
            if len(mine):
                mean = mine.mean().to(self.error)
                self.error[number].lerp_(1.0 - mean, 1.0 - MEMORY)
                step = REACH_STEP if float(mean) >= self.hold else -REACH_STEP
                self.reach[number] = (self.reach[number] + step).clamp(LEAST_REACH, 1.0)


def _received(
    member: Perturbation, x: Tensor, strength: Tensor, generator: torch.Generator
) -> Tensor:
    """Return perturbed images put back nearly in place, as a decoder that realigns gets them."""
    size = (x.shape[-2], x.shape[-1])
    state = generator.get_state()
    moved = member.transform(strength, size, generator)
    generator.set_state(state)
    out = member.differentiable(x, strength, generator)
    if moved is None:
        return out
    # Places are in units of half a side; a turn or a scale moves the corner at (1, 1) by the same.
    error = torch.randn(len(x), 2, 3, generator=generator) * (MISPLACED / 3**0.5)
    error = error * torch.tensor([[2.0 / size[1]], [2.0 / size[0]]])
    wrong = warp.identity(len(x))
    wrong[:, :2] += error
    return warp.realign(out, moved @ wrong)


def training_mixture(
    resolution: int, identity: float = 0.3, more: Sequence[Perturbation] = ()
) -> Mixture:
    """Return the mixture of perturbations that fingerprints are trained against by default.

    Args:
        resolution: Side of the images in pixels. Below 64, crops and rotations are left out: they
            cannot be found and undone at that size.
        identity: Fraction of the images that keep their values, 0 to 1.
        more: Further perturbations, such as `artfp.perturbations.Latent`.

    Returns:
        The mixture, a module that draws a perturbation for each image.

    Raises:
        ValueError: `identity` is not between 0 and 1.

    Example:
        >>> mixture = training_mixture(32)
        >>> x = torch.full((4, 3, 32, 32), 0.5)
        >>> perturbed, member = mixture(x, torch.Generator().manual_seed(0))
        >>> perturbed.shape, member.shape
        (torch.Size([4, 3, 32, 32]), torch.Size([4]))
    """
    kinds = [kind for kind in TRAINING if resolution >= LEAST_TO_MOVE or kind not in MOVING]
    return Mixture([*(kind() for kind in kinds), *more], identity)
