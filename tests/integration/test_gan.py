"""`artfp gan`: the whole way from a folder of images to a folder of generated ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from artfp.generators import generative_models
from artfp.generators.weights import load_generator

ROOT = Path(__file__).resolve().parents[2]

Call = Callable[..., tuple[int, list[str], list[str]]]

pytestmark = pytest.mark.filterwarnings("ignore:.*GPU available but not used.*")


def test_the_list_names_every_model(call: Call) -> None:
    code, said, errors = call("gan", "list", "--departures")
    assert (code, errors) == (0, [])
    for name, model in generative_models().items():
        row = next(line for line in said if line.startswith(f"{name}\t"))
        assert model.kind() in row and ", ".join(map(str, model.resolutions)) in row
        assert re.search(r"\d\.\dM", row) and model.reference.split(",")[0] in row
        assert any(line.startswith(f"{name}: {model.departures[:20]}") for line in said)


def test_train_and_generate(call: Call, photo_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["train", "dcgan", "--data_dir", photo_folder, "--output_dir", run, "--cuda", -1]
    words += ["--resolution", 16, "--set", "width=8,ema_decay=0.5", "--max_steps", 3]
    words += ["--batch_size", 8, "--seed", 5, "--keep_every", 2]
    code, said, errors = call("gan", *words)
    assert code == 0 and said == [f"wrote {run}/generator.safetensors"]
    assert len(errors) == 1 and re.fullmatch(
        r"120 images to train on; dcgan small at 16 px, \d+ parameters, \d+ of them the "
        r"generator's, 3 steps of 8 images",
        errors[0],
    )
    assert (run / "snapshots" / "000002.safetensors").is_file()
    card = (run / "card.json").read_text()
    assert "artfp gan train --model dcgan --data_dir" in card and str(tmp_path) not in card
    code, _, errors = call("gan", *words)
    assert code == 2 and "already holds a training; add --resume" in errors[0]
    assert call("gan", *words, "--resume")[0] == 0
    code, _, errors = call("gan", *words, "--resume", "--batch_size", 4)
    assert code == 2 and "'batch_size' was 8 and is now 4" in errors[0]
    # The settings that were written make the same training.
    text = (run / "config.yaml").read_text().replace(str(run), str(tmp_path / "again"))
    (tmp_path / "again.yaml").write_text(text)
    assert call("gan", "train", "--config", tmp_path / "again.yaml")[0] == 0

    weights = run / "generator.safetensors"
    generated = [
        "generate",
        "--generator",
        weights,
        "--output_dir",
        tmp_path / "made",
        "--count",
        5,
    ]
    code, said, errors = call("gan", *generated, "--archive", "--cuda", -1)
    assert (code, said, errors) == (0, [f"5 images in {tmp_path}/made/images"], [])
    assert (tmp_path / "made" / "images.zip").is_file()
    code, said, _ = call("gan", *generated, "--count", 6, "--cuda", -1)
    assert (code, said) == (0, [f"6 images in {tmp_path}/made/images, 5 of them before"])


def test_alter_and_go_on(call: Call, photo_folder: Path, tmp_path: Path) -> None:
    run, train = tmp_path / "run", ["train", "dcgan", "--data_dir", photo_folder, "--cuda", -1]
    small = ["--resolution", 16, "--set", "width=8,latent_dim=8", "--batch_size", 8]
    assert call("gan", *train, *small, "--output_dir", run, "--max_steps", 2)[0] == 0
    weights, out = run / "generator.safetensors", tmp_path / "altered"
    words = ["alter", "--generator", weights, "--output_dir", out, "--noise", "0.01,0.1"]
    code, said, errors = call("gan", *words, "--quantise", "8", "--prune", "0.5")
    names = ["noise_0.01", "noise_0.1", "quantise_8", "prune_0.5"]
    assert (code, errors) == (0, [])
    assert said == [f"wrote {out}/{name}.safetensors" for name in names]
    altered = load_generator(out / "noise_0.1.safetensors")[1]["altered"]
    assert [(entry["by"], entry["strength"]) for entry in altered] == [("noise", 0.1)]

    on = [*train, "--batch_size", 8, "--max_steps", 2]
    for place, start in (
        (out / "quantise_8.safetensors", "its generator; the generator is frozen for 100"),
        (run, "all its networks; the generator is frozen for 0"),
    ):
        tuned = tmp_path / f"tuned_{place.stem}"
        code, _, errors = call("gan", *on, "--init", place, "--output_dir", tuned)
        assert code == 0 and len(errors) == 2
        assert errors[0].startswith("continuing a training of 2 steps")
        assert f"{start} steps" in errors[0]
        card = (tuned / "card.json").read_text()
        assert '"width": 8' in card and str(tmp_path) not in card
        assert call("gan", *on, "--init", place, "--output_dir", tuned, "--resume")[0] == 0
    assert (
        load_generator(tmp_path / "tuned_quantise_8/generator.safetensors")[1]["training"]["init"][
            "altered"
        ][0]["strength"]
        == 8
    )


SPY = """
import pathlib, sys
from artfp.cli.main import main
from artfp.generators.training.module import GenerativeModule

def on_train_end(self):
    weights = [float(p.double().abs().sum()) for p in self.model.parameters()]
    pathlib.Path(sys.argv[0]).with_name(f"rank{self.global_rank}").write_text(repr(weights))

GenerativeModule.on_train_end = on_train_end
if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], command="gan"))
"""
"""The command, with the weights that each process ends with left beside it."""


@pytest.mark.slow
def test_two_processes(photo_folder: Path, tmp_path: Path) -> None:
    """DDP over two CPU processes: the same weights on both, one result."""
    (tmp_path / "spy.py").write_text(SPY)
    words = ["train", "sngan", "--data_dir", photo_folder, "--output_dir", tmp_path / "run"]
    words += [
        "--resolution",
        16,
        "--set",
        "width=8,discriminator_width=8,discriminator_steps=2",
        "--max_steps",
        4,
    ]
    words += ["--batch_size", 4, "--accelerator", "cpu", "--devices", 2]
    done = subprocess.run(
        [sys.executable, *map(str, [tmp_path / "spy.py", *words])],
        capture_output=True,
        text=True,
        timeout=300,
        env={
            **{k: v for k, v in os.environ.items() if not k.endswith("RANK")},
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": str(ROOT),
        },
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"wrote {tmp_path}/run/generator.safetensors\n"
    first, second = ((tmp_path / f"rank{rank}").read_text() for rank in range(2))
    assert first == second and len(first) > 100
    card = load_generator(tmp_path / "run" / "generator.safetensors")[1]
    assert card["step"] == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "artfp gan: error: no action; choose from list, train, generate, alter"),
        (
            ["lst"],
            "artfp gan: error: unknown action 'lst'; did you mean 'list'?",
        ),
        (["train"], "artfp gan train: error: missing --model, --data_dir, --output_dir"),
        (["train", "vae"], "no generative model is called 'vae'; choose from"),
        (["train", "dcgan", "--set", "width"], "--set width: write NAME=VALUE"),
        (["train", "dcgan", "--set", "width=x"], "width is 'x'; it must be like 64"),
        (
            ["train", "dcgan", "--size", "big"],
            "expected one of 'small', 'paper'; found big",
        ),
        (["train", "dcgan", "--resolution", 48], "dcgan works at 16, 32"),
        (
            ["train", "dcgan", "--resolution", "x"],
            "--resolution: expected one of int, null; found x",
        ),
        (
            ["train", "dcgan", "--data_dir_b", "docs"],
            "is trained on 1 set of images; 2 given",
        ),
        (["train", "dcgan", "--cuda", 99], "--cuda 99: this machine has"),
        (
            ["train", "dcgan", "--precision", "16-mixed"],
            "precision is 16-mixed; choose from 32-true, bf16-mixed",
        ),
        (["train", "dcgan", "--data_dir", "nowhere"], "nowhere: no such file or folder"),
        (["train", "dcgan", "--init", "no.safetensors"], "no generator at no.safetensors"),
        (
            ["train", "dcgan", "--freeze_steps", 5],
            "--freeze_steps is for a training that continues another",
        ),
        (
            ["alter", "--generator", "no.safetensors", "--quantise", 8],
            "no generator at no.safetensors",
        ),
        (
            ["alter", "--generator", "no", "--noise", "0.1,x"],
            "--noise: invalid float,... value: '0.1,x'",
        ),
        (["alter", "--generator", "no"], "no alteration; give --noise, --quantise or --prune"),
        (["generate", "--generator", "no.safetensors"], "no generator at no.safetensors"),
        (["generate", "--generator", "LICENSE", "--cuda", 99], "--cuda 99: this machine has"),
        (["generate", "--generator", "no", "--count", 0], "--count is 0; it must be 1 or more"),
    ],
)
def test_bad_input_is_one_line(
    words: list[object], message: str, call: Call, photo_folder: Path, tmp_path: Path
) -> None:
    if len(words) > 1:
        words = [*words, "--output_dir", tmp_path / "out"]
        if words[0] == "train" and "--data_dir" not in words:
            words += ["--data_dir", photo_folder]
        elif words[0] == "generate" and "--count" not in words:
            words += ["--count", 3]
    code, said, errors = call("gan", *words)
    assert code == 2 and said == [] and len(errors) == 1
    assert errors[0].startswith("artfp gan") and message in errors[0]
    assert not (tmp_path / "out").exists()
