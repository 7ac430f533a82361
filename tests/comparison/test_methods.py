"""Methods of attribution: a decoder with fingerprints, and fitted attributors, on one footing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from artfp.comparison.methods import SIGNIFICANCE, PassiveMethod, ProactiveMethod, common_sources
from artfp.passive.attributors.bundle import FittedAttributor
from artfp.passive.attributors.score_model import ScoreModel
from artfp.passive.attributors.window import choose_policy
from artfp.stats import minimum_matches
from artfp.watermark import build_pair
from artfp.watermark.api import fingerprint_image


@pytest.fixture(scope="module")
def proactive() -> ProactiveMethod:
    _, decoder = build_pair("residual", 64, 32, seed=1)
    rng = np.random.default_rng(0)
    fingerprints = {"a": rng.integers(0, 2, 64), "real": None, "b": rng.integers(0, 2, 64)}
    return ProactiveMethod(decoder.eval(), fingerprints)


def test_marked_images_go_to_their_fingerprint(proactive: ProactiveMethod) -> None:
    encoder, _ = build_pair("residual", 64, 32, seed=1)
    rng = np.random.default_rng(1)
    noise = rng.integers(90, 160, (40, 32, 32, 3), dtype=np.uint8)
    fingerprints = np.random.default_rng(0).integers(0, 2, (2, 64))
    for number, name in ((0, "a"), (1, "b")):
        marked = [
            fingerprint_image(encoder.eval(), image, fingerprints[number].astype(np.uint8), 3.0)
            for image in noise
        ]
        x = torch.from_numpy(np.stack(marked)).permute(0, 3, 1, 2) / 255.0
        vectors = proactive.score_vectors(x)
        best = proactive.scores(vectors).argmax(1)
        assert (best == proactive.sources.index(name)).mean() > 0.9
        assert proactive.pooled(vectors).argmax() == proactive.sources.index(name)


def test_unmarked_is_whatever_no_fingerprint_fits(proactive: ProactiveMethod) -> None:
    """At `significance` for both fingerprints together, by the exact count of matches."""
    needed = minimum_matches(64, SIGNIFICANCE / 2)
    bits = proactive._signs[0]
    for matches, best in ((needed, "a"), (needed - 1, "real")):
        logits = bits.copy()
        logits[: 64 - matches] *= -1.0
        logits[:64] *= 2.0
        scores = proactive.scores(logits[None])[0]
        assert proactive.sources[scores.argmax()] == best
    assert proactive.sources[proactive.pooled(np.zeros((5, 64))).argmax()] == "real"
    far, near = (proactive.scores(np.r_[bits[:n], -bits[n:]][None])[0, 1] for n in (36, 42))
    assert far > near  # the nearer a fingerprint, the less it looks unmarked


def test_many_weak_images_add_up(proactive: ProactiveMethod) -> None:
    rng = np.random.default_rng(2)
    logits = 0.35 * proactive._signs[1] + rng.normal(size=(60, 64))
    single = proactive.scores(logits).argmax(1)
    assert (single == 2).mean() < 0.5
    assert proactive.pooled(logits).argmax() == 2


def test_wrong_fingerprints() -> None:
    _, decoder = build_pair("residual", 64, 32)
    with pytest.raises(ValueError, match=r"a fingerprint of shape \(8,\); the decoder decodes 64"):
        ProactiveMethod(decoder, {"a": np.zeros(8)})
    with pytest.raises(ValueError, match="one source at most may have none"):
        ProactiveMethod(decoder, {"a": None, "b": None, "c": np.zeros(64)})


class _Mean:
    """Scores by the mean of a colour."""

    name, sources = "mean", ("a", "real", "b")

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


def test_passive(proactive: ProactiveMethod) -> None:
    rng = np.random.default_rng(3)
    truth = np.repeat(np.arange(3), 50)
    z = np.eye(3)[truth] * 0.1 + rng.normal(0, 0.02, (150, 3))
    policy = choose_policy({"a": [(32, 32)]})
    attributor = FittedAttributor("mean", [_Mean()], ScoreModel.fit(z, truth), policy)  # type: ignore[list-item]
    passive = PassiveMethod(attributor, "plain")
    assert common_sources([proactive, passive]) == ("a", "real", "b")
    x = torch.zeros(3, 3, 32, 32)
    for k in range(3):
        x[k, k] = 0.1
    vectors = passive.score_vectors(x)
    assert passive.scores(vectors).argmax(1).tolist() == [0, 1, 2]
    assert passive.scores(vectors) == pytest.approx(attributor.scores(x).numpy())
    assert passive.pooled(vectors[[1, 1, 0]]).argmax() == 1
    with pytest.raises(ValueError, match="a name of its own"):
        common_sources([passive, passive])
