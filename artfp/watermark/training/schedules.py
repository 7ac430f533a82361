"""How a training weighs reading the bits against looking like the original.

`FeedbackSchedule` is artfp's own: the encoder's strength is steered so that the mean PSNR follows
a goal, and the goal rises to its target faster while the bits are read well. `PublishedSchedule` is
that of ArtFP (Yu et al., ICCV 2021): no image loss until the bits are read, then a ramp.

Both are modules whose buffers are the whole state, so that a checkpoint holds them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from artfp.watermark import Encoder

AVERAGE_DECAY = 0.95
"""Weight of the past in the running mean of the bit accuracy."""


STARTED = 0.9
"""Running bit accuracy from which a training counts as begun, and images may get better."""

FASTER = 4.0
"""How much faster than planned the goal rises while everything is read well."""


class Schedule(nn.Module):
    """Base: a running mean of the bit accuracy, and what subclasses steer by it."""

    accuracy: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("accuracy", torch.tensor(0.5))

    def begin_again(self) -> None:
        """Forget what was seen, for networks that start anew."""
        self.accuracy.fill_(0.5)

    def image_weight(self) -> Tensor:
        """Weight of the mean squared image error in the loss of the next step."""
        return torch.zeros(())

    def update(self, encoder: Encoder, accuracy: Tensor, psnr: Tensor, worst: Tensor) -> None:
        """Take note of a step, over all processes.

        Args: its bit accuracy, its mean PSNR in dB, the bit accuracy of the worst perturbation.
        """
        self.accuracy.lerp_(accuracy.to(self.accuracy), 1.0 - AVERAGE_DECAY)

    def figures(self) -> dict[str, Tensor]:
        """Scalars worth a plot."""
        return {}


class FeedbackSchedule(Schedule):
    """Steers the strength of an adjustable encoder towards a mean PSNR.

    The goal rises from `start` to `target`: in a straight line that ends after `latest` of the
    steps, and `FASTER` times as fast while all is read well.

    Args: `start` and `target` in dB; `steps` of the whole training; `hold`, the bit accuracy of
    the worst perturbation from which all counts as read well; `latest`, a share of the steps.
    """

    goal: Tensor
    step: Tensor
    worst: Tensor
    corrections: Tensor

    def __init__(
        self, start: float, target: float, steps: int, hold: float = 0.93, latest: float = 0.7
    ) -> None:
        super().__init__()
        self.start, self.target, self.hold = start, target, hold
        self.end = max(1, round(latest * steps))
        self.register_buffer("goal", torch.tensor(float(start)))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("worst", torch.tensor(0.5))
        self.register_buffer("corrections", torch.zeros((), dtype=torch.int64))

    def begin_again(self) -> None:
        """Start from the first goal."""
        super().begin_again()
        self.goal.fill_(self.start)
        self.worst.fill_(0.5)
        self.corrections.zero_()

    def ease(self, decibels: float) -> None:
        """Lower the goal: a stronger residual, easier to read."""
        self.goal -= decibels

    def update(self, encoder: Encoder, accuracy: Tensor, psnr: Tensor, worst: Tensor) -> None:
        """Correct the strength by the miss of this step; raise the goal."""
        super().update(encoder, accuracy, psnr, worst)
        self.worst.lerp_(worst.to(self.worst), 1.0 - AVERAGE_DECAY)
        # The first steps are off by whatever the initial strength is off for these images.
        self.corrections += 1
        gain = max(0.1, 1.0 / int(self.corrections))
        encoder.rescale(10.0 ** ((psnr.to(self.goal) - self.goal) / 20.0 * gain))
        left = max(1, self.end - int(self.step))
        self.step += 1
        if self.accuracy >= STARTED:
            pace = (self.target - self.goal) / left
            self.goal += pace * (FASTER if self.worst >= self.hold else 1.0)
            self.goal.clamp_(max=self.target)

    def figures(self) -> dict[str, Tensor]:
        """The goal in dB, and the running bit accuracy of the worst perturbation."""
        return {"psnr_goal": self.goal, "worst_bit_accuracy": self.worst}


class PublishedSchedule(Schedule):
    """ArtFP's: image loss off until a batch reads above 0.9, a pause, then a linear ramp.

    Args: `weight`, final weight of the image loss; `pause` and `ramp` in steps.
    """

    since: Tensor

    def __init__(self, weight: float = 10.0, pause: int = 1000, ramp: int = 3000) -> None:
        super().__init__()
        self.weight, self.pause, self.ramp = weight, pause, ramp
        self.register_buffer("since", torch.tensor(-1))

    def begin_again(self) -> None:
        """Switch the image loss off again."""
        super().begin_again()
        self.since.fill_(-1)

    def image_weight(self) -> Tensor:
        """Weight for the next step."""
        share = (self.since - self.pause) / max(1, self.ramp)
        return self.weight * share.clamp(0.0, 1.0)

    def update(self, encoder: Encoder, accuracy: Tensor, psnr: Tensor, worst: Tensor) -> None:
        """Start counting at the first batch that reads above 0.9."""
        super().update(encoder, accuracy, psnr, worst)
        if self.since >= 0 or accuracy > 0.9:
            self.since += 1

    def figures(self) -> dict[str, Tensor]:
        """The weight of the image loss."""
        return {"l2_weight": self.image_weight()}
