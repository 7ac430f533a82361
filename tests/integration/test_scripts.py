"""The root scripts as processes: quiet, quick to refuse, the same on any number of processes."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Script = Callable[..., subprocess.CompletedProcess[str]]
Words = Callable[..., list[object]]
Call = Callable[..., tuple[int, list[str], list[str]]]
Files = Callable[[Path], dict[str, bytes]]


def _without_next_step(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if not line.startswith("next: ")]


TWO = ("--accelerator", "cpu", "--devices", 2, "--strategy", "ddp")


def test_embed_then_detect_says_no_more_than_it_should(
    script: Script, embed_words: Words, detect_words: Words, tmp_path: Path, weights: Path
) -> None:
    output = tmp_path / "out"
    done = script(
        "embed_fingerprints.py", *embed_words("out", "--identical_fingerprints", "--check")
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        f"the key is in {output}/fingerprint.key.json; keep it secret and keep it safe",
        f"next: train your generator on {output}/fingerprinted_images, then artfp detect "
        f"--data_dir GENERATED --output_dir DETECTED --decoder_path {weights}/decoder.safetensors "
        f"--key {output}/fingerprint.key.json",
    ]
    first, second, third = done.stdout.splitlines()
    assert first == f"120 images fingerprinted, in {output}"
    assert re.match(r"read back from the files: bit accuracy (0\.9|1\.0)", second)  # a fresh key
    assert third.startswith("visibility: S-CIELAB p95 ")
    found = script(
        "detect_fingerprints.py",
        *detect_words("found", data=output / "fingerprinted_images"),
        *("--key", output / "fingerprint.key.json"),
    )
    assert found.returncode == 0 and found.stderr.startswith("next: ")
    assert found.stdout.splitlines()[0] == f"120 images decoded, in {tmp_path}/found"
    assert "16 of 16" in found.stdout


def test_one_process_or_two_and_any_number_of_workers(
    script: Script,
    call: Call,
    embed_words: Words,
    detect_words: Words,
    tmp_path: Path,
    files: Files,
) -> None:
    """The fresh key is drawn once, whatever the number of processes."""
    size = ("--batch_size", 16)
    done = script(
        "embed_fingerprints.py", *embed_words("two", "--identical_fingerprints", *size, *TWO)
    )
    key = tmp_path / "two/fingerprint.key.json"
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"120 images fingerprinted, in {tmp_path}/two"]
    said, _next_step = done.stderr.splitlines()
    assert said == f"the key is in {key}; keep it secret and keep it safe"
    whole = files(tmp_path / "two")
    assert len(whole) == 122
    for workers in (0, 2):
        words = embed_words(f"one{workers}", "--key", key, *size, "--num_workers", workers)
        assert call("embed", *words)[0] == 0
        assert files(tmp_path / f"one{workers}") == whole

    marked = tmp_path / "two/fingerprinted_images"
    done = script(
        "detect_fingerprints.py", *detect_words("d2", "--key", key, *size, *TWO, data=marked)
    )
    assert done.returncode == 0 and done.stderr.startswith("next: "), done.stderr
    for workers in (0, 2):
        words = detect_words(
            f"d{workers}w", "--key", key, *size, "--num_workers", workers, data=marked
        )
        code, lines, _ = call("detect", *words)
        assert code == 0 and lines[1:] == done.stdout.splitlines()[1:]
        assert files(tmp_path / f"d{workers}w") == files(tmp_path / "d2")


@pytest.mark.parametrize("name", ["embed", "detect"])
@pytest.mark.parametrize(
    "arguments", [["--help"], ["--batch_size"], ["--data_dir", "/nowhere", "--output_dir", "/x"]]
)
def test_no_torch_is_needed_to_refuse(name: str, arguments: list[str]) -> None:
    """What stands in the way of an answer within a second is the import of torch."""
    code = f"""
import sys
from artfp.cli.main import main
main({arguments!r}, command={name!r})
sys.exit(bool({{'torch', 'pytorch_lightning', 'scipy'}} & set(sys.modules)))
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("name", ["train.py", "embed_fingerprints.py", "detect_fingerprints.py"])
def test_help_is_quick_and_teaches(script: Script, name: str) -> None:
    start = time.monotonic()
    done = script(name, "--help")
    assert done.returncode == 0 and "examples:" in done.stdout and "exit codes:" in done.stdout
    assert time.monotonic() - start < 20


@pytest.mark.slow
@pytest.mark.parametrize("name", ["embed", "detect"])
def test_memory_does_not_grow_with_the_data_set(
    name: str, embed_words: Words, detect_words: Words, photo_folder: Path, many_photos: Path
) -> None:
    """12 times the images, 10 MiB in pixels: less than 6 MiB more."""
    words = embed_words if name == "embed" else detect_words
    code = """
import resource, sys
from artfp.cli.main import main
assert main(sys.argv[2:], command=sys.argv[1]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    peaks = []
    for folder in (photo_folder, many_photos):
        arguments = words(folder.name, "--fingerprint", "c35a", "--num_workers", 0, data=folder)
        done = subprocess.run(
            [sys.executable, "-c", code, name, *map(str, arguments)],
            check=True,
            capture_output=True,
            text=True,
        )
        peaks.append(int(done.stdout.splitlines()[-1]) / 1024)
    assert peaks[1] < peaks[0] + 6, peaks
