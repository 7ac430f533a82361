"""All ways of passive attribution side by side: one folder of sources, the same images for each.

    python benchmarks/passive.py --data_dir SOURCES --output benchmarks/results/passive.json

SOURCES has one subfolder of images for each source, all of one size. As in Marra et al. 2019, --fit
images of each (512) estimate and the others, at most --test (488), test; which, is drawn from the
files' names. The extractor of each way is chosen by ten-fold cross-fitting within the former.

- `largest`: accuracy of attribution to the largest score. For correlations this is Marra's rule.
- `pair AUC`: a source's images from another's by the difference of their scores; mean, and worst.
- `own_auc` (JSON): the same by the score of the one alone, over all ordered pairs, as Marra et al.
- `likeliest`, `log loss`: by the model of the scores (`artfp.passive.attributors.score_model`).
- `rejected`: test images of known sources called none of these, at --alpha.
- `unknown rejected`: each source in turn is left out of everything, and its test images are called
  none of these; mean over sources, and the worst. The extractor is the one that was chosen with it.

The files of the sources are compared first: what codec, size or metadata alone tell is in `guard`.
What JPEG does to these ways, and what fitting to recompressed copies helps: `passive_jpeg.py`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import report
from numpy.typing import NDArray
from rich.table import Table

from artfp.core.command import run
from artfp.core.console import console
from artfp.core.errors import UserError
from artfp.data.sources import (
    ImageSource,
    open_sources,
)
from artfp.data.subset import split_sources
from artfp.data.tables import round_significant
from artfp.passive.attributors.base import AttributorPart
from artfp.passive.attributors.bundle import score_vectors
from artfp.passive.attributors.correlation import (
    MATCHED_FILTER,
    PLAIN_CORRELATION,
    CorrelationOptions,
)
from artfp.passive.attributors.score_model import ScoreModel, log_loss
from artfp.passive.attributors.verdicts import NONE, DecisionRule, predict_images
from artfp.passive.attributors.window import ALIGNED
from artfp.passive.fitting.cross_validation import (
    Trial,
    cross_validate_correlation,
    cross_validate_spectrum,
    held_out_likelihoods,
    make_trial,
)
from artfp.passive.fitting.image_set import FOLDS, MIN_IMAGES, ImageSet
from artfp.passive.fitting.leakage import find_leakage
from artfp.passive.fitting.select import EXTRACTORS, SELECTION
from artfp.passive.roc import Accuracy, CorrelationScores, pairwise_auc
from artfp.stats.intervals import auc

Values = NDArray[np.float64]
Row = dict[str, Any]

CORRELATIONS = {
    "plain, gray": CorrelationOptions(gray=True, grand_mean=False, whitening="none"),
    "plain (Marra et al.), RGB": PLAIN_CORRELATION,
    "... less the grand mean": CorrelationOptions(whitening="none"),
    "... whitened, each colour": CorrelationOptions(whitening="each"),
    "... whitened, colours jointly: matched": MATCHED_FILTER,
}
"""Each adds a step to the one before."""

PLAIN_NAME, MATCHED_NAME = list(CORRELATIONS)[1], list(CORRELATIONS)[-1]
SPECTRA = {
    "spectrum, tapered": "image, hann",
    "spectrum": "image, none",
}
SPECTRUM_NAME, FUSION_NAME = "spectrum", "fusion of matched and spectrum"


@dataclass(frozen=True)
class Way:
    """A way with its parts and what images score: held out ones (N, D) and test images (M, D)."""

    parts: tuple[AttributorPart, ...]
    held: Values
    test: Values
    tried: tuple[Trial, ...] = ()
    """Extractors, the best first."""


def main(argv: Sequence[str] | None = None) -> int:
    """Fit all ways, test them, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", required=True, help="a subfolder of images for each source")
    parser.add_argument("--fit", type=int, default=512, help="images of each source that estimate")
    parser.add_argument("--test", type=int, default=488, help="others that test, at most")
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--extractors", default=";".join(EXTRACTORS),
                        help="to choose from, separated by ;")  # fmt: skip
    parser.add_argument("--keep_known", action="store_true", help="leave no source out in turn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", help="file for the figures, JSON")
    args = parser.parse_args(argv)
    sources = open_sources(Path(args.data_dir))
    fitted, tested = split_sources(sources, args.fit, args.test, args.seed)
    train, test = image_set(fitted, args.seed), image_set(tested, args.seed, 1)
    if train.policy != test.policy:
        raise UserError("the images of all sources must have one size; cut them, do not resize")
    guard = find_leakage(sources)
    for finding in guard:
        print(f"warning: {finding}", file=sys.stderr)
    ways = all_ways(train, test, args.extractors.split(";"))
    rows = [row(name, way, train, test, args.alpha) for name, way in ways.items()]
    errors = {str(each["way"]): 1.0 - float(each["largest"]) for each in rows}
    for each in rows:
        plain = errors[PLAIN_NAME]
        each["errors_of_plain"] = errors[str(each["way"])] / plain if plain > 0 else None
    if not args.keep_known and len(sources) > 2:
        add_unknown(rows, ways, fitted, tested, args)
    console().print(_table(rows))
    if args.output:
        report.write(
            args.output,
            sources=list(train.sources),
            size=list(train.policy.size),
            fit={name: int((train.labels == k).sum()) for k, name in enumerate(train.sources)},
            test={name: int((test.labels == k).sum()) for k, name in enumerate(test.sources)},
            folds=FOLDS,
            alpha=args.alpha,
            guard=[str(finding) for finding in guard],
            ways=round_significant(rows),
        )
    return 0


Images = dict[str, ImageSource]


def image_set(images: Images, seed: int, least: int = MIN_IMAGES) -> ImageSet:
    """The images read, `least` of each source. Raises UserError: not all of one size."""
    found = ImageSet(images, seed=seed, min_images=least)
    if found.policy.kind != ALIGNED:
        raise UserError("the images of all sources must have one size; cut them, do not resize")
    return found


def all_ways(train: ImageSet, test: ImageSet, extractors: Sequence[str]) -> dict[str, Way]:
    """Every way, each with its own best extractor, by the largest score of held out images."""
    ways = {}
    for name, how in CORRELATIONS.items():
        trials = _extractors(train, how, extractors)
        part, held = cross_validate_correlation(train, how, trials[0].what, "cpu")
        ways[name] = Way((part,), held, score((part,), test), tuple(trials))
    for name, what in SPECTRA.items():
        spectra, held = cross_validate_spectrum(train, what, "cpu")
        ways[name] = Way(spectra, held, score(spectra, test))
    ways[FUSION_NAME] = _fused(ways[MATCHED_NAME], ways[SPECTRUM_NAME])
    return ways


def row(name: str, way: Way, train: ImageSet, test: ImageSet, alpha: float) -> Row:
    """Figures of a way on the test images; of a fusion the largest is the likeliest."""
    model = ScoreModel.fit(way.held, train.labels)
    logs, fits = model.limited(model.log_likelihoods(way.test)), model.p_values(way.test)
    unlimited = model.log_likelihoods(way.test)
    ratios = way.test if len(way.parts) == 1 else unlimited - unlimited.mean(1, keepdims=True)
    labels, count = test.labels, len(test.sources)
    scores = CorrelationScores(test.sources, tuple(ratios[labels == k] for k in range(count)))
    own = [each.value for each in pairwise_auc(scores).values()]
    pairs = [
        auc(ratios[labels == j, i] - ratios[labels == j, j],
            ratios[labels == i, i] - ratios[labels == i, j])
        for i in range(count) for j in range(i)
    ]  # fmt: skip
    hits = [int((ratios[labels == k].argmax(1) == k).sum()) for k in range(count)]
    found = Accuracy(tuple(hits), tuple(np.bincount(labels).tolist()))
    low, high = found.interval()
    verdicts = [
        each.verdict for each in predict_images(logs, fits, test.sources, DecisionRule(alpha))
    ]
    return {
        "way": name,
        "extractor": way.tried[0].what if way.tried else None,
        "largest": found.overall,
        "low": low,
        "high": high,
        "by_source": {name: found.fraction(k) for k, name in enumerate(test.sources)},
        "pair_auc": float(np.mean(pairs)),
        "worst_pair_auc": float(np.min(pairs)),
        "own_auc": float(np.mean(own)),
        "worst_own_auc": float(np.min(own)),
        "likeliest": float((unlimited.argmax(1) == labels).mean()),
        "log_loss": log_loss(logs, labels),
        "rejected": float(np.mean([verdict == NONE for verdict in verdicts])),
        "tried": {trial.what: trial.largest for trial in way.tried},
    }


def add_unknown(
    rows: list[Row],
    ways: Mapping[str, Way],
    fitted: Images,
    tested: Images,
    args: argparse.Namespace,
) -> None:
    """Rates at which sources that were left out are rejected, into the rows of three ways."""
    extractor = ways[MATCHED_NAME].tried[0].what
    rates: dict[str, dict[str, float]] = {MATCHED_NAME: {}, SPECTRUM_NAME: {}, FUSION_NAME: {}}
    for left in fitted:
        kept = {name: source for name, source in fitted.items() if name != left}
        train = image_set(kept, args.seed)
        test = image_set({left: tested[left]}, args.seed, 1)
        correlation, held = cross_validate_correlation(train, MATCHED_FILTER, extractor, "cpu")
        matched = Way((correlation,), held, score((correlation,), test))
        found, held = cross_validate_spectrum(train, SPECTRA[SPECTRUM_NAME], "cpu")
        spectra = Way(found, held, score(found, test))
        for name, way in (
            (MATCHED_NAME, matched),
            (SPECTRUM_NAME, spectra),
            (FUSION_NAME, _fused(matched, spectra)),
        ):
            model = ScoreModel.fit(way.held, train.labels)
            logs = model.limited(model.log_likelihoods(way.test))
            said = predict_images(
                logs, model.p_values(way.test), train.sources, DecisionRule(args.alpha)
            )
            rates[name][left] = float(np.mean([each.verdict == NONE for each in said]))
    for each in rows:
        if each["way"] in rates:
            own = rates[str(each["way"])]
            each["unknown_rejected"] = {"mean": float(np.mean(list(own.values()))), **own}


def score(parts: Sequence[AttributorPart], image_set: ImageSet) -> Values:
    """Scores (M, D) of all images of a material."""
    found = np.empty((len(image_set), sum(len(part.sources) for part in parts)))
    for rows, x in image_set.batches(np.arange(len(image_set))):
        found[rows] = score_vectors(parts, x)
    return found


def _extractors(train: ImageSet, how: CorrelationOptions, extractors: Sequence[str]) -> list[Trial]:
    """Extractors, the best first, by accuracy of the largest held out score."""
    rows = train.subset_rows(SELECTION)
    found = []
    for what in extractors:
        _, scores = cross_validate_correlation(train, how, what, "cpu", rows)
        logs, _ = held_out_likelihoods(scores, train, rows)
        found.append(make_trial(what, scores, logs, train.labels[rows]))
    return sorted(found, key=lambda trial: -(trial.largest or 0.0))


def _fused(one: Way, other: Way) -> Way:
    return Way(
        one.parts + other.parts,
        np.concatenate([one.held, other.held], 1),
        np.concatenate([one.test, other.test], 1),
    )


def _table(rows: Sequence[Row]) -> Table:
    table = Table("way", "extractor", "largest", "errors / plain", "pair AUC", "worst", "log loss",
                  "rejected", "unknown rejected")  # fmt: skip
    for each in rows:
        unknown = each.get("unknown_rejected")
        values = (each["largest"], each["errors_of_plain"], each["pair_auc"],
                  each["worst_pair_auc"], each["log_loss"], each["rejected"],
                  unknown["mean"] if isinstance(unknown, dict) else None)  # fmt: skip
        cells = ["" if value is None else f"{value:.4f}" for value in values]
        table.add_row(str(each["way"]), str(each["extractor"] or ""), *cells)
    return table


if __name__ == "__main__":
    sys.exit(run(main, "passive.py"))
