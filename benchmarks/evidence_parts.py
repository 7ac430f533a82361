"""What `evidence.py` measures: each part turns decoded images and random keys into tallies."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from decoded import Decoded
from false_alarms import design_effect, distance_counts, signs
from numpy.typing import NDArray
from scipy import stats
from tallies import LEVELS, Tally, attained

from artfp.ownership.registry.nearest import counter, pack_lanes
from artfp.stats import bonferroni, count_matches, evaluate_source, log_p_soft, log_p_value
from artfp.stats.binomial import log_p_inverted
from artfp.stats.multiple_testing import benjamini_yekutieli
from artfp.stats.pooling import majority_bits, mean_logits

FAMILY = 1_000
"""Keys that are sought at once, in the parts that correct for it."""

COUNTED, WEIGHED = "bits counted", "logits weighed"
GROUPS, COPIES = 200, 50
_CHUNK = 32 * FAMILY

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Logits = NDArray[np.float32]
Words = NDArray[np.uint8]


@dataclass(frozen=True)
class Subject:
    """What was decoded, and how much of it to do: `effort` 1 is the full size."""

    decoded: Decoded
    effort: float

    @property
    def logits(self) -> Logits:
        """Of the images, (N, bits)."""
        return self.decoded.logits

    @property
    def bits(self) -> int:
        """Length of the words."""
        return int(self.logits.shape[1])

    @property
    def by_matches(self) -> Floats:
        """The log p-value of each number of matches, (bits + 1,)."""
        return np.asarray(log_p_value(np.arange(self.bits + 1), self.bits))

    def share(self, tests: float, things: int) -> int:
        """How many of so many tests each of some things gets, at least 1."""
        return max(1, round(tests * self.effort / things))


Part = Callable[[Subject, np.random.Generator], list[Tally]]


def counting(subject: Subject, rng: np.random.Generator) -> list[Tally]:
    """One image, one key: matching bits, and those of inverted words."""
    words, bits, log_p = subject.decoded.words, subject.bits, subject.by_matches
    upper = Tally("one image, one key", COUNTED, attained(log_p))
    lower_log_p = np.asarray(log_p_inverted(np.arange(bits + 1), bits))
    lower = Tally("one image, one key, inverted", COUNTED, attained(lower_log_p))
    wrong = Tally("threshold one bit too low", COUNTED, wrong=True)
    histogram = np.zeros(bits + 1, np.int64)
    for matches in fresh_matches(words, subject.share(1e9, len(words)), rng):
        histogram += np.bincount(matches, minlength=bits + 1)
    upper.add_matches(histogram, log_p)
    lower.add_matches(histogram, lower_log_p)
    wrong.add_matches(histogram, np.append(log_p[1:], log_p[-1]))
    return [upper, lower, wrong]


def one_key_for_all(subject: Subject, rng: np.random.Generator) -> list[Tally]:
    """Counting, with the same keys for all images."""
    words, log_p = subject.decoded.words, subject.by_matches
    distances = distance_counts(words)
    passing = [int(np.count_nonzero(log_p <= limit)) for limit in np.log(LEVELS)]
    effects = [design_effect(distances, len(log_p) - count) for count in passing]
    found = Tally("one key for all images", COUNTED, attained(log_p), effects)
    for matches in shared_matches(words, subject.share(5e4, 1), rng):
        found.add_matches(np.bincount(matches.ravel(), minlength=subject.bits + 1), log_p)
    return [found]


def weighing(subject: Subject, rng: np.random.Generator) -> list[Tally]:
    """One image, one key, by logits; inverted; and the best of FAMILY keys."""
    found = Tally("one image, one key", WEIGHED)
    inverted = Tally("one image, one key, inverted", WEIGHED)
    best = Tally(f"one image, best of {FAMILY:,} keys", WEIGHED)
    count = subject.share(2e7, len(subject.logits))
    whole = count // FAMILY * FAMILY
    for logits in subject.logits:
        keys = draw(count, subject.bits, rng)
        log_p = np.asarray(log_p_soft(logits, keys))
        found.add(log_p)
        inverted.add(log_p_soft(-logits, keys[: max(1, count // 5)]))
        if whole:
            smallest = log_p[:whole].reshape(-1, FAMILY).min(axis=1)
            best.add(bonferroni(smallest, FAMILY))
    return [found, inverted, best] if whole else [found, inverted]


def families(subject: Subject, rng: np.random.Generator) -> list[Tally]:
    """Counting, the best of FAMILY keys, corrected for it and, wrongly, not."""
    words, bits, log_p = subject.decoded.words, subject.bits, subject.by_matches
    corrected = np.asarray(bonferroni(log_p, FAMILY))
    name = f"one image, best of {FAMILY:,} keys"
    found = Tally(name, COUNTED, attained(corrected, FAMILY))
    wrong = Tally(f"best of {FAMILY:,} keys, uncorrected", COUNTED, wrong=True)
    histogram = np.zeros(bits + 1, np.int64)
    count = FAMILY * subject.share(6e6, len(words))
    for matches in fresh_matches(words, count, rng):
        best = matches.reshape(-1, FAMILY).max(axis=1)
        histogram += np.bincount(best, minlength=bits + 1)
    found.add_matches(histogram, corrected)
    wrong.add_matches(histogram, log_p)
    return [found, wrong]


def sources(subject: Subject, rng: np.random.Generator) -> list[Tally]:
    """Many images of one source: alike, the same, and such as decode to one word."""
    logits, flat = subject.logits, subject.decoded.flat
    chosen = logits[np.linspace(0, len(logits) - 1, GROUPS).round().astype(int)]
    scenes: dict[str, Iterable[Logits]] = {
        f"{size} images of one folder": [logits[group] for group in groups(subject.decoded, size)]
        for size in (10, COPIES)
    }
    scenes |= {
        f"one image {COPIES} times": [np.tile(row, (COPIES, 1)) for row in chosen],
        f"{COPIES} images, one word": list(spoken_alike(chosen, logits, 1.0, rng)),
        f"{COPIES} images, nearly one word": list(spoken_alike(chosen, logits, 0.9, rng)),
    }
    if flat is not None:
        scenes[f"{len(flat)} gray images"] = [flat] * GROUPS
    found = []
    for name, scene in scenes.items():
        found += aggregates(name, list(scene), subject, rng)
    return found + multiplied(list(spoken_alike(chosen, logits, 1.0, rng)), subject, rng)


def aggregates(
    name: str, scene: list[Logits], subject: Subject, rng: np.random.Generator
) -> list[Tally]:
    """The three tests of `evaluate_source` on groups of images (n, bits), by its own functions."""
    bits = subject.bits
    vote = Tally(name, "majority counted", attained(subject.by_matches))
    mean = Tally(name, "mean logits weighed")
    inverted = Tally(f"{name}, inverted", "mean logits weighed")
    for logits in scene:
        keys = draw(subject.share(2e6, len(scene)), bits, rng)
        common, word = mean_logits(logits), majority_bits(logits > 0)
        vote.add(log_p_value(count_matches(word, keys), bits))
        mean.add(log_p_soft(common, keys, clip=None))
        inverted.add(log_p_soft(-common, keys, clip=None))
    return [vote, mean, inverted] if scene else []


def multiplied(scene: list[Logits], subject: Subject, rng: np.random.Generator) -> list[Tally]:
    """What must not be done: bits of all images pooled, p-values multiplied."""
    bits = subject.bits
    pooled = Tally("one word, bits pooled", COUNTED, wrong=True)
    fisher = Tally("one word, p-values multiplied", COUNTED, wrong=True)
    for logits in scene:
        keys = draw(subject.share(1e5, len(scene)), bits, rng)
        matches = count_matches((logits > 0).astype(np.uint8), keys)
        count = len(logits)
        pooled.add(log_p_value(matches.sum(axis=0), bits * count))
        logs = np.asarray(log_p_value(matches, bits)).sum(axis=0)
        fisher.add(stats.chi2.logsf(-2.0 * logs, 2 * count))
    return [pooled, fisher]


def prevalence(subject: Subject, rng: np.random.Generator) -> list[Tally]:
    """Any of all images with one key, by two corrections; any of a group of one folder."""
    words, log_p = subject.decoded.words, subject.by_matches
    name = f"any of {len(words):,} images, one key"
    whole, best = Tally(name, "Benjamini-Yekutieli"), Tally(name, "the best image, Bonferroni")
    for matches in shared_matches(words, subject.share(1e5, 1), rng):
        best.add(bonferroni(log_p[matches.max(axis=0)], len(words)))
        for column in log_p[matches].T:
            discover(whole, column)
    few = Tally(f"any of {COPIES} of one folder, one key", "Benjamini-Yekutieli")
    chosen = groups(subject.decoded, COPIES)
    for group in chosen:
        keys = draw(subject.share(5e5, len(chosen)), subject.bits, rng)
        for column in log_p[count_matches(words[group], keys)].T:
            discover(few, column)
    return [whole, best, few] if chosen else [whole, best]


def discover(tally: Tally, log_p: Floats) -> None:
    """Count a key at every level at which any of the images (N,) is found to carry it."""
    tally.tests += 1
    for i, level in enumerate(LEVELS):  # what is not found at one is not found at a lower one
        if not benjamini_yekutieli(log_p, level).any():
            break
        tally.hits[i] += 1


PARTS: dict[str, Part] = {
    "counting": counting,
    "one key for all": one_key_for_all,
    "weighing": weighing,
    "families": families,
    "sources": sources,
    "prevalence": prevalence,
}
"""By name, in the order of the table."""


def extremes(logits: Logits) -> dict[str, list[float]]:
    """Log10 p-values, smallest and largest, at 256 of 256 bits and at 10,000 images.

    Against their majority, its opposite and the first word. Raises ValueError: one is not finite,
    or above 0.
    """
    images = np.resize(logits, (10_000, logits.shape[1]))
    long = np.resize(logits[:256], (1, 256))
    found: dict[str, list[float]] = {}
    stacks = {"256 bits": long, "10,000 images": images}
    stacks["10,000 images of one word"] = np.tile(long, (10_000, 1))
    for name, stack in stacks.items():
        word = majority_bits(stack > 0)
        said = evaluate_source(stack, np.stack([word, 1 - word, (stack[0] > 0).astype(np.uint8)]))
        logs = np.concatenate(
            [said.log_p, said.log_p_inverted, said.log_p_majority, said.corrected]
        )
        if not (np.isfinite(logs).all() and (logs <= 0).all()):
            raise ValueError(f"{name}: log p-values {logs}")
        found[name] = [
            round(float(end / np.log(10.0)), 4) + 0.0 for end in (logs.min(), logs.max())
        ]
    return found


def draw(count: int, bits: int, rng: np.random.Generator) -> Words:
    """Random keys, (count, bits)."""
    return rng.integers(0, 2, (count, bits), dtype=np.uint8)


def fresh_matches(words: Words, count: int, rng: np.random.Generator) -> Iterator[Counts]:
    """Matches of each word (N, bits) with so many keys of its own, in pieces of whole families."""
    bits = words.shape[1]
    packed, used = (
        pack_lanes(np.packbits(array, axis=1).tobytes(), bits)
        for array in (words, np.ones((1, bits), np.uint8))
    )
    for i in range(len(words)):
        to_keys = counter(packed[:, i : i + 1])
        for start in range(0, count, _CHUNK):
            shape = len(packed), min(_CHUNK, count - start)
            to_keys.load(rng.integers(0, 1 << 64, shape, dtype=np.uint64) & used)
            yield bits - to_keys.distances(slice(0, 1))[0].astype(np.int64)


def shared_matches(words: Words, count: int, rng: np.random.Generator) -> Iterator[Counts]:
    """Matches (N, keys) of all words (N, bits) with the same keys, some keys at a time."""
    bits = words.shape[1]
    for start in range(0, count, 500):
        keys = draw(min(500, count - start), bits, rng)
        yield ((signs(words) @ signs(keys).T + bits) / 2).round().astype(np.int64)


def groups(decoded: Decoded, size: int) -> list[NDArray[np.int64]]:
    """At most GROUPS groups of images that follow each other in one folder, from all of them."""
    found = []
    folders = [posixpath.dirname(name) for name in decoded.names]
    for _, run in groupby(range(len(folders)), folders.__getitem__):
        members = np.fromiter(run, np.int64)
        found += [members[i : i + size] for i in range(0, len(members) - size + 1, size)]
    chosen = np.linspace(0, len(found) - 1, min(GROUPS, len(found))).round().astype(int)
    return [found[i] for i in chosen]


def spoken_alike(
    chosen: Logits, logits: Logits, share: float, rng: np.random.Generator
) -> Iterator[Logits]:
    """For each of some logits (n, bits) COPIES images (COPIES, bits) that decode to its word.

    How sure they are of a bit is as real images are; each bit is that of the word with
    probability `share`, and else the opposite.
    """
    for row in chosen:
        sizes = np.abs(logits[rng.choice(len(logits), COPIES)])
        kept = rng.random(sizes.shape) < share
        yield np.where(kept == (row > 0), sizes, -sizes)
