"""Runs that are killed or interrupted go on where they stopped, to the same result."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., list[str]]
Words = Callable[..., list[object]]
Call = Callable[..., tuple[int, list[str], list[str]]]
Files = Callable[[Path], dict[str, bytes]]

FINGERPRINT = ("--fingerprint", "c35a", "--batch_size", 4)


def _stop(
    words: list[str], reached: Callable[[], bool], number: int, wait: float
) -> tuple[int, str]:
    """Start a process, signal its group once it has got so far; its exit code and stderr."""
    process = subprocess.Popen(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # A shell has what it starts in the background ignore Ctrl-C, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and not reached():
        time.sleep(0.001)
    time.sleep(wait)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=120)
    return process.returncode, said


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_embed_killed_at_random_moments(
    command: Command,
    call: Call,
    embed_words: Words,
    many_photos: Path,
    tmp_path: Path,
    files: Files,
) -> None:
    words = embed_words("killed", *FINGERPRINT, "--num_workers", 1, "--archive", data=many_photos)
    images, journal = tmp_path / "killed/fingerprinted_images", tmp_path / "killed/.embed.0.jsonl"
    before: dict[Path, int] = {}
    chance, target = random.Random(1), 1
    for _ in range(3):
        code, _ = _stop(
            command("embed_fingerprints.py", *words),
            lambda: _lines(journal) >= target,  # noqa: B023
            signal.SIGKILL,
            chance.random() * 0.2,
        )
        assert code == -signal.SIGKILL
        now = {path: path.stat().st_mtime_ns for path in images.glob("*.png")}
        assert len(before) < len(now) < 1500
        assert all(now[path] == then for path, then in before.items())
        before, target = now, _lines(journal) + chance.randrange(1, 200)
    code, said, _ = call("embed", *words)
    assert code == 0 and "of them before" in said[0]
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    whole = embed_words("whole", *FINGERPRINT, "--num_workers", 0, "--archive", data=many_photos)
    assert call("embed", *whole)[0] == 0
    assert files(tmp_path / "killed") == files(tmp_path / "whole")  # nor a temporary file


def test_detect_killed_at_random_moments(
    command: Command,
    call: Call,
    detect_words: Words,
    many_photos: Path,
    tmp_path: Path,
    files: Files,
) -> None:
    words = detect_words("killed", *FINGERPRINT, "--num_workers", 1, data=many_photos)
    journal, chance, target = tmp_path / "killed/.detect.0.jsonl", random.Random(2), 1
    for _ in range(2):
        code, _ = _stop(
            command("detect_fingerprints.py", *words),
            lambda: _lines(journal) >= target,  # noqa: B023
            signal.SIGKILL,
            chance.random() * 0.1,
        )
        assert code == -signal.SIGKILL
        assert target <= _lines(journal) < 1500
        target = _lines(journal) + chance.randrange(1, 200)
    again = call("detect", *words)
    whole = detect_words("whole", *FINGERPRINT, "--num_workers", 0, data=many_photos)
    first = call("detect", *whole)
    assert again[0] == first[0] == 0 and again[1][1:] == first[1][1:]
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == [
        "artfp.log",
        "detected_fingerprints.csv",
        "detected_fingerprints.txt",
    ]


@pytest.mark.parametrize(
    "how",
    [
        ("--num_workers", 1),
        pytest.param(
            ("--accelerator", "cpu", "--devices", 2, "--strategy", "ddp", "--num_workers", 0),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_an_interrupt_is_one_line(
    command: Command,
    call: Call,
    embed_words: Words,
    many_photos: Path,
    tmp_path: Path,
    how: tuple[object, ...],
) -> None:
    """As Ctrl-C in a terminal does it: all processes of the group get the signal."""
    words = embed_words("out", *FINGERPRINT, data=many_photos)
    images = tmp_path / "out/fingerprinted_images"
    code, said = _stop(
        command("embed_fingerprints.py", *words, *how),
        lambda: images.exists() and any(images.iterdir()),
        signal.SIGINT,
        0.0,
    )
    assert (code, said.splitlines()) == (130, ["embed_fingerprints.py: interrupted"])
    done = len(list(images.glob("*.png")))
    assert 0 < done < 1500
    assert call("embed", *words)[1] == [
        f"1500 images fingerprinted ({done} of them before), in {tmp_path}/out"
    ]


@pytest.mark.parametrize(
    ("number", "code", "last", "how"),
    [
        (signal.SIGTERM, 143, "train.py: terminated", ("--num_workers", 0)),
        (signal.SIGINT, 130, "train.py: interrupted", ("--num_workers", 2)),
        pytest.param(
            *(signal.SIGINT, 130, "train.py: interrupted"),
            ("--accelerator", "cpu", "--devices", 2, "--strategy", "ddp", "--num_workers", 1),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_stopped_training_leaves_a_checkpoint_and_says_so(
    command: Command,
    many_photos: Path,
    tmp_path: Path,
    number: signal.Signals,
    code: int,
    last: str,
    how: tuple[object, ...],
) -> None:
    """As a terminal does it: all processes of the group get the signal."""
    words = ["--data_dir", many_photos, "--output_dir", tmp_path / "run", "--batch_size", 4]
    words += ["--image_resolution", 32, "--fingerprint_size", 16, "--max_steps", 5000, *how]
    found, said = _stop(
        command("train.py", *words),
        lambda: any((tmp_path / "run").glob("tensorboard/*/events*")),
        number,
        1.0,
    )
    assert found == code and said.splitlines()[-1] == last, said
    assert "stopped at step" in said and "Traceback" not in said
    assert (tmp_path / "run/checkpoints/last.ckpt").is_file()


@pytest.mark.parametrize("name", ["embed", "detect"])
@pytest.mark.parametrize("group", [False, True])
def test_sigterm_ends_soon_with_one_line_and_whole_journals(
    command: Command,
    embed_words: Words,
    detect_words: Words,
    many_photos: Path,
    tmp_path: Path,
    name: str,
    group: bool,
) -> None:
    words = {"embed": embed_words, "detect": detect_words}[name]
    journal = tmp_path / f"out/.{name}.0.jsonl"
    process = subprocess.Popen(
        command(
            f"{name}_fingerprints.py",
            *words("out", *FINGERPRINT, "--num_workers", 2, data=many_photos),
        ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    while process.poll() is None and _lines(journal) < 20:
        time.sleep(0.001)
    (os.killpg if group else os.kill)(process.pid, signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 143
    assert said.splitlines()[-1] == f"{name}_fingerprints.py: terminated", said
    assert journal.read_bytes().endswith(b"\n") and 20 <= _lines(journal) < 1500
    with pytest.raises(ProcessLookupError):  # nobody of its session is left
        os.killpg(process.pid, 0)
