"""CUT: its contrast of patches against NumPy's, its places, its losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from artfp.generators import DataBatch, TrainingStep, build_model
from artfp.generators.models.cut import CUT, PatchHeads, patch_nce
from artfp.nn.random_inputs import RandomInputs

NARROW = {"width": 4, "discriminator_width": 4, "residual_blocks": 2, "feature_dim": 8}


def new(**changes: object) -> CUT:
    model = build_model("cut", 32, seed=1, changes={**NARROW, **changes})
    assert isinstance(model, CUT)
    return model


def rng(count: int, seed: int = 0) -> RandomInputs:
    return RandomInputs(torch.Generator().manual_seed(seed), count)


def images(count: int, seed: int) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def contrast(queries: np.ndarray, keys: np.ndarray, temperature: float) -> np.ndarray:
    """Equation 2 of the paper, place by place, in float64."""
    losses = np.zeros(queries.shape[:2])
    for n, s in np.ndindex(losses.shape):
        own = np.exp(queries[n, s] @ keys[n, s] / temperature)
        others = sum(
            np.exp(queries[n, s] @ keys[n, t] / temperature) for t in range(keys.shape[1]) if t != s
        )
        losses[n, s] = -np.log(own / (own + others))
    return np.asarray(losses.mean(axis=1))


def unit(x: np.ndarray) -> np.ndarray:
    y: np.ndarray = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return y


def test_the_contrast_is_a_cross_entropy() -> None:
    rng = np.random.default_rng(0)
    queries, keys = (unit(rng.normal(size=(3, 7, 5))) for _ in range(2))
    for temperature in (0.07, 1.0):
        got = patch_nce(torch.from_numpy(queries), torch.from_numpy(keys), temperature)
        np.testing.assert_allclose(got, contrast(queries, keys, temperature), rtol=1e-10)
    same = torch.eye(6).expand(2, 6, 6)
    expected = np.log(1 + 5 * np.exp(-1 / 0.07))  # each like its own, orthogonal to the rest
    assert patch_nce(same, same, 0.07).tolist() == pytest.approx([expected] * 2, abs=1e-6)
    alike = torch.ones(1, 6, 1)
    assert float(patch_nce(alike, alike, 0.07)) == pytest.approx(np.log(6))


def test_heads_look_at_the_chosen_places() -> None:
    heads = PatchHeads([3, 5], 4)
    maps = [torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2)]
    places = [torch.tensor([[0, 7], [15, 4]]), torch.tensor([[3], [2]])]
    got = heads(maps, places)
    for head, features, chosen, vectors in zip(heads.heads, maps, places, got, strict=True):
        assert isinstance(head, nn.Sequential)
        side = features.shape[3]
        first, _, second = ([p.detach().double().numpy() for p in m.parameters()] for m in head)
        for n, s in np.ndindex(tuple(chosen.shape)):
            row, column = divmod(int(chosen[n, s]), side)
            x = features[n, :, row, column].double().numpy()
            y = second[0] @ np.maximum(first[0] @ x + first[1], 0) + second[1]
            np.testing.assert_allclose(vectors[n, s].detach(), unit(y), atol=1e-5)


def test_features_are_those_of_the_paper() -> None:
    """Pixels, both halving convolutions, the first and the fifth of nine blocks."""
    with torch.device("meta"):
        model = build_model("cut", 256, "paper")
        assert isinstance(model, CUT)
        network = model.generator.translator
        maps = network.encode(torch.empty(1, 3, 256, 256))
        assert len(network.blocks) == 9 and network.middle == 5
    shapes = [tuple(m.shape[1:]) for m in maps]
    assert shapes == [(3, 256, 256), (128, 128, 128)] + [(256, 64, 64)] * 3
    assert network.widths == [shape[0] for shape in shapes]
    config = model.config
    assert (config.patches, config.feature_dim, config.temperature) == (256, 256, 0.07)


def test_places_are_drawn_apart_for_each_image_and_not_twice() -> None:
    model = new(patches=20)
    seen: list[list[Tensor]] = []
    whole = model.heads.forward

    def spy(maps: list[Tensor], places: list[Tensor]) -> list[Tensor]:
        seen.append(places)
        return whole(maps, places)

    model.heads.forward = spy  # type: ignore[method-assign]
    maps = model.generator.translator.encode(images(6, 0))
    model.contrastive_loss(images(6, 1), maps, rng(3))
    queries, keys = seen
    for q, k, features in zip(queries, keys, maps, strict=True):
        assert torch.equal(q, k) and q.shape == (6, 20)
        assert torch.equal(q[:3], q[3:]) and not torch.equal(q[0], q[1])
        assert all(len(set(row.tolist())) == 20 for row in q)
        assert int(q.max()) < features.shape[2] * features.shape[3]


def test_losses_add_up() -> None:
    """With all places compared, their order is without effect and the loss is known."""
    model = new(patches=10_000, contrastive_weight=3.0, identity_weight=2.0)
    a, b = images(2, 0), images(2, 1)
    y = 2 * torch.cat([a, b]) - 1
    network = model.generator.translator
    with torch.no_grad():
        generated = network(y)
        everywhere = [torch.arange(m[0, 0].numel()).expand(4, -1) for m in network.encode(y)]
        queries, keys = (model.heads(network.encode(x), everywhere) for x in (generated, y))
        each = [
            contrast(q.double().numpy(), k.double().numpy(), 0.07)
            for q, k in list(zip(queries, keys, strict=True))[2:]
        ]
        for q, k in list(zip(queries, keys, strict=True))[:2]:  # too many places for loops
            logits = q.double() @ k.double().transpose(1, 2) / 0.07
            own = logits.diagonal(dim1=1, dim2=2)
            each.append((logits.logsumexp(dim=2) - own).mean(dim=1).numpy())
        expected = np.mean(each, axis=0)
        fake = model.discriminator(generated[:2]).double().numpy()
        real = model.discriminator(y[2:]).double().numpy()
        tell_apart, deceive = (network.loss for network in model.trained_networks())
        loss, scalars = deceive(DataBatch((a, b)), rng(2), TrainingStep(0, 1))
        adversarial = ((fake - 1) ** 2).mean()
        assert float(scalars["contrast"]) == pytest.approx(expected[:2].mean(), rel=1e-4)
        assert float(scalars["identity"]) == pytest.approx(expected[2:].mean(), rel=1e-4)
        total = adversarial + 3 * expected[:2].mean() + 2 * expected[2:].mean()
        assert float(loss) == pytest.approx(total, rel=1e-4)
        loss, _ = tell_apart(DataBatch((a, b)), rng(2), TrainingStep(0, 1))
        half = ((real - 1) ** 2).mean() / 2 + (fake**2).mean() / 2
        assert float(loss) == pytest.approx(half, rel=1e-4)


def test_steps_lower_the_contrast() -> None:
    model = new(width=8, patches=64, lr=2e-3)
    batch = DataBatch((images(2, 0) * 0.5, images(2, 1) * 0.5 + 0.5))
    network = model.trained_networks()[1]
    optimizer = torch.optim.Adam(network.parameters(), network.lr, network.betas)
    losses = []
    for step in range(40):
        loss, scalars = network.loss(batch, rng(2, step), TrainingStep(step, 40))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append([float(scalars["contrast"].detach()), float(scalars["identity"].detach())])
    for before, after in zip(losses[0], losses[-1], strict=True):
        assert after < 0.8 * before
