"""Schedules of a training: the weighing of bit accuracy against fidelity.

`FeedbackSchedule` is artfp's own: the encoder's strength is steered so that the mean PSNR follows
a goal, and the goal rises to its target faster while the bit accuracy is high. `PublishedSchedule`
is that of ArtFP (Yu et al., ICCV 2021): no image loss until the bits are decoded, then a ramp.

Both are modules whose buffers are the whole state, so that a checkpoint holds them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from artfp.watermark import Encoder

AVERAGE_DECAY = 0.95
"""Weight of the past in the running mean of the bit accuracy."""


STARTED = 0.9
"""Running bit accuracy from which the goal of the PSNR rises."""

FASTER = 4.0
"""Factor on the pace of the goal while the accuracy is high."""


class Schedule(nn.Module):
    """Base class: a running mean of the bit accuracy, by which subclasses steer."""

    accuracy: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("accuracy", torch.tensor(0.5))

    def restart(self) -> None:
        """Reset the state, for networks that restart."""
        self.accuracy.fill_(0.5)

    def image_weight(self) -> Tensor:
        """Return the weight of the mean squared image error in the loss of the next step."""
        return torch.zeros(())

    def follow_time(self, fraction: float) -> None:
        """Take note, before a step, of the fraction of the training's time that is gone."""

    def update(self, encoder: Encoder, accuracy: Tensor, psnr: Tensor, worst: Tensor) -> None:
        """Update the state after a step.

        Args:
            encoder: Encoder in training.
            accuracy: Bit accuracy of the step.
            psnr: Mean PSNR in dB.
            worst: Bit accuracy under the worst perturbation.
        """
        self.accuracy.lerp_(accuracy.to(self.accuracy), 1.0 - AVERAGE_DECAY)

    def figures(self) -> dict[str, Tensor]:
        """Return scalars for TensorBoard."""
        return {}


class FeedbackSchedule(Schedule):
    """Steers the strength of an adjustable encoder towards a mean PSNR.

    The goal rises from `start` to `target`: in a straight line that ends after `latest` of the
    steps, and `FASTER` times as fast while the worst accuracy is at least `hold`. Where the time of
    the training is limited (`follow_time`), it ends after `latest` of the time, if that is earlier.

    Args:
        start: First goal in dB.
        target: Last goal in dB.
        steps: Steps of the whole training.
        hold: Bit accuracy under the worst perturbation from which the goal rises faster.
        latest: Fraction of the steps, or of the time, after which the goal is reached.
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
        self.latest, self.end = latest, max(1, round(latest * steps))
        self.time: tuple[float, float] | None = None  # gone before the last step, and before this
        self.register_buffer("goal", torch.tensor(float(start)))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("worst", torch.tensor(0.5))
        self.register_buffer("corrections", torch.zeros((), dtype=torch.int64))

    def restart(self) -> None:
        """Reset the state to the first goal."""
        super().restart()
        self.goal.fill_(self.start)
        self.worst.fill_(0.5)
        self.corrections.zero_()

    def ease(self, decibels: float) -> None:
        """Lower the goal for a stronger residual, which is easier to decode."""
        self.goal -= decibels

    def follow_time(self, fraction: float) -> None:
        """Let the goal keep pace with the time too; else it follows the steps alone."""
        self.time = (fraction if self.time is None else self.time[1], fraction)

    def steps_left(self) -> float:
        """Return the steps until the goal is reached, by count or by the time of the last step."""
        left = max(1, self.end - int(self.step))
        if self.time is None or self.time[0] >= self.time[1]:
            return left
        before, now = self.time
        return max(1.0, min(left, (self.latest - before) / (now - before)))

    def update(self, encoder: Encoder, accuracy: Tensor, psnr: Tensor, worst: Tensor) -> None:
        """Correct the strength by the error of this step; raise the goal."""
        super().update(encoder, accuracy, psnr, worst)
        self.worst.lerp_(worst.to(self.worst), 1.0 - AVERAGE_DECAY)
        # The first steps are off by whatever the initial strength is off for these images.
        self.corrections += 1
        gain = max(0.1, 1.0 / int(self.corrections))
        encoder.rescale(10.0 ** ((psnr.to(self.goal) - self.goal) / 20.0 * gain))
        left = self.steps_left()
        self.step += 1
        if self.accuracy >= STARTED:
            pace = (self.target - self.goal) / left
            self.goal += pace * (FASTER if self.worst >= self.hold else 1.0)
            self.goal.clamp_(max=self.target)

    def figures(self) -> dict[str, Tensor]:
        """Return the goal in dB, and the running bit accuracy under the worst perturbation."""
        return {"psnr_goal": self.goal, "worst_bit_accuracy": self.worst}


class PublishedSchedule(Schedule):
    """Schedule of ArtFP: no image loss until a batch exceeds 0.9, a pause, then a linear ramp.

    Args:
        weight: Final weight of the image loss.
        pause: Steps before the ramp.
        ramp: Steps of the ramp.
    """

    since: Tensor

    def __init__(self, weight: float = 10.0, pause: int = 1000, ramp: int = 3000) -> None:
        super().__init__()
        self.weight, self.pause, self.ramp = weight, pause, ramp
        self.register_buffer("since", torch.tensor(-1))

    def restart(self) -> None:
        """Reset the state to no image loss."""
        super().restart()
        self.since.fill_(-1)

    def image_weight(self) -> Tensor:
        """Return the weight of the next step."""
        fraction = (self.since - self.pause) / max(1, self.ramp)
        return self.weight * fraction.clamp(0.0, 1.0)

    def update(self, encoder: Encoder, accuracy: Tensor, psnr: Tensor, worst: Tensor) -> None:
        """Count the steps from the first batch above 0.9."""
        super().update(encoder, accuracy, psnr, worst)
        if self.since >= 0 or accuracy > 0.9:
            self.since += 1

    def figures(self) -> dict[str, Tensor]:
        """Return the weight of the image loss."""
        return {"l2_weight": self.image_weight()}
