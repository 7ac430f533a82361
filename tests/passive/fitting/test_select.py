"""Fitting attributors to folders of noise with patterns."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from artfp.core.errors import UserError
from artfp.data.pixels import to_8bit, to_unit
from artfp.data.sources import ImageSource, open_source
from artfp.data.subset import hash_fraction
from artfp.passive.attributors.base import Attributor
from artfp.passive.attributors.bundle import (
    ATTRIBUTOR_FILE,
    FittedAttributor,
    load_attributor,
    save_attributor,
)
from artfp.passive.attributors.correlation import MATCHED_FILTER
from artfp.passive.attributors.verdicts import NONE, DecisionRule, predict_group, predict_images
from artfp.passive.fitting import select as attribute_fit
from artfp.passive.fitting.cross_validation import (
    cross_validate_correlation,
    cross_validate_spectrum,
)
from artfp.passive.fitting.image_set import ImageSet
from artfp.passive.fitting.select import (
    FUSION_METHOD,
    MATCHED_METHOD,
    PLAIN_METHOD,
    SPECTRUM_METHOD,
    FitOptions,
    fit_methods,
)
from artfp.perturbations.registry import PERTURBATIONS
from tests.progress import recorded_progress

COUNT, SIDE = 3, 24
NAMES = ("a", "b", "c")


def images(
    source: int, count: int, seed: int = 0, side: int = SIDE, strength: float = 1.2
) -> torch.Tensor:
    """8-bit images (count, 3, side, side): noise of a colour on a ramp, with a weak pattern.

    Source COUNT has neither the colour nor the pattern of the others.
    """
    generator = torch.Generator().manual_seed(1000 * seed + source)
    noise = 8.0 * torch.randn(count, 3, side, side, generator=generator)
    noise = noise + 0.08 * (strength / 1.2) * source * noise.roll(1, -1)
    if source < COUNT:
        drawn = torch.Generator().manual_seed(77 + source)
        noise += strength * torch.randn(3, side, side, generator=drawn)
    whole = noise + torch.linspace(60, 180, side)
    return whole.round().clamp(0, 255).to(torch.uint8)


Folders = dict[str, ImageSource]


def write(folder: Path, pixels: torch.Tensor) -> None:
    """Images as PNG files 000.png, 001.png, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(pixels.permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image).save(folder / f"{number:03}.png")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    root = tmp_path_factory.mktemp("sources")
    for number, name in enumerate(NAMES):
        write(root / name, images(number, 80))
    return {name: open_source(root / name) for name in NAMES}


@pytest.fixture(scope="module")
def image_set(folders: Folders) -> Iterator[ImageSet]:
    found = ImageSet(folders)
    yield found
    found.close()


@pytest.fixture(scope="module")
def fitted(image_set: ImageSet) -> FittedAttributor:
    """By fusion, with the extractor given. Not to be changed."""
    return fit_methods(image_set, FitOptions(extractor="gaussian:sigma=1")).attributor


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two extractors to choose from, the second much the better, on few images."""
    monkeypatch.setattr(attribute_fit, "EXTRACTORS", ("gaussian:sigma=0.3", "gaussian:sigma=1"))
    monkeypatch.setattr(attribute_fit, "SELECTION", 50)


def accuracy(
    attributor: Attributor, seed: int = 5, cut: Callable[..., torch.Tensor] | None = None
) -> float:
    right = []
    for k in range(COUNT):
        x = to_unit(images(k, 40, seed))
        found = attributor.scores(cut(x) if cut else x).argmax(1)
        right.append(float((found == k).double().mean()))
    return float(np.mean(right))


def test_all_ways_and_the_best(quick: None, image_set: ImageSet) -> None:
    with recorded_progress() as lines:
        found = fit_methods(image_set, name="mine")
    assert found.attributor.name == "mine" and isinstance(found.attributor, Attributor)
    assert found.chosen == FUSION_METHOD == found.methods[0].what
    assert {trial.what for trial in found.methods} == {
        FUSION_METHOD, MATCHED_METHOD, SPECTRUM_METHOD}  # fmt: skip
    assert [t.what for t in found.extractors[MATCHED_METHOD]] == [
        "gaussian:sigma=1", "gaussian:sigma=0.3"]  # fmt: skip
    assert {t.what for t in found.extractors[SPECTRUM_METHOD]} == {"image, hann", "image, none"}
    losses = [trial.log_loss for trial in found.methods]
    assert losses == sorted(losses)
    # Held out figures are those of other images.
    assert found.validation.accuracy == pytest.approx(accuracy(found.attributor), abs=0.05)
    assert found.validation.accuracy > 0.9
    assert [sum(row) for row in found.validation.confusion] == [80] * 3
    assert np.mean(found.validation.rejected) == pytest.approx(0.05, abs=0.04)
    assert {line.caption for line in lines} >= {
        "Spectra, image, hann",
        "Residuals, gaussian:sigma=1",
    }
    assert all(line.done == line.total for line in lines)


def test_plain_correlation_is_marras(image_set: ImageSet) -> None:
    found = fit_methods(image_set, FitOptions(method=PLAIN_METHOD, extractor="gaussian:sigma=1"))
    (part,) = found.attributor.parts
    assert [trial.what for trial in found.methods] == [PLAIN_METHOD]
    plain = accuracy(part)
    assert found.methods[0].largest == pytest.approx(plain, abs=0.1)
    better = fit_methods(image_set, FitOptions(method=MATCHED_METHOD, extractor="gaussian:sigma=1"))
    assert accuracy(better.attributor.parts[0]) >= plain
    assert better.methods[0].log_loss < found.methods[0].log_loss


def test_scores_are_held_out(image_set: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of sources without any difference they are right by chance alone."""
    labels = image_set.labels.copy()
    rng = np.random.default_rng(0)
    mixed = ImageSet.__new__(ImageSet)
    mixed.__dict__ = {**image_set.__dict__, "labels": np.sort(labels)}
    order = rng.permutation(len(labels))
    original = image_set.batches

    def shuffled(
        rows: np.ndarray, device: str = "cpu", caption: str = ""
    ) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        for part, x in original(rows, device):
            other = order[part]
            pixels = [image_set._spool[i] for i in other]
            yield part, to_unit(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)) + 0 * x

    monkeypatch.setattr(mixed, "batches", shuffled)
    _, scores = cross_validate_correlation(mixed, MATCHED_FILTER, "gaussian:sigma=1")
    assert (scores.argmax(1) == mixed.labels).mean() < 0.5
    _, scores = cross_validate_spectrum(mixed, "image, hann")
    assert (scores.argmax(1) == mixed.labels).mean() < 0.5


def test_verdicts_on_images_that_nobody_has_seen(fitted: FittedAttributor) -> None:
    attributor = fitted
    vectors = attributor.score_vectors(to_unit(images(COUNT, 60, 3)))
    logs, fits = attributor.log_likelihoods(vectors), attributor.p_values(vectors)
    found = predict_images(logs, fits, NAMES, attributor.rule)
    assert np.mean([each.verdict == NONE for each in found]) > 0.4
    group = predict_group(logs, fits, NAMES, attributor.rule, attributor.model.images)
    assert group.verdict == NONE and group.p_value < 0.02
    for k, name in enumerate(NAMES):
        vectors = attributor.score_vectors(to_unit(images(k, 30, 4)))
        logs, fits = attributor.log_likelihoods(vectors), attributor.p_values(vectors)
        group = predict_group(logs, fits, NAMES, attributor.rule, attributor.model.images)
        assert group.source == name and group.posterior > 0.999


def test_crops_by_search_and_by_spectrum(folders: Folders) -> None:
    def cut(x: torch.Tensor) -> torch.Tensor:
        return x[..., 3:23, 1:21]

    found = {}
    for policy in ("shift", "spectrum"):
        image_set = ImageSet(folders, policy=policy, window=20)
        found[policy] = fit_methods(image_set, FitOptions(extractor="gaussian:sigma=1")).attributor
        image_set.close()
    assert accuracy(found["shift"], cut=cut) > accuracy(found["spectrum"], cut=cut) > 0.4
    assert [part.name for part in found["spectrum"].parts] == ["spectrum"]
    # Whole images are cut to the window as well.
    assert accuracy(found["shift"]) > 0.7
    with pytest.raises(ValueError, match="smaller than"):
        found["shift"].scores(torch.rand(1, 3, 19, 20))


def recompressed(x: torch.Tensor, quality: float = 85.0) -> torch.Tensor:
    """Images after JPEG."""
    pixels = to_8bit(x)
    return to_unit(PERTURBATIONS["jpeg"].real(pixels, quality, torch.Generator()))


def test_copies_come_after_their_originals(folders: Folders, image_set: ImageSet) -> None:
    both, again, other = (ImageSet(folders, recompress=True, seed=seed) for seed in (0, 0, 1))
    assert len(both) == 2 * len(image_set) and both.states.tolist() == [0, 1] * len(image_set)
    for mine, plain in ((both.labels, image_set.labels), (both.folds, image_set.folds),
                        (both.offsets, image_set.offsets)):  # fmt: skip
        assert (mine[::2] == plain).all() and (mine[1::2] == plain).all()
    few = 2 * image_set.subset_rows(50)
    assert both.subset_rows(50).tolist() == sorted([*few, *(few + 1)])
    drawn = []
    for row in range(0, 120, 2):
        assert (both._spool[row] == image_set._spool[row // 2]).all()
        copy = both._spool[row + 1]
        coded = []
        for quality in range(75, 101):
            buffer = io.BytesIO()
            Image.fromarray(both._spool[row]).save(buffer, "JPEG", quality=quality, subsampling=2)
            coded.append(np.array(Image.open(buffer)))
        (fits,) = np.nonzero([(each == copy).all() for each in coded])
        drawn.append(75 + int(fits[0]))
        assert (again._spool[row + 1] == copy).all()
    assert min(drawn) < 79 and max(drawn) > 96 and len(set(drawn)) > 15
    assert any((both._spool[row] != other._spool[row]).any() for row in range(1, 40, 2))
    for each in (both, again, other):
        each.close()


@pytest.fixture(scope="module")
def stronger(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Sources that JPEG does not wipe out."""
    root = tmp_path_factory.mktemp("stronger")
    for number, name in enumerate(NAMES):
        write(root / name, images(number, 80, strength=3.0))
    return {name: open_source(root / name) for name in NAMES}


@pytest.mark.parametrize("policy", ["aligned", "shift", "spectrum"])
def test_recompressed_copies_make_it_robust(stronger: Folders, policy: str) -> None:
    """Attribution after JPEG, and "none of these" as rare as it should be, whatever the policy."""
    window = None if policy == "aligned" else 20
    found = {}
    for both in (False, True):
        image_set = ImageSet(stronger, policy=policy, window=window, recompress=both)
        found[both] = fit_methods(image_set, FitOptions(extractor="gaussian:sigma=1"))
        image_set.close()
    x = torch.cat([to_unit(images(k, 40, 5, strength=3.0)) for k in range(COUNT)])
    truth, figures = np.repeat(np.arange(COUNT), 40), {}
    for both, each in found.items():
        attributor = each.attributor
        for jpeg in (False, True):
            vectors = attributor.score_vectors(recompressed(x) if jpeg else x)
            logs, fits = attributor.log_likelihoods(vectors), attributor.p_values(vectors)
            verdicts = [each.verdict for each in predict_images(logs, fits, NAMES, attributor.rule)]
            rejected = np.mean([verdict == NONE for verdict in verdicts])
            figures[both, jpeg] = ((logs.argmax(1) == truth).mean(), rejected)
    assert figures[True, True][0] > figures[False, True][0] + 0.05
    price = 0.25 if policy == "spectrum" else 0.05  # discriminants of few images
    assert figures[True, False][0] > figures[False, False][0] - price
    assert figures[False, True][1] > 0.9 and figures[True, True][1] < 0.12
    # Figures of originals and of copies are told apart.
    assert found[False].recompressed is None
    whole, copies = found[True].validation, found[True].recompressed
    assert copies is not None and [sum(row) for row in copies.confusion] == [80] * 3
    assert [sum(row) for row in whole.confusion] == [80] * 3
    assert whole.accuracy >= copies.accuracy > 0.5
    assert {trial.images for trial in found[True].methods} == {480}


def test_file_and_back(fitted: FittedAttributor, tmp_path: Path) -> None:
    found = FittedAttributor(
        "any",
        fitted.parts,
        fitted.model,
        fitted.policy,
        DecisionRule(0.1, 0.8),
        {"guard": ["nothing"]},
    )
    assert save_attributor(found, tmp_path / "model") == [
        "attributor.safetensors", "attributor.json"]  # fmt: skip
    again = load_attributor(tmp_path / "model")
    assert (
        again.name == "model"
        and load_attributor(tmp_path / "model" / ATTRIBUTOR_FILE, "x").name == "x"
    )
    assert again.sources == NAMES and again.rule == DecisionRule(0.1, 0.8)
    assert again.card() == found.card() and again.metadata == {"guard": ["nothing"]}
    assert json.loads((tmp_path / "model" / "attributor.json").read_text()) == again.card()
    x = to_unit(images(1, 8, 9))
    assert torch.allclose(again.scores(x), found.scores(x), atol=1e-3, rtol=1e-3)
    vectors = found.score_vectors(x)
    assert np.array_equal(again.p_values(vectors), found.p_values(vectors))


def test_damaged_files(fitted: FittedAttributor, tmp_path: Path) -> None:
    save_attributor(fitted, tmp_path)
    path = tmp_path / ATTRIBUTOR_FILE
    with safe_open(path, framework="pt") as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        card = json.loads(file.metadata()["artfp"])

    def damaged(said: str, drop: str = "", **changes: object) -> None:
        kept = {key: value for key, value in state.items() if key != drop}
        save_file(kept, path, {"artfp": json.dumps({**card, **changes})})
        with pytest.raises(UserError, match=said):
            load_attributor(path)

    damaged("holds the decoder, not an attributor", kind="decoder")
    damaged("a part 'oracle', which this version", parts=[{"kind": "oracle"}])
    damaged("is damaged", drop="model.means")
    damaged("is damaged", drop="0.power")
    damaged("is damaged", sources=["a", "b"])
    damaged("is damaged", policy={"kind": "aligned"})
    damaged("is damaged", parts=card["parts"][:1])
    with pytest.raises(UserError, match="no attributor at"):
        load_attributor(tmp_path / "none")


def test_images_of_one_name_stay_together(image_set: ImageSet) -> None:
    folds = image_set.folds.reshape(COUNT, 80)
    assert (folds == folds[0]).all() and len(np.unique(folds)) == 10
    # Also where the images were drawn by their names, as other parts of the program draw.
    fractions = [hash_fraction(f"0 {number:03}.png") for number in range(80)]
    drawn = folds[0][np.array(fractions) < 0.5]
    assert len(np.unique(drawn)) > 7
    assert (
        len(image_set.subset_rows(50)) == 120
        and len(image_set.subset_rows(80)) == len(image_set) == 240
    )


def test_several_sizes(tmp_path: Path) -> None:
    """The default policy is the spectrum's, and images too small for the window are named."""
    write(tmp_path / "a", images(0, 50))
    write(tmp_path / "b", images(1, 50, side=30))
    Image.new("RGB", (9, 9)).save(tmp_path / "a" / "small.png")
    (tmp_path / "b" / "no.png").write_bytes(b"nothing")
    sources = {name: open_source(tmp_path / name) for name in ("a", "b")}
    image_set = ImageSet(sources)
    assert image_set.policy.kind == "spectrum" and image_set.policy.window == (SIDE, SIDE)
    assert dict(image_set.sizes["a"]) == {"24x24": 50, "9x9": 1}
    assert image_set.codecs["a"]["PNG"] == 50 and len(image_set) == 100
    (small, broken) = image_set.failed
    assert small[0] == "a/small.png" and "9x9 is smaller than 24x24" in small[1]
    assert broken[0] == "b/no.png"
    with pytest.raises(UserError, match="the policy is spectrum, which excludes matched"):
        fit_methods(image_set, FitOptions(method=MATCHED_METHOD))
    with pytest.raises(UserError, match="of 30 images can be used, a source takes 40"):
        ImageSet(sources, limit=30)


def test_refused_options() -> None:
    with pytest.raises(UserError, match="method 'best': choose from plain, matched"):
        FitOptions(method="best")
    with pytest.raises(UserError, match="did you mean wavelet"):
        FitOptions(extractor="wavelt")


def test_a_fitted_attributor_checks_its_parts(fitted: FittedAttributor) -> None:
    found = fitted
    with pytest.raises(ValueError, match="a model of"):
        FittedAttributor("x", found.parts[:1], found.model, found.policy)
    with pytest.raises(ValueError, match="the same sources"):
        FittedAttributor("x", (), found.model, found.policy)
