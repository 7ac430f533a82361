"""What a user gets wrong: one line on stderr, exit code 2, and nothing left behind."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from artfp.cli.main import main
from artfp.watermark import build_pair, save_network

Refused = Callable[..., str]


@pytest.fixture
def refused(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, weights: Path, photo_folder: Path
) -> Refused:
    """Runs embed or detect with defaults that would work; the one line that it ends with."""

    def call(command: str, **options: object) -> str:
        network = "encoder" if command == "embed" else "decoder"
        whole: dict[str, object] = {
            f"{network}_path": weights / f"{network}.safetensors",
            "data_dir": photo_folder,
            "output_dir": tmp_path / "out",
            **options,
        }
        words = []
        for name, value in whole.items():
            if value is not None:
                words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        assert main(words, command=command) == 2
        captured = capfd.readouterr()
        lines = captured.err.splitlines()
        assert len(lines) == 1 and captured.out == "", captured
        assert lines[0].startswith(f"artfp {command}: error: ") or "_fingerprints.py: " in lines[0]
        assert not (tmp_path / "out").exists()
        return lines[0]

    return call


@pytest.mark.parametrize("command", ["embed", "detect"])
class TestBoth:
    def test_nothing_at_data_dir(self, command: str, refused: Refused) -> None:
        assert "/nowhere" in refused(command, data_dir="/nowhere")

    def test_no_data_dir(self, command: str, refused: Refused) -> None:
        assert "--data_dir" in refused(command, data_dir=None)

    def test_folder_without_images(self, command: str, refused: Refused, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "in/readme.md").touch()
        assert "no image" in refused(command, data_dir=tmp_path / "in")

    def test_text_as_zip(self, command: str, refused: Refused, tmp_path: Path) -> None:
        (tmp_path / "x.zip").write_text("text")
        assert "x.zip" in refused(command, data_dir=tmp_path / "x.zip")

    def test_wrong_length_does_not_echo_the_word(self, command: str, refused: Refused) -> None:
        line = refused(command, fingerprint="0110110101")
        assert "16" in line and "0110110101" not in line

    def test_fingerprint_and_key(self, command: str, refused: Refused) -> None:
        assert "--key" in refused(command, fingerprint="abcd", key="k.json")

    def test_missing_key_file(self, command: str, refused: Refused, tmp_path: Path) -> None:
        assert "k.json" in refused(command, key=tmp_path / "k.json")

    def test_size_against_the_weights(self, command: str, refused: Refused) -> None:
        assert "16 bits" in refused(command, fingerprint_size=100)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "text",
            "[]",
            '{"artfp": "key", "version": 9, "secret": "%s"}' % ("0a" * 32),
            '{"artfp": "key", "version": 1, "secret": "5eC4e7"}',
        ],
    )
    def test_malformed_key_file(
        self, command: str, refused: Refused, tmp_path: Path, text: str
    ) -> None:
        (tmp_path / "k.json").write_text(text)
        (tmp_path / "k.json").chmod(0o600)
        line = refused(command, key=tmp_path / "k.json")
        assert "k.json" in line and "5eC4e7" not in line and "0a0a" not in line

    def test_a_folder_as_key_file(self, command: str, refused: Refused, tmp_path: Path) -> None:
        assert str(tmp_path) in refused(command, key=tmp_path)

    def test_workers(self, command: str, refused: Refused) -> None:
        assert "workers is -1" in refused(command, num_workers=-1)

    @pytest.mark.parametrize(
        "options",
        [
            {"accelerator": "nonsense"},
            {"accelerator": "tpu"},
            {"strategy": "nonsense"},
            {"precision": "7-bit"},
            {"precision": "transformer-engine"},
            {"accelerator": "cpu", "devices": "0"},
            {"accelerator": "cpu", "devices": "1,2"},
        ],
    )
    def test_what_lightning_refuses(
        self, command: str, refused: Refused, options: dict[str, object]
    ) -> None:
        assert "Lightning" in refused(command, **options)

    def test_absent_gpu(self, command: str, refused: Refused) -> None:
        assert "--cuda 99" in refused(command, cuda=99)

    def test_devices(self, command: str, refused: Refused) -> None:
        assert "devices" in refused(command, accelerator="cpu", devices="many")

    def test_batch_size(self, command: str, refused: Refused) -> None:
        line = refused(command, batch_size=0)
        assert "batch_size is 0" in line or "batch size is 0" in line

    def test_no_number(self, command: str, refused: Refused) -> None:
        assert "--batch_size" in refused(command, batch_size="few")

    def test_unknown_option(self, command: str, refused: Refused) -> None:
        assert "--data_dirs" in refused(command, data_dirs="x")

    def test_broken_config(self, command: str, refused: Refused, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_text("a: [")
        assert "c.yaml" in refused(command, config=tmp_path / "c.yaml")

    def test_output_is_a_file(self, command: str, refused: Refused, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for output in (tmp_path / "file", tmp_path / "file/out"):
            line = refused(command, output_dir=output, fingerprint="abcd")
            assert str(output) in line
        assert (tmp_path / "file").read_bytes() == b""

    def test_output_that_cannot_be_made(self, command: str, refused: Refused) -> None:
        assert "/dev/null/out" in refused(command, output_dir="/dev/null/out")


@pytest.mark.parametrize("command,network", [("embed", "encoder"), ("detect", "decoder")])
class TestWeights:
    def test_missing(self, command: str, network: str, refused: Refused) -> None:
        line = refused(command, **{f"{network}_path": "/none.safetensors"})
        assert f"no {network} at /none.safetensors" in line

    def test_the_other_network(
        self, command: str, network: str, refused: Refused, weights: Path
    ) -> None:
        other = {"encoder": "decoder", "decoder": "encoder"}[network]
        line = refused(command, **{f"{network}_path": weights / f"{other}.safetensors"})
        assert f"not the {network}" in line

    def test_code_in_a_checkpoint_never_runs(
        self, command: str, network: str, refused: Refused, tmp_path: Path
    ) -> None:
        class Attack:
            def __reduce__(self) -> tuple[Any, ...]:
                return os.mkdir, (str(tmp_path / "harm"),)

        torch.save({"x": Attack()}, tmp_path / "new.pth")
        (tmp_path / "old.pth").write_bytes(pickle.dumps(Attack(), protocol=2))
        for name in ("new.pth", "old.pth"):
            assert "refused" in refused(command, **{f"{network}_path": tmp_path / name})
        assert not (tmp_path / "harm").exists()

    def test_text(self, command: str, network: str, refused: Refused, tmp_path: Path) -> None:
        (tmp_path / "x.pth").write_text("not weights")
        line = refused(command, **{f"{network}_path": tmp_path / "x.pth"})
        assert "not a readable checkpoint" in line


@pytest.mark.parametrize(
    "options,said",
    [
        ({"strength": 0}, "strength is 0"),
        ({"format": "gif"}, "found gif"),
        ({"key": "k", "identical_fingerprints": True}, "k"),
        ({"fingerprint": "abcd", "identical_fingerprints": True}, "leave out"),
        ({"strength": "nan"}, "--strength"),
        ({"key": None, "identical_fingerprints": True, "num_workers": -1}, "workers is -1"),
        ({"identical_fingerprints": True, "strength": 11}, "strength is 11"),
        ({"seed": "x"}, "--seed"),
        ({"check": True, "decoder_path": "/none.safetensors"}, "no decoder at /none.safetensors"),
        ({"image_resolution": 0}, "--image_resolution is 0"),
    ],
)
def test_embed_only(refused: Refused, options: dict[str, object], said: str) -> None:
    assert said in refused("embed", **options)


def test_output_among_the_images(refused: Refused, tmp_path: Path, photo_folder: Path) -> None:
    shutil.copytree(photo_folder, tmp_path / "in")
    before = sorted(tmp_path.rglob("*"))
    for output in ("in", "in/results"):
        options = {"data_dir": tmp_path / "in", "output_dir": tmp_path / output}
        assert "outside" in refused("embed", **options, identical_fingerprints=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_labels_that_are_none(refused: Refused, tmp_path: Path, photo_folder: Path) -> None:
    shutil.copytree(photo_folder, tmp_path / "in")
    (tmp_path / "in/dataset.json").write_text('{"labels": [1, 2]}')
    assert "label" in refused("embed", data_dir=tmp_path / "in")


def test_a_decoder_of_other_length(refused: Refused, tmp_path: Path) -> None:
    save_network(build_pair("residual", 24, 32)[1], tmp_path / "other.safetensors")
    line = refused("embed", check=True, decoder_path=tmp_path / "other.safetensors")
    assert "16 bits" in line and "24" in line


def test_a_fingerprint_in_yaml_without_quotes(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("fingerprint: 1100001101011010\n")
    assert "--fingerprint" in refused("embed", config=tmp_path / "c.yaml")
