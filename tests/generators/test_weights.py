"""Files that hold no generator, or not the one that their card describes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from artfp.core.errors import UserError
from artfp.generators import build_model
from artfp.generators.weights import load_generator, save_generator


@pytest.fixture
def altered(tmp_path: Path) -> Callable[..., Path]:
    """A generator's file whose card is changed; None removes an entry."""
    generator = build_model("dcgan", 16, changes={"width": 8}).generator
    card = save_generator(generator, tmp_path / "whole.safetensors")

    def alter(**changes: Any) -> Path:
        path = tmp_path / "altered.safetensors"
        new = {k: v for k, v in {**card, **changes}.items() if v is not None}
        tensors = {name: t.contiguous() for name, t in generator.state_dict().items()}
        save_file(tensors, path, {"artfp": json.dumps(new)})
        return path

    return alter


def test_cards_that_do_not_fit(altered: Callable[..., Path]) -> None:
    config = load_generator(altered())[1]["config"]
    for changes, message in (
        ({"kind": "decoder"}, "holds the decoder, not a generator; give another file"),
        ({"config": None}, "its card does not describe a generator"),
        ({"config": 3}, "its card does not describe a generator"),
        ({"classes": "x"}, "its card does not describe a generator"),
        ({"model": "gan"}, "no generative model is called 'gan'"),
        ({"resolution": 10**9}, "dcgan works at 16, 32, 64, 128 pixels a side, not at 1000000000"),
        ({"resolution": 32}, "does not fit the generator that its card describes"),
        (
            {"config": {**config, "width": 16}},
            "does not fit the generator that its card describes",
        ),
        ({"config": {**config, "width": "wide"}}, "width is 'wide'; it must be like 64"),
        ({"config": {**config, "depth": 1}}, "dcgan has no setting 'depth'"),
        (
            {"config": {"width": 8}},
            "its card lacks batch_size, betas, discriminator_steps",
        ),
    ):
        with pytest.raises(UserError, match=message) as caught:
            load_generator(altered(**changes))
        assert str(caught.value).startswith(str(altered())) and "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no generator at"):
        load_generator(tmp_path / "none.safetensors")
    (tmp_path / "text").write_text("text")
    with pytest.raises(UserError, match=r"not a readable \.safetensors file"):
        load_generator(tmp_path / "text")


def test_a_card_does_not_decide_on_memory(tmp_path: Path) -> None:
    generator = build_model("biggan", 32, classes=2, changes={"width": 4}).generator
    card = save_generator(generator, tmp_path / "whole.safetensors")
    tensors = {name: t.contiguous() for name, t in generator.state_dict().items()}
    for changes in ({"classes": 10**10}, {"config": {**card["config"], "width": 10**6}}):
        save_file(tensors, tmp_path / "x.safetensors", {"artfp": json.dumps({**card, **changes})})
        with pytest.raises(UserError, match="does not fit the generator that its card describes"):
            load_generator(tmp_path / "x.safetensors")
