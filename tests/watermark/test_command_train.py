"""`train.py` as its users call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from artfp.cli.main import main
from artfp.watermark import load_decoder, load_encoder

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--fingerprint_size", "8", "--image_resolution", "32", "--batch_size", "4"]
TINY += ["--num_workers", "0", "--cuda", "-1"]


def command(*arguments: str, seconds: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Run the script in a process of its own, on one thread, without a GPU."""
    hidden = ("LOCAL_RANK", "RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        env=environment,
    )


@pytest.fixture
def trained(photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    output = tmp_path / "run"
    arguments = ["--data_dir", str(photo_folder), "--output_dir", str(output), *TINY]
    assert main([*arguments, "--max_steps", "3"], command="train") == 0
    return output


@pytest.mark.filterwarnings("ignore:.*GPU available but not used.*")
@pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty.*")
def test_files_config_and_resume(
    trained: Path, photo_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {p.name for p in trained.iterdir()}
    assert names == {
        "encoder.safetensors",
        "decoder.safetensors",
        "card.json",
        "config.yaml",
        "sample.png",
        "checkpoints",
        "tensorboard",
        "train.run.json",
        "artfp.log",
    }
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["fingerprint_size"] == 8 and config["max_steps"] == 3
    assert json.loads((trained / "card.json").read_text())["training"]["command"].startswith(
        "artfp train --data_dir "
    )

    # Once more: refused, and nothing is touched.
    arguments = ["--config", str(trained / "config.yaml"), "--max_steps", "5"]
    before = (trained / "config.yaml").read_text()
    capsys.readouterr()
    assert main(arguments, command="train") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "already holds a training; add --resume" in error
    assert (trained / "config.yaml").read_text() == before

    # The saved configuration is one to go on with.
    assert main([*arguments, "--resume"], command="train") == 0
    out = capsys.readouterr().out
    assert "bit accuracy" in out and "PSNR" in out and "encoder.safetensors" in out
    last = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 5
    assert yaml.safe_load((trained / "config.yaml").read_text())["max_steps"] == 5


@pytest.fixture
def folders(tmp_path: Path, photo_folder: Path) -> dict[str, str]:
    """Places by name, for the arguments of bad calls."""
    for name in ("empty", "one", "broken"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "one" / "a.png")
    for number in range(3):
        (tmp_path / "broken" / f"{number}.png").write_bytes(b"no image")
    (tmp_path / "file").write_text("text")
    (tmp_path / "bad.yaml").write_text("data_dir: [unclosed\n  x: {")
    (tmp_path / "unknown.yaml").write_text("no_such_option: 1\n")
    places = {name: str(tmp_path / name) for name in os.listdir(tmp_path)}
    return {**places, "photos": str(photo_folder), "out": str(tmp_path / "out")}


BAD = [
    ([], "missing --data_dir, --output_dir"),
    (["--data_dir", "{absent}"], "missing --output_dir"),
    (["--data_dir", "{out}/no", "--output_dir", "{out}"], "no such file or folder"),
    (["--data_dir", "{empty}", "--output_dir", "{out}"], "no image found"),
    (["--data_dir", "{one}", "--output_dir", "{out}"], "holds 1 image; training needs two"),
    (["--data_dir", "{broken}", "--output_dir", "{out}"], "could not be read"),
    (["--data_dir", "{photos}", "--output_dir", "{file}"], "file"),
    (["--fingerprint_size", "5"], "bits is 5; these networks take 8 to 256"),
    (["--fingerprint_size", "many"], "--fingerprint_size: "),
    (["--image_resolution", "100"], "resolution is 100; take a power of two"),
    (["--schedule", "other"], "--schedule: expected one of "),
    (["--architecture", "other"], "unknown architecture 'other'; known: residual, stegastamp"),
    (["--architecture", "stegastamp", "--schedule", "feedback"], "take --schedule published"),
    (["--batch_size", "0"], "--batch_size is 0; it must be 1 or more"),
    (["--max_steps", "0"], "--max_steps is 0; it must be 1 or more"),
    (["--lr", "-1"], "--lr is -1.0; it must be above 0"),
    (["--seed", "-1"], "--seed is -1; it must be 0 or more"),
    (["--config", "{bad.yaml}"], "bad.yaml"),
    (["--config", "{unknown.yaml}"], "no_such_option"),
    (["--config", "{out}/none.yaml"], "none.yaml"),
    (["--max_time", "soon"], "--max_time is soon; give days, hours, minutes"),
    (["--devices", "0", "--accelerator", "cpu"], "devices"),
    (["--precision", "7"], "precision"),
    (["--stepz", "7"], "unrecognized arguments: --stepz"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(a) or "-" for a, _ in BAD])
def test_bad_input_is_one_line_and_2(
    arguments: list[str],
    message: str,
    folders: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, path in folders.items():
        arguments = [argument.replace("{" + name + "}", path) for argument in arguments]
    if arguments and arguments[0] != "--data_dir":
        places = ["--data_dir", folders["photos"], "--output_dir", folders["out"]]
        arguments = [*places, "--num_workers", "0", *arguments]
    if "--accelerator" not in arguments and len(arguments) > 2:
        arguments = [*arguments, "--cuda", "-1"]
    assert main(arguments, command="train") == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = [line for line in printed.err.splitlines() if not line.startswith("left out ")]
    assert len(lines) == 1 and message in lines[0], printed.err
    assert not Path(folders["out"]).exists()
    assert Path(folders["file"]).read_text() == "text"


def test_the_script_refuses_in_one_line(folders: dict[str, str]) -> None:
    done = command("--data_dir", folders["empty"], "--output_dir", folders["out"])
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "no image found" in done.stderr


def test_two_processes(photo_folder: Path, tmp_path: Path) -> None:
    """DDP over two CPU processes: same weights on both, one result."""
    output = tmp_path / "run"
    # Each rank leaves a hash of its weights at the end of the training.
    (tmp_path / "sitecustomize.py").write_text(SPY)
    done = subprocess.run(
        [
            sys.executable, str(ROOT / "train.py"), "--data_dir", str(photo_folder),
            "--output_dir", str(output), "--fingerprint_size", "8", "--image_resolution", "32",
            "--batch_size", "4", "--num_workers", "0", "--max_steps", "6", "--accelerator", "cpu",
            "--devices", "2", "--strategy", "ddp",
        ],
        capture_output=True,
        text=True,
        timeout=180,
        env={
            **{k: v for k, v in os.environ.items() if not k.endswith("RANK")},
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
            "SPY_FOLDER": str(tmp_path),
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    hashes = [(tmp_path / f"rank{rank}").read_text() for rank in range(2)]
    assert hashes[0] == hashes[1]
    first, second = ((tmp_path / f"batches{rank}").read_text().split() for rank in range(2))
    assert len(first) == len(second) == 6 and not set(first) & set(second)
    assert done.stdout.count("wrote ") == 1
    assert "weights_only" not in done.stderr and "Warning" not in done.stderr
    encoder, card = load_encoder(output / "encoder.safetensors")
    assert encoder.bits == 8 and card["measured"]["images"] > 0
    load_decoder(output / "decoder.safetensors")
    assert (output / "card.json").is_file() and (output / "sample.png").is_file()
    events = list((output / "tensorboard" / output.name).glob("events.*"))
    assert len(events) == 1
    assert torch.load(output / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 6


SPY = '''
"""Notes what each process of a training saw and what it ended with."""
import hashlib, os, pathlib
import artfp.watermark.training.module as autoencoder

FOLDER = pathlib.Path(os.environ["SPY_FOLDER"])

class Spy(autoencoder.FingerprintAutoencoder):
    def training_step(self, batch, batch_idx):
        with open(FOLDER / f"batches{self.global_rank}", "a") as file:
            print(hashlib.sha256(batch.numpy().tobytes()).hexdigest(), file=file)
        return super().training_step(batch, batch_idx)

    def on_train_end(self):
        digest = hashlib.sha256()
        for name, value in self.state_dict().items():
            if not name.startswith("mixture."):  # each process has its own, the first one counts
                digest.update(name.encode() + value.numpy().tobytes())
        (FOLDER / f"rank{self.global_rank}").write_text(digest.hexdigest())

autoencoder.FingerprintAutoencoder = Spy
'''
