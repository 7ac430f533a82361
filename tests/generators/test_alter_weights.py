"""Altered generators on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from artfp.core.errors import UserError
from artfp.data.paths import file_hash
from artfp.generators import build_model
from artfp.generators.perturb_weights import Alteration, write_altered
from artfp.generators.weights import load_generator, save_generator


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A generator's file."""
    generator = build_model("dcgan", 16, seed=1, changes={"width": 8, "latent_dim": 8}).generator
    save_generator(generator, tmp_path / "whole.safetensors", {"step": 7, "class_names": []})
    return tmp_path / "whole.safetensors"


def test_files_and_cards(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "altered"
    wanted = [
        Alteration("noise", 0.05, 2),
        Alteration("quantise", 4, 2),
        Alteration("prune", 0.25, 2),
    ]
    files_and_alterations = write_altered(source, output, wanted)
    files = [each.path for each in files_and_alterations]
    assert [file.name for file in files] == [
        "noise_0.05.safetensors",
        "quantise_4.safetensors",
        "prune_0.25.safetensors",
    ]
    whole, card = load_generator(source)
    for file, alteration in zip(files, wanted, strict=True):
        generator, described = load_generator(file)
        assert described.pop("altered") == [{**alteration.entry(), "of": file_hash(source)}]
        assert described == card
        expected = alteration.apply(whole).state_dict()
        assert all(torch.equal(value, expected[n]) for n, value in generator.state_dict().items())
    # An altered generator can be altered again, and lists all alterations.
    (twice,) = write_altered(files[2], tmp_path / "twice", [Alteration("quantise", 8)])
    entries = load_generator(twice.path)[1]["altered"]
    assert [entry["by"] for entry in entries] == ["prune", "quantise"]
    assert [entry["of"] for entry in entries] == [file_hash(source), file_hash(files[2])]


def test_a_folder_is_of_one_generator_and_seed(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "altered"
    (written,) = write_altered(source, output, [Alteration("noise", 0.1)])
    first = written.path
    before = first.read_bytes()
    write_altered(source, output, [Alteration("noise", 0.1), Alteration("quantise", 8)])
    assert first.read_bytes() == before and (output / "quantise_8.safetensors").is_file()
    with pytest.raises(UserError, match="holds a run of 'alter' with other settings: 'seeds'"):
        write_altered(source, output, [Alteration("noise", 0.1, seed=1)])
    with pytest.raises(UserError, match="'generator_sha256' is that of other files"):
        write_altered(output / "quantise_8.safetensors", output, [Alteration("noise", 0.1)])


def test_nothing_is_written_for_bad_input(source: Path, tmp_path: Path) -> None:
    for wanted, message in (([Alteration("quantise", 8), Alteration("prune", 2.0)], "prune is 2"),):
        with pytest.raises(UserError, match=message):
            write_altered(source, tmp_path / "out", wanted)
    assert not (tmp_path / "out").exists()
