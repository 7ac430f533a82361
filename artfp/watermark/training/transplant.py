"""Training for what a generator learns first: what the residuals of one fingerprint share.

A generative model that is trained on fingerprinted images never sees an original. What it can take
over is what the fingerprint does to the distribution of its images, and first of all to their mean:
the mean residual. The part of a residual that depends on the image has to be learnt as a relation,
late or never. So some of the images that the decoder trains on are *transplants*: another image
with nothing but the mean residual of a group of images that carry one word. No generator is needed,
and the gradient reaches the encoder, which learns to put the bits where images do not matter.
"""

from __future__ import annotations

import torch
from torch import Tensor

GROUP_SIZE = 8
"""Images that carry the same word, neighbours in the batch."""


def share_within_groups(words: Tensor) -> Tensor:
    """Fingerprints (N, bits) of which all in a group are replaced by its first."""
    return words[torch.arange(len(words), device=words.device) // GROUP_SIZE * GROUP_SIZE]


def make_transplants(
    x: Tensor, marked: Tensor, share: float, draws: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """A share of the fingerprinted images, replaced by transplants that carry the same word.

    Args: `x`, originals (N, 3, H, W), and `marked`, the same with the words of `in_groups`.
    Returns images of that shape, which of them are transplants, (N,) bool, and the share of the
    residuals' energy that lies in the mean of their group: 1 where images do not matter.
    """
    residual = marked - x
    means = torch.cat(
        [part.mean(dim=0, keepdim=True).expand_as(part) for part in residual.split(GROUP_SIZE)]
    )
    # From the other half of the batch: an image that had no say in this mean.
    others = x.roll(len(x) // 2, dims=0)
    moved = (torch.rand(len(x), generator=draws) < share).to(x.device)
    images = torch.where(moved.view(-1, 1, 1, 1), (others + means).clamp(0.0, 1.0), marked)
    constant = means.detach().square().sum() / residual.detach().square().sum().clamp_min(1e-12)
    return images, moved, constant
