"""CIEDE2000 against scikit-image, and its gradients where hue is undefined."""

from __future__ import annotations

import numpy as np
import torch
from skimage.color import deltaE_ciede2000, xyz2lab
from torch import Tensor

from artfp.metrics.colour_difference import ciede2000, lab_of_xyz

Colours = tuple[Tensor, Tensor, Tensor]


def colours(seed: int, count: int = 20000) -> Tensor:
    drawn = torch.rand(3, count, generator=torch.Generator().manual_seed(seed))
    lab = drawn * torch.tensor([[100.0], [160.0], [160.0]]) - torch.tensor([[0.0], [80.0], [80.0]])
    lab[1:, : count // 4] *= 0.02  # near gray
    return lab


def reference(first: Tensor, second: Tensor) -> np.ndarray:
    return np.asarray(deltaE_ciede2000(first.T.double().numpy(), second.T.double().numpy()))


def planes(lab: Tensor) -> Colours:
    return (lab[0], lab[1], lab[2])


def test_near_colours() -> None:
    first = colours(0)
    second = first + torch.randn(first.shape, generator=torch.Generator().manual_seed(1))
    error = np.abs(ciede2000(planes(first), planes(second)).numpy() - reference(first, second))
    assert np.quantile(error, 0.999) < 0.002


def test_far_colours() -> None:
    """But for complementary hues, whose mean may be either of two."""
    first, second = colours(0), colours(2)
    found = ciede2000(planes(first), planes(second)).numpy()
    cosine = torch.nn.functional.cosine_similarity(first[1:], second[1:], dim=0).numpy()
    error = np.abs(found - reference(first, second))[cosine > -0.9]
    assert error.max() < 0.05


def test_lab() -> None:
    xyz = torch.rand(3, 1000, generator=torch.Generator().manual_seed(0)) ** 4
    white = np.array([0.95047, 1.0, 1.08883])
    wanted = xyz2lab(xyz.T.double().numpy() * white)
    found = torch.stack(lab_of_xyz(xyz[0], xyz[1], xyz[2]), dim=1).numpy()
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_gradients_are_finite() -> None:
    """At gray against gray, gray against colours, equal colours, and black."""
    first = torch.tensor(
        [[50.0, 0, 0], [50, 0, 0], [0, 0, 0], [30, 20, -60], [70, 1e-5, 0]]
    ).T.contiguous()
    second = torch.tensor(
        [[50.0, 0, 0], [50, 3, -4], [0, 0, 0], [30, 20, -60], [70, -1e-5, 0]]
    ).T.contiguous()
    first.requires_grad_()
    second.requires_grad_()
    ciede2000(planes(first), planes(second)).sum().backward()
    for each in (first, second):
        assert each.grad is not None and each.grad.isfinite().all()
        assert each.grad.abs().max() < 100


def test_gradient_is_the_slope() -> None:
    first = colours(3, 60).double()
    second = (first + torch.randn(first.shape, generator=torch.Generator().manual_seed(1))).double()
    second.requires_grad_()
    assert torch.autograd.gradcheck(lambda lab: ciede2000(planes(first), planes(lab)), second)
