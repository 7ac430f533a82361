"""A network as a part of an attributor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from artfp.core.errors import UserError
from artfp.data.bundle import (
    CARD,
    read_card,
)
from artfp.passive.attributors.base import Attributor
from artfp.passive.attributors.bundle import (
    ATTRIBUTOR_FILE,
    FittedAttributor,
    load_attributor,
    save_attributor,
)
from artfp.passive.attributors.classifier import (
    MIN_FITTED,
    FeatureGaussians,
    NetworkAttributor,
)
from artfp.passive.attributors.score_model import ScoreModel
from artfp.passive.attributors.window import ALIGNED, WindowPolicy
from artfp.passive.networks.classifier import ClassifierDesign

SOURCES = ("a", "b", "c")


def part_of(**design: Any) -> NetworkAttributor:
    torch.manual_seed(0)
    network = ClassifierDesign(**{"resolution": 32, **design}).build(3)
    network(torch.rand(8, 3, 32, 32))  # moves the means of batch normalisation
    return NetworkAttributor(SOURCES, network)


def attributor_of(part: NetworkAttributor) -> FittedAttributor:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 20)
    scores = rng.standard_normal((60, 3)) + 3.0 * np.eye(3)[labels]
    policy = WindowPolicy(ALIGNED, (32, 32), (32, 32))
    return FittedAttributor("it", [part], ScoreModel.fit(scores, labels), policy)


@pytest.mark.parametrize(
    "design",
    [
        {},
        {"residual": 4},
        {"network": "published", "low_pass": 2},
        {"network": "published", "convolve_from": 16},
    ],
)
def test_a_bundle_gives_identical_scores(design: dict[str, Any], tmp_path: Path) -> None:
    before = attributor_of(part_of(**design))
    save_attributor(before, tmp_path)
    after = load_attributor(tmp_path, "it")
    x = torch.rand(5, 3, 40, 50)
    assert torch.equal(after.scores(x), before.scores(x))
    (part,) = after.parts
    assert isinstance(part, NetworkAttributor) and isinstance(part, Attributor)
    assert part.network.design == before.parts[0].network.design  # type: ignore[attr-defined]
    assert not part.network.training
    assert not any(p.requires_grad for p in part.network.parameters())


def test_scores_are_logits_less_their_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    part = part_of()
    x = torch.rand(7, 3, 32, 32)
    logits = part.network(x)
    assert torch.allclose(part.scores(x), logits - logits.mean(1, keepdim=True), atol=1e-6)
    assert torch.allclose(part.features(x), part.network.features(x))
    whole = part.scores(x)
    monkeypatch.setattr("artfp.passive.attributors.classifier._BATCH_PIXELS", 2 * 32 * 32)
    assert torch.allclose(part.scores(x), whole, atol=1e-5)
    assert part.scores(x[:1]).shape == (1, 3) and part.features(x).shape == (7, 64)
    with pytest.raises(ValueError, match="expected"):
        part.scores(torch.rand(1, 3, 40, 40))


def test_bad_bundles(tmp_path: Path) -> None:
    save_attributor(attributor_of(part_of()), tmp_path)
    path = tmp_path / ATTRIBUTOR_FILE
    card, state = read_card(path), load_file(path)

    def refused(match: str, **design: Any) -> None:
        own = dict(card["parts"][0]["design"])
        own.update(design)
        wrong = {**card, "parts": [{"kind": "network", "design": own}]}
        save_file(state, path, metadata={CARD: json.dumps(wrong)})
        with pytest.raises(UserError, match=match):
            load_attributor(path)

    refused("is damaged", network="published")
    refused("is damaged", resolution=64)
    refused("choose from published, compact", network="other")
    with pytest.raises(ValueError, match="a network of 3 for 2 sources"):
        NetworkAttributor(("a", "b"), ClassifierDesign(resolution=32).build(3))


@pytest.mark.gpu
def test_scores_on_a_gpu() -> None:
    part = part_of()
    x = torch.rand(5, 3, 32, 32)
    there = part.scores(x.cuda())
    assert there.device.type == "cuda"
    assert torch.allclose(there.cpu(), part.scores(x), atol=1e-3)


def drawn(count: int, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """FeatureGaussians of two sources, of which the second spreads three times as far."""
    rng = np.random.default_rng(seed)
    labels = np.tile([0, 1], count)
    values = rng.standard_normal((2 * count, 5)) * (1.0 + 2.0 * labels[:, None]) + labels[:, None]
    return torch.from_numpy(values), labels


def test_scores_are_logarithms_of_distances() -> None:
    known, labels = drawn(60, 0)
    gaussians = FeatureGaussians.fit(known, labels)
    fresh, _ = drawn(4, 1)
    scores = gaussians.scores(fresh)
    assert scores.shape == (8, 2) and scores.dtype == torch.float32
    for k in range(2):
        model = LedoitWolf().fit(known[labels == k].numpy())
        for row, image in enumerate(fresh.numpy()):
            far = mahalanobis(image, model.location_, model.get_precision())
            assert float(scores[row, k]) == pytest.approx(-np.log(far**2), abs=1e-4)
    again = FeatureGaussians.from_tensors(gaussians.tensors(), 2)
    assert torch.equal(again.scores(fresh), scores)


def test_what_never_varies_is_no_obstacle() -> None:
    known, labels = drawn(30, 2)
    known[:, 3] = 7.0
    gaussians = FeatureGaussians.fit(known, labels)
    assert torch.isfinite(gaussians.scores(known)).all()
    same = torch.ones(2 * MIN_FITTED, 4)
    assert torch.isfinite(FeatureGaussians.fit(same, labels[: 2 * MIN_FITTED]).scores(same)).all()


def test_what_cannot_be_fitted_or_read() -> None:
    known, labels = drawn(MIN_FITTED, 3)
    with pytest.raises(ValueError, match=f"{MIN_FITTED - 1} images of a source"):
        FeatureGaussians.fit(known[1:], labels[1:])
    known[3, 2] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        FeatureGaussians.fit(known, labels)
    good = FeatureGaussians.fit(*drawn(MIN_FITTED, 4)).tensors()
    with pytest.raises(ValueError, match="for 3 sources"):
        FeatureGaussians.from_tensors(good, 3)
    with pytest.raises(ValueError, match="for 2 sources"):
        FeatureGaussians.from_tensors({**good, "precision": good["precision"][:, :4]}, 2)
    with pytest.raises(KeyError):
        FeatureGaussians.from_tensors({"means": good["means"]}, 2)
