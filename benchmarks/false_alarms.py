"""How often an unmarked image passes for a fingerprinted one, against the level that was asked for.

    python benchmarks/false_alarms.py --data_dir CIFAR10_TEST PHOTOS --weights photo128

Unmarked images, as they are and under some perturbations, are decoded once each and compared with
the fingerprints of 100 keys at the threshold that `artfp.stats.minimum_matches` gives for each
nominal level: 10,000 images and 100 keys are a million tests. A threshold is a whole number of
bits, so the level that it attains (`exact`, a binomial tail) is somewhat below the nominal one.

The keys are `Key.from_seed(0), Key.from_seed(1), ...`, and their words come as a user's come, by
HKDF-SHA256: reproducible, not secret, and unrelated to the images. `--secret_keys` draws them from
the operating system's CSPRNG instead. Perturbations draw from a seeded generator. `--logits DIR`
keeps what was decoded, a file a condition; `evidence.py --logits DIR/none.npz` goes on from there.

What is random is the keys alone. Given the decoded words, a key matches each of them in
Bin(bits, 1/2) bits, so the expected rate is exactly `exact`, whatever images and decoder do; what
could break it is an error in the chain (a threshold off by one, words that are not uniform, a
decoder that knows the key). But one key is compared with all images, and those may decode to
similar words: a key that is near one of them is near many. The tests of one image by several keys
are independent, the tests of one key on several images are not. Three 95% intervals for the rate:

- `independent`: Clopper-Pearson, as if all tests were independent. Too narrow where images decode
  alike.
- `by keys`: bootstrap over whole keys (10,000 resamples, percentiles). Assumes nothing of what
  happens within a key, but is coarse where few alarms were seen, and empty where none was.
- `design`: Clopper-Pearson with the number of tests divided by the design effect (Korn and
  Graubard 1998): the variance of the count over random keys, relative to independent tests. It is
  no estimate: it follows from the Hamming distances between the decoded words, since for two words
  the probability that a random key passes both depends on their distance alone. This is the one to
  go by: `exact` should lie in it (in 19 of 20 rows; all rows share the keys).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import report
from decoded import UNPERTURBED, Sources, decode
from numpy.typing import NDArray
from scipy.stats import beta, binom

from artfp.core.command import run
from artfp.core.errors import UserError
from artfp.ownership.key import Key
from artfp.stats import minimum_matches
from artfp.watermark import load_decoder

CONDITIONS = (UNPERTURBED, "jpeg50", "noise0.05", "rotation10", "screenshot")
LEVELS = (1e-2, 1e-3, 1e-4)
CONFIDENCE = 0.95
RESAMPLES = 10_000

Interval = tuple[float, float]
Words = NDArray[np.uint8]


def main(argv: Sequence[str] | None = None) -> int:
    """Decode, compare, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", required=True, nargs="+", help="folders, zips or lists")
    parser.add_argument("--weights", default="photo128", help="a shipped name or a decoder's file")
    parser.add_argument("--as_it_is", action="store_true", help="decode without realignment")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--secret_keys", action="store_true", help="keys from the system's CSPRNG")
    parser.add_argument("--logits", help="folder for the logits, a file a condition")
    parser.add_argument("--output", help="default: benchmarks/results/false_alarms_<weights>.json")
    args = parser.parse_args(argv)
    if args.images < 2 or args.keys < 2:
        raise UserError("--images and --keys: at least 2")
    decoder, _ = load_decoder(args.weights, not args.as_it_is)
    drawn = [Key.draw() if args.secret_keys else Key.from_seed(i) for i in range(args.keys)]
    keys = np.stack([key.fingerprint(decoder.bits) for key in drawn])
    sources = Sources(args.data_dir, args.images)
    found = decode(args.weights, decoder, sources, CONDITIONS)
    if args.logits:
        for name, decoded in found.items():
            decoded.save(Path(args.logits) / f"{name}.npz")
    rows = [row for name in CONDITIONS for row in compare(name, found[name].words, keys)]
    for line in table(rows):
        print(line)
    report.write(
        args.output or f"benchmarks/results/false_alarms_{Path(args.weights).stem}.json",
        weights=Path(args.weights).name,
        bits=decoder.bits,
        keys=f"{args.keys}, " + ("secret" if args.secret_keys else "Key.from_seed(0, 1, ...)"),
        images={Path(name).name: count for name, count in sources.used.items()},
        unusable_images=sources.unusable,
        tests_per_row=len(found[UNPERTURBED].names) * args.keys,
        confidence=CONFIDENCE,
        rows=rows,
    )
    return 0


def compare(name: str, words: Words, keys: Words) -> list[dict[str, object]]:
    """A row for each level: words (N, bits) against keys (K, bits)."""
    count, bits = words.shape
    matches = ((signs(words) @ signs(keys).T + bits) / 2).round().astype(np.int64)
    distances = distance_counts(words)
    rows: list[dict[str, object]] = []
    for level in LEVELS:
        threshold = minimum_matches(bits, level)
        exact = float(binom.sf(threshold - 1, bits, 0.5))
        by_key = (matches >= threshold).sum(axis=0)
        alarms, tests = int(by_key.sum()), matches.size
        effect = design_effect(distances, threshold)
        design = clopper_pearson(alarms / effect, tests / effect)
        rows.append(
            {
                "condition": name,
                "level": level,
                "threshold": threshold,
                "exact": exact,
                "alarms": alarms,
                "tests": tests,
                "rate": alarms / tests,
                "independent": clopper_pearson(alarms, tests),
                "by_keys": bootstrap(by_key, count),
                "design_effect": effect,
                "design": design,
                "most_alarms_of_one_key": int(by_key.max()),
                "exact_in_design": design[0] <= exact <= design[1],
            }
        )
    return rows


def signs(words: Words) -> NDArray[np.float32]:
    """Bits {0, 1} as -1 and 1; inner products are bits minus twice the distance, exactly."""
    return words.astype(np.float32) * 2.0 - 1.0


def distance_counts(words: Words) -> NDArray[np.int64]:
    """How many ordered pairs of words (N, bits), each with itself too, lie at each distance."""
    count, bits = words.shape
    both = signs(words)
    counts = np.zeros(bits + 1, np.int64)
    for start in range(0, count, 500):
        distances = (bits - both[start : start + 500] @ both.T) / 2
        counts += np.bincount(distances.round().astype(np.int64).ravel(), minlength=bits + 1)
    return counts


def design_effect(distances: NDArray[np.int64], threshold: int) -> float:
    """Variance of the number of alarms over random keys, over that of independent tests.

    `distances` (bits + 1,) counts the ordered pairs of words at each distance. Two words at
    distance d agree in bits - d places, where a key matches both in A ~ Bin(bits - d, 1/2), and
    differ in d, where it matches the one in B ~ Bin(d, 1/2) and the other in d - B: both pass if
    A + min(B, d - B) >= threshold. It is 1 where no word can pass.
    """
    bits = len(distances) - 1
    single = float(binom.sf(threshold - 1, bits, 0.5))
    if single == 0.0:
        return 1.0
    covariance = 0.0
    for distance in np.nonzero(distances)[0].tolist():
        split = np.arange(distance + 1)
        least = threshold - np.minimum(split, distance - split)
        tails = binom.sf(least - 1, bits - distance, 0.5)
        joint = float(binom.pmf(split, distance, 0.5) @ tails)
        covariance += float(distances[distance]) * (joint - single**2)
    count = float(distances.sum()) ** 0.5
    return covariance / (count * single * (1.0 - single))


def clopper_pearson(successes: float, trials: float) -> Interval:
    """Interval for a rate (Clopper and Pearson 1934); numbers need not be whole."""
    tail = (1.0 - CONFIDENCE) / 2.0
    low = beta.ppf(tail, successes, trials - successes + 1.0) if successes > 0 else 0.0
    full = successes >= trials
    high = 1.0 if full else beta.ppf(1.0 - tail, successes + 1.0, trials - successes)
    return float(low), float(high)


def bootstrap(by_key: NDArray[np.int64], images: int) -> Interval:
    """Percentile interval for the rate from alarms (K,) of each key on so many images."""
    keys = len(by_key)
    resampled = np.random.default_rng(0).multinomial(keys, [1.0 / keys] * keys, RESAMPLES)
    rates = resampled @ by_key / (keys * images)
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(rates, [tail, 1.0 - tail])
    return float(low), float(high)


def table(rows: list[dict[str, object]]) -> Iterator[str]:
    """Lines for people."""
    yield (
        f"{'condition':14} {'level':>6} {'bits':>4} {'exact':>8} {'rate':>8} {'alarms':>7}  "
        f"{'independent':19}  {'by keys':19}  {'effect':>6}  {'design':19}"
    )
    for row in rows:
        spans = [
            "{:.2e} - {:.2e}".format(*row[name])  # type: ignore[misc]
            for name in ("independent", "by_keys", "design")
        ]
        yield (
            f"{row['condition']:14} {row['level']:6g} {row['threshold']:4} {row['exact']:8.2e} "
            f"{row['rate']:8.2e} {row['alarms']:7}  {spans[0]}  {spans[1]}  "
            f"{row['design_effect']:6.2f}  {spans[2]}{'' if row['exact_in_design'] else '  missed'}"
        )
    held = sum(bool(row["exact_in_design"]) for row in rows)
    yield f"the exact level lies in {held} of {len(rows)} `design` intervals (95%)"


if __name__ == "__main__":
    sys.exit(run(main, "false_alarms.py"))
