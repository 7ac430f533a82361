"""Transplants: training images with the part of a fingerprint that a generator learns first.

A generative model that is trained on fingerprinted images never sees an original. What it can take
over is what the fingerprint does to the distribution of its images, and first of all to their mean:
the mean residual. The part of a residual that depends on the image has to be learned as a relation,
late or never. So some of the images that the decoder trains on are *transplants*: another image
with nothing but the mean residual of a group of images that carry one message. No generator is
needed, and the gradient reaches the encoder, which learns a residual that does not depend on the
image.
"""

from __future__ import annotations

import torch
from torch import Tensor

GROUP_SIZE = 8
"""Number of neighbouring images in the batch that carry the same message."""


def share_within_groups(messages: Tensor) -> Tensor:
    """Replace the messages (N, bits) of each group by its first."""
    return messages[torch.arange(len(messages), device=messages.device) // GROUP_SIZE * GROUP_SIZE]


def make_transplants(
    x: Tensor, marked: Tensor, fraction: float, rng: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Replace a fraction of the fingerprinted images by transplants with the same message.

    `x` are the originals (N, 3, H, W), `marked` the same with messages of `share_within_groups`.
    Returns images of that shape, which of them are transplants, (N,) bool, and the fraction of the
    residuals' energy in the mean of their group: 1 if it does not depend on the image.
    """
    residual = marked - x
    means = torch.cat(
        [part.mean(dim=0, keepdim=True).expand_as(part) for part in residual.split(GROUP_SIZE)]
    )
    # From the other half of the batch: an image that is not part of this mean.
    others = x.roll(len(x) // 2, dims=0)
    moved = (torch.rand(len(x), generator=rng) < fraction).to(x.device)
    images = torch.where(moved.view(-1, 1, 1, 1), (others + means).clamp(0.0, 1.0), marked)
    constant = means.detach().square().sum() / residual.detach().square().sum().clamp_min(1e-12)
    return images, moved, constant
