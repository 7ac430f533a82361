"""The running mean of a network's weights, steadier than the last ones."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn

Network = TypeVar("Network", bound=nn.Module)


def averaged_copy(network: Network) -> Network:
    """A copy in evaluation mode, to be kept up by `average_into`."""
    return copy.deepcopy(network).eval().requires_grad_(False)


@torch.no_grad()
def average_into(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move `average` towards `network`: each weight becomes decay * itself + rest * the new one.

    The means and variances of batch normalisation are averaged in the same way, as they belong to
    the weights; all other buffers (stages, counters, singular vectors) are taken over.
    """
    means: list[Tensor] = list(average.parameters())
    news: list[Tensor] = list(network.parameters())
    modules = zip(average.modules(), network.modules(), strict=True)
    for old, new in modules:
        buffers = zip(old.buffers(recurse=False), new.buffers(recurse=False), strict=True)
        for mean, value in buffers:
            if isinstance(new, _BatchNorm) and mean.is_floating_point():
                means.append(mean)
                news.append(value)
            else:
                mean.copy_(value)
    get_ema_multi_avg_fn(decay)(means, news, 0)
