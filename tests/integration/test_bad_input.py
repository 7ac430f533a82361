"""What a user gets wrong: one line on stderr, exit code 2, and nothing left behind."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from artfp.cli.main import main

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

    def test_absent_gpu(self, command: str, refused: Refused) -> None:
        assert "--cuda 99" in refused(command, cuda=99)

    def test_devices(self, command: str, refused: Refused) -> None:
        assert "devices" in refused(command, accelerator="cpu", devices="many")

    def test_batch_size(self, command: str, refused: Refused) -> None:
        assert "batch size is 0" in refused(command, batch_size=0)

    def test_no_number(self, command: str, refused: Refused) -> None:
        assert "--batch_size" in refused(command, batch_size="few")

    def test_unknown_option(self, command: str, refused: Refused) -> None:
        assert "--data_dirs" in refused(command, data_dirs="x")

    def test_broken_config(self, command: str, refused: Refused, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_text("a: [")
        assert "c.yaml" in refused(command, config=tmp_path / "c.yaml")

    def test_output_is_a_file(self, command: str, refused: Refused, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        line = refused(command, output_dir=tmp_path / "file", fingerprint="abcd")
        assert str(tmp_path / "file") in line


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
            def __reduce__(self) -> object:
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
        ({"format": "gif"}, "'gif'"),
        ({"key": "k", "identical_fingerprints": True}, "k"),
        ({"fingerprint": "abcd", "identical_fingerprints": True}, "leave out"),
        ({"image_resolution": 0}, "image resolution is 0"),
    ],
)
def test_embed_only(refused: Refused, options: dict[str, object], said: str) -> None:
    assert said in refused("embed", **options)
