"""The sweep on stubs whose truth is known: sharing, figures, resuming."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.pixels import to_8bit, to_unit
from artfp.data.resume import Journal
from artfp.metrics.fidelity import psnr, ssim
from artfp.metrics.visibility_summary import VisibilitySummary
from artfp.perturbations import Perturbation
from artfp.perturbations.conditions import Condition
from artfp.robustness.matching import MatchingBits
from artfp.robustness.study import RobustnessStudy, SweepOptions, run_study
from artfp.robustness.sweep import Sample, SweepRow, SweepSet, sweep
from tests.progress import recorded_progress

BITS = 12


class Flips(Perturbation):
    """Inverts a share (strength) of the pixels of the first row; remembers what it was given."""

    name, unit = "flips", "share"

    def __init__(self, fail_at: float | None = None) -> None:
        self.calls: list[tuple[float, tuple[int, ...]]] = []
        self.fail_at = fail_at

    def real(self, pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        if strength == self.fail_at:
            raise KeyboardInterrupt
        self.calls.append((strength, tuple(pixels.shape)))
        out = pixels.clone()
        gone = torch.rand(len(pixels), pixels.shape[-1], generator=generator) < strength
        out[:, :, 0] = torch.where(gone[:, None], 255 - out[:, :, 0], out[:, :, 0])
        return out


def first_row(x: Tensor) -> Tensor:
    return (x[:, 0, 0, :BITS] > 0.5).to(torch.uint8)


def inverted(x: Tensor) -> Tensor:
    return 1 - first_row(x)


WORDS = np.random.default_rng(5).integers(0, 2, (9, BITS), np.uint8)


def originals() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = [(16, 14), (20, 30), (16, 14), (16, 14), (20, 30), (16, 14), (11, 12), (16, 14)]
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in [*sizes, (16, 14)]]


def samples() -> Iterator[Sample]:
    for number, (word, image) in enumerate(zip(WORDS, originals(), strict=True)):
        marked = image.copy()
        marked[0, :BITS] = word[:, None] * 255
        yield Sample(marked, number, image)


def names() -> tuple[str, ...]:
    return tuple(f"s{number}" for number in range(len(WORDS)))


def attributor(name: str, read: Callable[[Tensor], Tensor] = first_row) -> MatchingBits:
    return MatchingBits(name, read, WORDS, names())


def one_set(*attributors: MatchingBits, name: str = "set") -> SweepSet:
    return SweepSet(name, samples, len(WORDS), attributors or (attributor("a"),))


def conditions(perturbation: Perturbation, *strengths: float) -> list[Condition]:
    return [Condition(), *(Condition(perturbation, strength) for strength in strengths)]


def by_place(rows: list[SweepRow]) -> dict[tuple[str, str, float | None], SweepRow]:
    return {(row.method, row.perturbation, row.strength): row for row in rows}


def test_every_image_is_perturbed_once_for_all_attributors_of_its_set() -> None:
    flips, seen = Flips(), []

    def watching(x: Tensor) -> Tensor:
        seen.append(x.clone())
        return first_row(x)

    sets = [one_set(attributor("a", watching), attributor("b", watching))]
    found = sweep(sets, conditions(flips, 0.2), batch_size=4)
    assert sorted(flips.calls) == sorted(
        (0.2, shape) for shape in [(4, 3, 16, 14), (2, 3, 16, 14), (2, 3, 20, 30), (1, 3, 11, 12)]
    )
    assert len(seen) == 2 * 2 * 4
    for first, second in zip(seen[::2], seen[1::2], strict=True):
        assert torch.equal(first, second)
    rows = by_place(found.rows)
    assert list(rows) == [
        ("a", "identity", None),
        ("b", "identity", None),
        ("a", "flips", 0.2),
        ("b", "flips", 0.2),
    ]
    one, two = rows["a", "flips", 0.2], rows["b", "flips", 0.2]
    assert (one.bit_accuracy, one.tpr) == (two.bit_accuracy, two.tpr)


def test_figures_of_known_readers() -> None:
    found = by_place(
        sweep(
            [one_set(attributor("right"), attributor("wrong", inverted))],
            conditions(Flips(), 0.0, 1.0),
            fpr=1e-3,
        ).rows
    )
    for place, (accuracy, tpr) in {
        ("right", "identity", None): (1.0, 1.0),
        ("right", "flips", 0.0): (1.0, 1.0),
        ("right", "flips", 1.0): (0.0, 0.0),
        ("wrong", "identity", None): (0.0, 0.0),
        ("wrong", "flips", 1.0): (1.0, 1.0),
    }.items():
        row = found[place]
        assert (row.bit_accuracy, row.bit_accuracy_q05, row.tpr) == (accuracy, accuracy, tpr)
        assert (row.images, row.bits, row.sources) == (9, BITS, 9)
        assert (row.threshold, row.fpr, row.fpr_high, row.negatives) == ("exact", 1e-3, 1e-3, 0)
    assert found["right", "identity", None].source_accuracy == 1.0


def test_perturbed_figures_against_a_count_by_hand() -> None:
    flips = Flips()
    row = sweep([one_set()], conditions(flips, 0.15), fpr=0.02, batch_size=3).rows[1]
    # The same draws, one batch after the other.
    batches: list[list[tuple[int, np.ndarray]]] = []
    for size in dict.fromkeys(image.shape for image in originals()):
        whole = [(n, s.pixels) for n, s in enumerate(samples()) if s.pixels.shape == size]
        batches += [whole[start : start + 3] for start in range(0, len(whole), 3)]
    shares, first = [], []
    for number, batch in enumerate(batches):
        pixels = torch.from_numpy(np.stack([p for _, p in batch])).permute(0, 3, 1, 2)
        changed = Condition(flips, 0.15).apply(pixels, 0, f"True{number}")
        for (source, _), image in zip(batch, changed, strict=True):
            bits = (image[0, 0, :BITS] > 127).numpy()
            counts = (bits == WORDS).sum(axis=1)
            shares.append(counts[source] / BITS)
            first.append((counts[source] == counts.max()) / (counts == counts.max()).sum())
    assert row.bit_accuracy == pytest.approx(np.mean(shares)) and np.mean(shares) < 1.0
    assert row.bit_accuracy_q05 == pytest.approx(np.quantile(shares, 0.05))
    assert row.source_accuracy == pytest.approx(np.mean(first))
    p_values = binom.sf(np.array(shares) * BITS - 1, BITS, 0.5)
    expected = np.mean(p_values <= 0.02)
    assert row.tpr == pytest.approx(expected) and 0.0 < expected < 1.0


def test_all_sets_meet_the_same_draws() -> None:
    rows = sweep(
        [one_set(name="one"), one_set(attributor("b"), name="two")], conditions(Flips(), 0.3)
    ).rows
    assert [row.bit_accuracy for row in rows][2] == [row.bit_accuracy for row in rows][3] != 1.0
    other = sweep([one_set()], conditions(Flips(), 0.3), seed=1).rows
    assert other[1].bit_accuracy != rows[2].bit_accuracy


def test_fidelity() -> None:
    found = sweep([one_set()], [Condition()]).fidelity["set"]
    values: list[tuple[float, float]] = []
    for sample in samples():
        assert sample.original is not None
        pair = [
            to_unit(torch.from_numpy(p).permute(2, 0, 1)[None])
            for p in (sample.pixels, sample.original)
        ]
        values.append((float(psnr(*pair)), float(ssim(*pair))))
    assert (found.psnr, found.ssim) == pytest.approx(tuple(np.mean(values, axis=0)), rel=1e-6)
    seen = VisibilitySummary()
    for sample in samples():
        assert sample.original is not None
        seen.add("", sample.original, sample.pixels)
    assert found.visibility == seen.figures() and found.visibility["scielab_p95_60"] > 0
    assert found.images == 9


def test_progress_counts_each_image_once_a_condition(tmp_path: Path) -> None:
    chosen, journal = conditions(Flips(), 0.1, 0.2), Journal(tmp_path, "x")
    for _ in range(2):
        with recorded_progress() as lines:
            sweep([one_set()], chosen, journal=journal)
        assert [(line.done, line.total) for line in lines] == [(36, 36)]


def test_a_stopped_sweep_goes_on(tmp_path: Path) -> None:
    strengths = (0.1, 0.2, 0.3)
    whole = sweep([one_set(), one_set(attributor("b"), name="b")], conditions(Flips(), *strengths))
    with pytest.raises(KeyboardInterrupt):
        sweep(
            [one_set(), one_set(attributor("b"), name="b")],
            conditions(Flips(fail_at=0.3), *strengths),
            journal=Journal(tmp_path, "x"),
        )
    flips = Flips()
    sets = [one_set(), one_set(attributor("b"), name="b")]
    resumed = sweep(sets, conditions(flips, *strengths), journal=Journal(tmp_path, "x"))
    assert resumed == whole
    batches = len({image.shape for image in originals()})
    assert [s for s, _ in flips.calls] == [0.3] * batches + [
        s for s in strengths for _ in range(batches)
    ]

    flips = Flips()

    def forbidden() -> Iterator[Sample]:
        raise AssertionError("the images of a finished sweep are not made again")

    sets = [SweepSet(s.name, forbidden, s.count, s.attributors) for s in sets]
    again = sweep(sets, conditions(flips, *strengths), journal=Journal(tmp_path, "x"))
    assert again == whole and not flips.calls


def test_other_settings_in_the_folder_are_refused(tmp_path: Path) -> None:
    study = RobustnessStudy([one_set()], {"images": "abc", "secret_fingerprint": "hush"})
    chosen = conditions(Flips(), 0.1)
    found = run_study(study, SweepOptions(chosen, output=tmp_path))
    assert "hush" not in (tmp_path / "robustness.run.json").read_text()
    assert study.open_settings() == {"images": "abc"}
    assert run_study(study, SweepOptions(chosen, output=tmp_path)) == found
    others: list[tuple[dict[str, Any], SweepOptions, str]] = [
        (
            {"images": "abd"},
            SweepOptions(chosen, output=tmp_path),
            "'images' was \"abc\" and is now",
        ),
        ({}, SweepOptions(chosen, seed=1, output=tmp_path), "'seed' was 0 and is now 1"),
        ({}, SweepOptions(chosen, fpr=0.1, output=tmp_path), "'fpr'"),
        ({}, SweepOptions(chosen, batch_size=2, output=tmp_path), "'batch_size'"),
        ({}, SweepOptions(chosen[:1], output=tmp_path), "'conditions'"),
        (
            {"secret_fingerprint": "told"},
            SweepOptions(chosen, output=tmp_path),
            "has another value",
        ),
    ]
    for changed, options, said in others:
        with pytest.raises(UserError, match=said) as error:
            run_study(RobustnessStudy(study.sets, {**study.settings, **changed}), options)
        assert "hush" not in str(error.value)


def test_negatives_of_an_attributor_without_an_exact_null() -> None:
    class Brightness:
        name, sources = "bright", ("light", "dark")

        def scores(self, x: Tensor) -> Tensor:
            mean = x.mean(dim=(1, 2, 3))
            return torch.stack([mean, -mean], dim=1)

    def shades() -> Iterator[Sample]:
        for level in range(100, 200):  # unmarked
            yield Sample(np.full((4, 4, 3), level, np.uint8))
        for level, source in [(250, 0), (198, 0), (197, 0), (90, 1), (102, 1), (150, 1)]:
            yield Sample(np.full((4, 4, 3), level, np.uint8), source)

    found = sweep([SweepSet("s", shades, 106, (Brightness(),))], [Condition()], fpr=0.02)
    row = found.rows[0]
    # Two of the hundred may pass: above 197, and below 102.
    assert row.tpr == pytest.approx(3 / 6) and row.false_positives == pytest.approx(0.02)
    assert (row.threshold, row.negatives, row.bits, row.bit_accuracy) == (
        "negatives",
        100,
        None,
        None,
    )
    assert row.fpr_high is not None and 0.02 < row.fpr_high < 0.08
    assert row.source_accuracy == pytest.approx(3 / 6)
    assert not found.fidelity
    without = sweep(
        [SweepSet("s", lambda: iter([*shades()][100:]), 6, (Brightness(),))], [Condition()]
    ).rows[0]
    assert (without.tpr, without.threshold, without.fpr_high) == (None, "", None)


def test_exact_tests_count_false_positives() -> None:
    def unmarked() -> Iterator[Sample]:
        yield from samples()
        yield Sample(next(samples()).pixels)  # taken by the source whose word it carries
        yield Sample(to_8bit(torch.rand(16, 14, 3)).numpy())

    row = sweep([SweepSet("s", unmarked, 11, (attributor("a"),))], [Condition()], fpr=3e-4).rows[0]
    assert (row.negatives, row.images) == (2, 9)
    assert row.false_positives == pytest.approx(1 / 18, abs=1e-9)


@pytest.mark.parametrize("fpr", [0.0, 1.0, -1.0])
def test_refuses_rates(fpr: float) -> None:
    with pytest.raises(ValueError, match="fpr"):
        sweep([one_set()], [Condition()], fpr=fpr)


def test_refuses_what_is_ambiguous() -> None:
    with pytest.raises(ValueError, match="image sets"):
        sweep([one_set(), one_set(attributor("b"))], [Condition()])
    with pytest.raises(ValueError, match="attributors"):
        sweep([one_set(), one_set(name="other")], [Condition()])
    with pytest.raises(ValueError, match="conditions"):
        sweep([one_set()], [Condition(), Condition()])
    with pytest.raises(ValueError, match="different sources"):
        other = MatchingBits("b", first_row, WORDS, tuple("ABCDEFGHI"))
        sweep([one_set(attributor("a"), other)], [Condition()])
    with pytest.raises(ValueError, match="it announced 5"):
        sweep([SweepSet("s", samples, 5, (attributor("a"),))], [Condition()])


def test_journal_is_text(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "robustness")
    sweep([one_set()], conditions(Flips(), 0.1), journal=journal)
    lines = (tmp_path / ".robustness.0.jsonl").read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == [
        "set/fidelity",
        "set/identity",
        "set/flips@0.1",
    ]
