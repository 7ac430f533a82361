"""The root scripts as processes: quiet, interruptible, the same on any number of processes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _command(script: str, *words: object) -> list[str]:
    return [sys.executable, str(ROOT / script), *map(str, words)]


def _run(script: str, *words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = _command(script, *words)
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def _embed(weights: Path, data: Path, output: Path) -> list[object]:
    network = weights / "encoder.safetensors"
    return ["--encoder_path", network, "--data_dir", data, "--output_dir", output, "--cuda", -1]


def _files(folder: Path) -> dict[str, bytes]:
    """What a run leaves for its user, without the settings that name the run."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in paths
        if not path.name.endswith((".run.json", ".key.json"))
    }


def test_embed_then_detect_says_no_more_than_it_should(
    weights: Path, photo_folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    done = _run(
        "embed_fingerprints.py",
        *_embed(weights, photo_folder, output),
        "--identical_fingerprints",
        "--check",
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        f"the key is in {output}/fingerprint.key.json; keep it secret and keep it safe"
    ]
    first, second = done.stdout.splitlines()
    assert first == f"120 images fingerprinted, in {output}"
    assert second.startswith("read back from the files: bit accuracy 0.9")
    found = _run(
        "detect_fingerprints.py",
        *("--decoder_path", weights / "decoder.safetensors"),
        *("--data_dir", output / "fingerprinted_images", "--output_dir", tmp_path / "found"),
        *("--key", output / "fingerprint.key.json"),
    )
    assert found.returncode == 0 and found.stderr == ""
    assert "120 images decoded" in found.stdout and "16 of 16" in found.stdout


def test_killed_at_random_moments_the_result_is_the_same(
    weights: Path, photo_folder: Path, tmp_path: Path
) -> None:
    words = ("--fingerprint", "c35a", "--batch_size", 4, "--num_workers", 1)
    assert (
        _run(
            "embed_fingerprints.py", *_embed(weights, photo_folder, tmp_path / "whole"), *words
        ).returncode
        == 0
    )
    killed = tmp_path / "killed"
    command = _command("embed_fingerprints.py", *_embed(weights, photo_folder, killed), *words)
    images, chance, counts = killed / "fingerprinted_images", random.Random(1), []
    for target in (1, 40, 80):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and sum(1 for _ in images.glob("*.png")) < target:
            time.sleep(0.001)
        time.sleep(chance.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        counts.append(len(list(images.glob("*.png"))))
    assert 1 <= counts[0] < 120
    before = {path: path.stat().st_mtime_ns for path in images.glob("*.png")}
    done = _run("embed_fingerprints.py", *_embed(weights, photo_folder, killed), *words)
    assert done.returncode == 0 and "of them before" in done.stdout
    assert _files(killed) == _files(tmp_path / "whole")
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())


def test_interrupted_says_so_and_goes_on(weights: Path, photo_folder: Path, tmp_path: Path) -> None:
    words = (*_embed(weights, photo_folder, tmp_path / "out"), "--fingerprint", "c35a")
    words = (*words, "--batch_size", 2, "--num_workers", 1)
    process = subprocess.Popen(
        _command("embed_fingerprints.py", *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    images = tmp_path / "out/fingerprinted_images"
    while process.poll() is None and not any(images.glob("*.png")):
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.decode().splitlines()[-1] == "artfp embed: interrupted"
    assert "Traceback" not in said.decode()
    assert _run("embed_fingerprints.py", *words).returncode == 0
    assert len(list(images.glob("*.png"))) == 120


def test_one_process_or_two_and_any_number_of_workers(
    weights: Path, photo_folder: Path, tmp_path: Path
) -> None:
    key = tmp_path / "1/fingerprint.key.json"
    for name, how in (
        ("1", ("--identical_fingerprints", "--num_workers", 0)),
        ("2", ("--key", key, "--num_workers", 2)),
        ("3", ("--key", key, "--accelerator", "cpu", "--devices", 2, "--strategy", "ddp")),
    ):
        words = [
            w for w in _embed(weights, photo_folder, tmp_path / name) if w not in ("--cuda", -1)
        ]
        done = _run("embed_fingerprints.py", *words, *how, "--batch_size", 16)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("120 images fingerprinted") == 1
    assert _files(tmp_path / "1") == _files(tmp_path / "2") == _files(tmp_path / "3")
    for name, how in (
        ("d1", ("--num_workers", 0)),
        ("d2", ("--accelerator", "cpu", "--devices", 2, "--strategy", "ddp")),
    ):
        done = _run(
            "detect_fingerprints.py",
            *("--decoder_path", weights / "decoder.safetensors", "--key", key),
            *("--data_dir", tmp_path / "1/fingerprinted_images", "--output_dir", tmp_path / name),
            *(*how, "--batch_size", 16),
        )
        assert done.returncode == 0, done.stderr
    assert _files(tmp_path / "d1") == _files(tmp_path / "d2")


def test_a_fresh_key_is_drawn_once_for_two_processes(
    weights: Path, photo_folder: Path, tmp_path: Path
) -> None:
    words = [w for w in _embed(weights, photo_folder, tmp_path / "out") if w not in ("--cuda", -1)]
    done = _run(
        "embed_fingerprints.py",
        *(*words, "--identical_fingerprints", "--check"),
        *("--accelerator", "cpu", "--devices", 2, "--strategy", "ddp"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("keep it secret") == 1
    lines = (tmp_path / "out/embedded_fingerprints.txt").read_text().splitlines()
    assert len(lines) == 120 and len({line.split()[1] for line in lines}) == 1


@pytest.mark.parametrize("script", ["train.py", "embed_fingerprints.py", "detect_fingerprints.py"])
def test_help_is_quick_and_teaches(script: str) -> None:
    start = time.monotonic()
    done = _run(script, "--help")
    assert done.returncode == 0 and "examples:" in done.stdout and "exit codes:" in done.stdout
    code = f"import sys; sys.argv = [{script!r}, '--help']; import artfp.cli.main as m\n"
    code += "m.main(sys.argv[1:], command='embed'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert time.monotonic() - start < 20
