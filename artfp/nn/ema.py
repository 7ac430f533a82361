"""Exponential moving average (EMA) of a network's weights, steadier than the last ones."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn

_Network = TypeVar("_Network", bound=nn.Module)


def ema_copy(network: _Network) -> _Network:
    """Return a copy in evaluation mode, which `update_ema` moves.

    Args:
        network: Network in training.

    Returns:
        A copy without gradients.

    Example:
        >>> ema_copy(nn.Linear(2, 2)).weight.requires_grad
        False
    """
    return copy.deepcopy(network).eval().requires_grad_(False)


@torch.no_grad()
def update_ema(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move each weight of `average` to decay * itself + (1 - decay) * that of `network`.

    The means and variances of batch normalisation are averaged in the same way, as they belong to
    the weights; all other buffers (stages, counters, singular vectors) are copied.

    Args:
        average: Copy of the network, see `ema_copy`; changed in place.
        network: Network in training.
        decay: Decay of the average, 0 to 1.

    Example:
        >>> network = nn.Linear(1, 1, bias=False)
        >>> average = ema_copy(network)
        >>> _ = average.weight.zero_(), network.weight.data.fill_(1.0)
        >>> update_ema(average, network, decay=0.9)
        >>> round(average.weight.item(), 6)
        0.1
    """
    averages: list[Tensor] = list(average.parameters())
    values: list[Tensor] = list(network.parameters())
    modules = zip(average.modules(), network.modules(), strict=True)
    for old, new in modules:
        buffers = zip(old.buffers(recurse=False), new.buffers(recurse=False), strict=True)
        for mean, value in buffers:
            if isinstance(new, _BatchNorm) and mean.is_floating_point():
                averages.append(mean)
                values.append(value)
            else:
                mean.copy_(value)
    get_ema_multi_avg_fn(decay)(averages, values, 0)
