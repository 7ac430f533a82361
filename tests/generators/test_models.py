"""What holds for every generative model."""

from __future__ import annotations

import pytest
import torch

from artfp.core.errors import UserError
from artfp.generators import (
    DataBatch,
    GenerativeModel,
    Generator,
    TrainingStep,
    build_model,
    find_model,
    generative_models,
)
from artfp.generators.base import SIZES
from artfp.generators.registry import configure_model
from artfp.generators.report import OWN_MODELS, describe_model
from artfp.generators.weights import load_generator, save_generator
from artfp.nn.random_inputs import ImageRandomInputs, RandomInputs

CLASSES = 3

SMALL = [(name, side) for name, model in generative_models().items() for side in model.resolutions]
PAPER = [(name, min(model.resolutions)) for name, model in generative_models().items()]


def new(name: str, side: int, size: str = "small", seed: int = 0) -> GenerativeModel:
    return build_model(name, side, size, seed, CLASSES if generative_models()[name].labelled else 0)


def batch_for(model: GenerativeModel, count: int) -> DataBatch:
    rng = torch.Generator().manual_seed(0)
    side = model.resolution
    shape = (count, 3, side, side)
    images = tuple(torch.rand(shape, generator=rng) for _ in range(model.domains))
    return DataBatch(images, torch.arange(count) % CLASSES if model.labelled else None)


def images_of(model: GenerativeModel, generator: Generator, numbers: range) -> torch.Tensor:
    if model.translates:
        x = batch_for(model, 16).x[numbers.start : numbers.stop]
        return generator.translate(x, generator.targets[0])
    labels = torch.tensor([i % CLASSES for i in numbers]) if model.labelled else None
    return generator.sample(ImageRandomInputs(5, numbers), labels)


@pytest.mark.parametrize(("name", "side"), SMALL)
def test_images_at_every_resolution(name: str, side: int) -> None:
    model = new(name, side)
    x = images_of(model, model.generator, range(2))
    assert x.shape == (2, 3, side, side) and x.dtype == torch.float32
    assert x.min() >= 0.0 and x.max() <= 1.0 and x.std() > 0.0


@pytest.mark.parametrize(
    ("name", "side", "size"), [(*p, "paper") for p in PAPER] + [(*p, "small") for p in PAPER]
)
def test_every_player_trains_all_that_is_its_own(name: str, side: int, size: str) -> None:
    model = new(name, side, size)
    batch, progress = batch_for(model, 4), TrainingStep(9, 10)  # whatever grows has grown
    model.prepare(batch, RandomInputs(torch.Generator().manual_seed(1), 4))
    model.begin_step(progress)
    trained = set()
    for network in model.trained_networks():
        model.zero_grad(set_to_none=True)
        rng = RandomInputs(torch.Generator().manual_seed(2), 4)
        loss, scalars = network.loss(batch, rng, progress)
        assert loss.shape == () and loss.isfinite()
        assert all(value.shape == () for value in scalars.values())
        loss.backward()
        for parameter in network.parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all()
        trained |= set(network.parameters())
    assert set(model.generator.parameters()) <= trained


@pytest.mark.parametrize(("name", "side"), PAPER)
def test_every_player_trains_in_bf16(name: str, side: int) -> None:
    """Under autocast losses are nearly what they are in float32, and gradients are finite."""
    losses = []
    for lower in (False, True):
        model = new(name, side)
        batch, progress = batch_for(model, 4), TrainingStep(9, 10)
        model.prepare(batch, RandomInputs(torch.Generator().manual_seed(1), 4))
        model.begin_step(progress)
        for network in model.trained_networks():
            model.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=lower):
                rng = RandomInputs(torch.Generator().manual_seed(2), 4)
                loss, _ = network.loss(batch, rng, progress)
            loss.backward()
            grads = [p.grad for p in network.parameters() if p.grad is not None]
            assert grads and all(grad.isfinite().all() for grad in grads)
            losses.append(float(loss.detach()))
    exact, lowered = losses[: len(losses) // 2], losses[len(losses) // 2 :]
    assert lowered == pytest.approx(exact, rel=0.05, abs=0.05)


@pytest.mark.parametrize(("name", "side"), PAPER)
def test_a_seed_decides_the_weights(name: str, side: int) -> None:
    torch.manual_seed(9)
    first = new(name, side, seed=4).state_dict()
    state = torch.get_rng_state()
    torch.rand(3)
    again, other = new(name, side, seed=4).state_dict(), new(name, side, seed=5).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)
    torch.manual_seed(9)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("name", "side"), PAPER)
def test_images_do_not_depend_on_their_batch(name: str, side: int) -> None:
    model = new(name, side)
    whole = images_of(model, model.generator, range(12))
    assert torch.equal(whole, images_of(model, model.generator, range(12)))
    parts = [images_of(model, model.generator, r) for r in (range(1), range(1, 6), range(6, 12))]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-4)
    assert len({image.numpy().tobytes() for image in whole}) == 12


@pytest.mark.parametrize(("name", "side"), PAPER)
def test_generators_are_saved_and_loaded(
    name: str, side: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("weights") / "generator.safetensors"
    model = new(name, side, seed=3)
    card = save_generator(model.generator, path, {"training": {"seed": 3}})
    state = torch.get_rng_state()
    generator, read = load_generator(path)
    assert torch.equal(torch.get_rng_state(), state)
    assert read["model"] == name == generator.model and read["kind"] == "generator"
    assert read["training"] == {"seed": 3} and card["resolution"] == side == generator.resolution
    assert generator.config == model.config and not generator.training
    assert not any(p.requires_grad for p in generator.parameters())
    expected = images_of(model, model.generator, range(4))
    assert torch.equal(images_of(model, generator, range(4)), expected)


@pytest.mark.parametrize("name", generative_models())
def test_models_say_what_they_are(name: str) -> None:
    model = find_model(name)
    assert model.name == name and "arXiv" in model.reference and len(model.departures) > 20
    for size in SIZES:
        for side in model.resolutions:
            config = configure_model(name, side, size)
            assert config.batch_size > 0 and config.steps > 0 and 0.0 <= config.ema_decay < 1.0
    kinds = {"unconditional", "class-conditional", "translator"}
    assert model.kind() in kinds and 32 in model.resolutions


def test_names_settings_and_classes_that_do_not_exist() -> None:
    with pytest.raises(UserError, match="no generative model is called 'gan'; choose from dcgan"):
        build_model("gan", 32)
    with pytest.raises(UserError, match="dcgan works at 16, 32, 64, 128 pixels a side, not at 33"):
        build_model("dcgan", 33)
    with pytest.raises(UserError, match="comes in the sizes small, paper, not 'large'"):
        build_model("dcgan", 32, "large")
    with pytest.raises(UserError, match="dcgan has no setting 'depth'; choose from batch"):
        build_model("dcgan", 32, changes={"depth": 3})
    for value in ("x", "1.5", None, "inf"):
        with pytest.raises(UserError, match=f"width is {value!r}; it must be like 64"):
            build_model("dcgan", 32, changes={"width": value})
    with pytest.raises(UserError, match="dcgan cannot be built with these settings"):
        build_model("dcgan", 32, changes={"width": -8})
    with pytest.raises(UserError, match="dcgan takes no labels; 10 classes were given"):
        build_model("dcgan", 32, classes=10)
    config = configure_model(
        "sngan", 32, changes={"width": "16", "lr": "1e-3", "betas": [0.5, 0.9]}
    )
    assert (config.width, config.lr, config.betas) == (16, 1e-3, (0.5, 0.9))  # type: ignore


def test_the_average_forgets_the_first_weights() -> None:
    model = build_model("dcgan", 16)
    decays = [model.ema_decay_at(TrainingStep(step, 5000)) for step in range(5000)]
    assert decays[0] == pytest.approx(0.1) and decays[90] == pytest.approx(0.91)
    assert decays == sorted(decays) and decays[-1] == 0.995
    assert build_model("dcgan", 16, "paper").ema_decay_at(TrainingStep(100, 200)) == 0.0


def test_the_list_is_that_of_the_models() -> None:
    assert tuple(map(describe_model, generative_models())) == OWN_MODELS
