"""The search: against brute force, with ties, many lengths, and the memory that it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artfp.core.errors import UserError
from artfp.ownership.key import Key, hamming_distance
from artfp.ownership.registry import Registry, RegistryEntry, store
from artfp.ownership.registry import nearest as matching
from artfp.stats import bonferroni, log_p_value

LENGTHS = (8, 63, 64, 65, 100, 128, 192, 255, 256)


def brute_force(words: Any, stored: Any, top: Any) -> Any:
    """Numbers of the nearest entries, and their matches, one word at a time."""
    matches = words.shape[1] - hamming_distance(words[:, None], stored[None])
    order = np.argsort(-matches, axis=1, kind="stable")[:, :top]
    return order, np.take_along_axis(matches, order, axis=1)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A registry of 300 fingerprints of each length, mixed; and these."""
    rng = np.random.default_rng(3)
    stored = {bits: rng.integers(0, 2, (300, bits)).astype(np.uint8) for bits in LENGTHS}
    path = tmp_path_factory.mktemp("search") / "r"
    with Registry(path, create=True) as registry:
        registry.add_all(
            RegistryEntry.of(stored[bits][i], f"{bits}", f"{i}")
            for i in range(300)
            for bits in LENGTHS
        )
    return path, stored


COUNTERS: list[type[Any]] = [matching.MultiplyingSigns]
if hasattr(np, "bitwise_count"):
    COUNTERS.append(matching.CountingOnes)


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("bits", LENGTHS)
@pytest.mark.parametrize("top", [1, 3, 1000])
def test_search_is_brute_force(
    filled: Any, monkeypatch: pytest.MonkeyPatch, bits: Any, top: int, counter: Any
) -> None:
    monkeypatch.setattr(matching, "counter", counter)
    monkeypatch.setattr(store, "_CHUNK", 257)  # several, and not all full
    path, stored = filled
    rng = np.random.default_rng(bits)
    words = rng.integers(0, 2, (37, bits)).astype(np.uint8)
    words[:5] = stored[bits][[0, 299, 7, 7, 150]]
    words[5] = 1 - stored[bits][42]
    with Registry(path) as registry:
        found = registry.search(words, top=top)
    order, matches = brute_force(words, stored[bits], top)
    assert found.bits == bits and found.compared == 300
    np.testing.assert_array_equal(found.matches, matches)
    assert [[int(each.subject) for each in row] for row in found.entries] == order.tolist()
    assert {each.owner for row in found.entries for each in row} == {f"{bits}"}
    if bits > 64:
        assert found.matches[:5, 0].tolist() == [bits] * 5


def test_equal_ones_come_by_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_CHUNK", 4)
    word = np.ones(256, np.uint8)
    with Registry(tmp_path / "r", create=True) as registry:
        registry.add_all(RegistryEntry.of(word, "Ada", f"{i}") for i in range(10))
        for decoded, matches in ((word, 256), (1 - word, 0)):
            found = registry.search(decoded[None], top=6)
            assert [each.subject for each in found.entries[0]] == list("012345")
            assert found.matches.tolist() == [[matches] * 6]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, float])
def test_words_of_any_type(filled: Any, dtype: Any) -> None:
    path, stored = filled
    with Registry(path) as registry:
        found = registry.search(stored[64][:2].astype(dtype))
    assert found.matches.tolist() == [[64], [64]] and found.matches.dtype == np.int64


def test_nothing_to_compare_with(tmp_path: Path, filled: Any) -> None:
    with Registry(tmp_path / "r", create=True) as registry:
        found = registry.search(np.zeros((3, 64), np.uint8), top=2)
        assert found.compared == 0 and found.matches.shape == (3, 0)
        assert found.entries == [[], [], []]
    with Registry(filled[0]) as registry:
        assert registry.search(np.zeros((3, 62), np.uint8)).compared == 0
        none = registry.search(np.zeros((0, 64), np.uint8))
        assert none.compared == 300 and none.entries == [] and len(none.matches) == 0


@pytest.mark.parametrize(
    ("words", "top", "error"),
    [
        (np.zeros(64), 1, "found shape"),
        (np.zeros((1, 1, 64)), 1, "found shape"),
        (np.full((1, 64), 2), 1, "of 0 and 1"),
        (np.full((1, 64), -0.5), 1, "of 0 and 1"),
        (np.zeros((1, 64)), 0, "top: found 0"),
        (np.zeros((1, 0)), 1, "found 0 bits"),
        (np.zeros((1, 513)), 1, "found 513 bits"),
    ],
)
def test_bad_questions(filled: Any, words: Any, top: int, error: str) -> None:
    with Registry(filled[0]) as registry, pytest.raises((ValueError, UserError), match=error):
        registry.search(words, top=top)


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("bits", LENGTHS)
def test_distances_are_exact(bits: Any, counter: Any) -> None:
    rng = np.random.default_rng(4)
    words, stored = rng.integers(0, 2, (2, 300, bits)).astype(np.uint8)
    words[0], stored[0] = 0, 1
    counting = counter(matching.pack_lanes(np.packbits(words, axis=1).tobytes(), bits))
    counting.load(matching.pack_lanes(np.packbits(stored, axis=1).tobytes(), bits))
    found = counting.distances(slice(0, 290))
    np.testing.assert_array_equal(found, hamming_distance(words[:290, None], stored[None]))
    assert found[0, 0] == bits


def test_a_p_value_of_many_comparisons(filled: Any) -> None:
    """The owner is found among all, and the price of having looked at all is paid."""
    path, stored = filled
    decoded = stored[100][17].copy()
    decoded[:10] ^= 1
    with Registry(path) as registry:
        found = registry.search(decoded[None])
    (best,) = found.entries[0]
    assert best.subject == "17" and found.matches[0, 0] == 90
    single = log_p_value(found.matches, found.bits)
    corrected = bonferroni(single, fingerprints=found.compared)
    np.testing.assert_allclose(corrected, single + np.log(300))


def test_words_of_keys_are_found(tmp_path: Path) -> None:
    key = Key.draw()
    with Registry(tmp_path / "r", create=True) as registry:
        for subject in ("cats", "dogs"):
            registry.add(
                RegistryEntry.of(key.fingerprint(128, owner="A", subject=subject), "A", subject)
            )
        found = registry.search(key.fingerprint(128, owner="A", subject="dogs")[None])
    assert found.entries[0][0].subject == "dogs" and found.matches[0, 0] == 128


@pytest.mark.slow
def test_a_million_entries(tmp_path: Path) -> None:
    """1,000 words in 10 seconds, in less than 1 GB, as the benchmark measures it."""
    root = Path(__file__).parents[2]
    output = tmp_path / "figures.json"
    command = [sys.executable, "benchmarks/registry.py", "--output", str(output)]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    subprocess.run(command, cwd=root, env=environment, check=True, timeout=600)
    (figures,) = json.loads(output.read_text())["searches"]
    assert figures["entries"] == 1_000_000 and figures["words"] == 1_000
    assert figures["planted_found"] == figures["planted"]
    assert figures["seconds"] < 10 and figures["peak_mb"] < 1_000
