"""The benchmarks of false positives: what they decode, how they count, and that they run."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from artfp.core.errors import UserError
from artfp.stats import count_matches, log_p_value
from artfp.watermark import Watermark
from artfp.watermark.api import decode_batch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a module of the benchmarks, as a script there would."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return __import__


def named(photographs: list[np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """Pieces of three sizes in turn, whose names are not in the order of the pieces."""
    sizes = [(48, 48), (40, 60), (33, 32)]
    shapes = itertools.islice(itertools.cycle(sizes), 80)
    return [
        (f"s/{(7 * i) % 80:02}", photographs[0][i : i + h, i : i + w])
        for i, (h, w) in enumerate(shapes)
    ]


def test_logits_belong_to_their_names(
    benchmark: Callable[[str], ModuleType],
    pair: Watermark,
    weights: Path,
    photographs: list[np.ndarray],
    tmp_path: Path,
) -> None:
    decoded = benchmark("decoded")
    images = named(photographs)
    path = weights / "decoder.safetensors"
    found = decoded.decode(str(path), pair.decoder, images, ("none", "jpeg50"))
    plain = found["none"]
    assert plain.names == sorted(name for name, _ in images)
    for name, word in zip(plain.names, plain.words, strict=True):
        pixels = torch.from_numpy(dict(images)[name]).permute(2, 0, 1).unsqueeze(0).contiguous()
        assert decode_batch(pair.decoder, pixels)[0].tolist() == word.tolist()
    assert (found["jpeg50"].logits != plain.logits).any() and found["jpeg50"].flat is None
    for each in found.values():
        each.save(tmp_path / "new/x.npz")
        again = decoded.Decoded.load(tmp_path / "new/x.npz")
        assert (again.names, again.digest) == (each.names, plain.digest)
        assert (again.condition, again.weights) == (each.condition, "decoder.safetensors")
        np.testing.assert_array_equal(again.logits, each.logits)
        assert (again.flat is None) == (each.flat is None)


@pytest.mark.parametrize("content", [b"", b"no", b"\x93NUMPY\x01\x00", b"PK\x03\x04torn"])
def test_files_that_hold_no_logits(
    benchmark: Callable[[str], ModuleType], tmp_path: Path, content: bytes
) -> None:
    (path := tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(UserError, match="holds no logits"):
        benchmark("decoded").Decoded.load(path)
    with pytest.raises(UserError, match="cannot be read"):
        benchmark("decoded").Decoded.load(tmp_path / "none.npz")


@pytest.mark.parametrize("bits", [8, 64, 100])
def test_fresh_keys_match_as_random_words_do(
    benchmark: Callable[[str], ModuleType], bits: int
) -> None:
    parts = benchmark("evidence_parts")
    words = np.random.default_rng(0).integers(0, 2, (3, bits), dtype=np.uint8)
    pieces = list(parts.fresh_matches(words, 33_000, np.random.default_rng(1)))
    assert [len(piece) for piece in pieces] == [32_000, 1_000] * 3
    counts = np.bincount(np.concatenate(pieces), minlength=bits + 1)
    expected = stats.binom.pmf(np.arange(bits + 1), bits, 0.5) * counts.sum()
    usual = expected > 10
    assert stats.chisquare(counts[usual], expected[usual] / expected[usual].sum()
                           * counts[usual].sum()).pvalue > 1e-4  # fmt: skip
    shared = np.hstack(list(parts.shared_matches(words, 1200, np.random.default_rng(2))))
    rng = np.random.default_rng(2)
    keys = np.vstack([parts.draw(count, bits, rng) for count in (500, 500, 200)])
    np.testing.assert_array_equal(shared, count_matches(words, keys))


def test_groups_stay_in_one_folder(benchmark: Callable[[str], ModuleType]) -> None:
    decoded, parts = benchmark("decoded"), benchmark("evidence_parts")
    names = [f"z/a/{i}" for i in range(7)] + [f"z/b/{i}" for i in range(4)] + ["z/c/0"]
    subject = decoded.Decoded(names, np.zeros((12, 8), np.float32), "none", "", "")
    found = [group.tolist() for group in parts.groups(subject, 3)]
    assert found == [[0, 1, 2], [3, 4, 5], [7, 8, 9]]
    assert parts.groups(subject, 8) == []


def test_a_tally_says_what_contradicts_the_level(benchmark: Callable[[str], ModuleType]) -> None:
    tallies = benchmark("tallies")
    log_p = np.asarray(log_p_value(np.arange(65), 64))
    tails = stats.binom.sf(np.arange(-1, 64), 64, 0.5)
    for keys in (1, 10):
        expected = [1 - (1 - tails[tails * keys <= x].max()) ** keys for x in tallies.LEVELS]
        found = tallies.attained(np.minimum(log_p + math.log(keys), 0), keys)
        assert found == pytest.approx(expected)
    p = np.log(np.random.default_rng(0).random(100_000))
    fair, bad, half = tallies.Tally("a", "b"), tallies.Tally("c", "d"), tallies.Tally("e", "f")
    fair.add(p)
    bad.add(p - 0.2)
    half.add(p - 0.2)
    half.effects = (1000.0,) * 5
    rows = tallies.rows([fair, bad, half])
    assert [row["contradicted"] for row in rows[:5]] == [False] * 5
    assert [row["contradicted"] for row in rows[5:7]] == [True] * 2
    assert [row["contradicted"] for row in rows[10:]] == [False] * 5
    first = rows[0]
    assert first["false_positives"] == (p <= math.log(0.1)).sum()
    hits, tests = first["false_positives"], first["tests"]
    assert first["excess"] == pytest.approx(stats.binom.sf(hits - 1, tests, 0.1))
    assert first["interval"][0] < first["rate"] < first["interval"][1]


def test_the_whole_benchmark(weights: Path, photo_folder: Path, tmp_path: Path) -> None:
    """Once from images, and again from the logits that it kept: the same figures."""
    logits, decoder = tmp_path / "x.npz", weights / "decoder.safetensors"

    def run(*words: object) -> tuple[dict[str, Any], str]:
        more = ["--logits", logits, "--output", tmp_path / "r.json", *words]
        done = subprocess.run(
            [sys.executable, "benchmarks/evidence.py", "--effort", "0.0005", *map(str, more)],
            cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads((tmp_path / "r.json").read_text()), done.stdout

    first, _ = run("--data_dir", photo_folder, "--weights", decoder, "--images", 110)
    again, shown = run()
    for facts in (first, again):
        facts.pop("seconds")
        facts.pop("command")
    assert first == again
    assert (again["images"], again["bits"], again["contradicted"]) == (110, 16, 0)
    assert again["log10_p_at_the_extremes"]["256 bits"][0] == pytest.approx(-256 * math.log10(2))
    assert "CONTRADICTED" in shown and "WRONG ON PURPOSE" in shown
    whats = {row["what"] for row in again["rows"]}
    assert {"one image 50 times", "50 gray images", "any of 110 images, one key"} <= whats
