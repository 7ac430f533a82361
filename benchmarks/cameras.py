"""Cameras by their sensors' noise: AUC on photographs, plain correlation and every extra.

    python benchmarks/cameras.py --data_dir cameras512

The folder holds `flat/`, images of an evenly lit field, and `natural/`, photographs, in files named
MODEL_UNIT_NUMBER.png. A unit's fingerprint is the mean residual of its flat images, all photographs
are compared with all units: the protocol of prnu-python (github polimi-ispl/prnu-python, example.py;
its AUC on 16 photographs and six units of the Dresden database is .971 for inner products and
.961 for normalised ones, both with zero mean, DFT-Wiener and maximum likelihood). For rows and
columns, which go to a CSV file beside the JSON, see `extras.py`. CPU time is of one thread.

Sixteen photographs are few: mind the intervals, and that the best of many rows was chosen on them.
`interval_if_pairs_were_independent` is that of `artfp.stats.intervals`, which knows nothing of pairs
that share a photograph.
"""  # noqa: E501

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

import extras
import numpy as np
import report
import torch

from artfp.core.command import run
from artfp.core.console import console
from artfp.core.errors import UserError
from artfp.data.decode import decode_image
from artfp.data.pixels import as_batch
from artfp.data.sources import ImageSource, open_source
from artfp.data.subset import Subset
from artfp.passive.residuals import Extractor, load_extractor
from artfp.passive.residuals.estimate import estimate_fingerprint
from artfp.passive.residuals.prnu import pce
from artfp.stats.intervals import auc_interval

RESAMPLES = 500


def main(argv: Sequence[str] | None = None) -> int:
    """Estimate, compare, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", required=True, help="folder with flat/ and natural/")
    parser.add_argument("--extractors", nargs="+", default=["wavelet:sigma=5", "wavelet:sigma=3"])
    parser.add_argument("--output", default="benchmarks/results/cameras.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    flat, natural = (open_source(f"{args.data_dir}/{part}") for part in ("flat", "natural"))
    found, rows = [], []
    for text in args.extractors:
        result, own = _measured(load_extractor(text), flat, natural)
        console().print(result)
        console().print(extras.table(own))
        found.append(result)
        rows += own
    extras.write_csv(args.output, rows)
    report.write(
        args.output,
        photographs=len(natural),
        units=_units(flat),
        resamples=RESAMPLES,
        extractors=found,
    )
    return 0


def _measured(
    extractor: Extractor, flat: ImageSource, natural: ImageSource
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the contents of the report, and the rows."""
    units = _units(flat)
    start = time.process_time()
    prints = []
    for unit in units:
        chosen = [i for i, name in enumerate(flat.names) if _unit(name) == unit]
        prints.append(estimate_fingerprint(Subset(flat, chosen), extractor, unit, weighted=True)[0])
    estimated = time.process_time()
    x = torch.cat([as_batch(decode_image(natural.read(i)).pixels) for i in range(len(natural))])
    decoded = time.process_time()
    residuals = torch.cat([extractor(image[None]) for image in x])
    extracted = time.process_time()
    means = torch.stack([each.mean for each in prints])
    pce(residuals, means)
    searched = time.process_time()
    truth = np.array([[_unit(name) == unit for unit in units] for name in natural.names])
    if not truth.any(1).all():
        raise UserError(f"{natural.location}: a photograph of none of {', '.join(units)}")
    found = extras.scores(prints, x, residuals, batch=4)
    rows = extras.rows(extractor.text, found, truth, RESAMPLES)
    headline = extras.headline(rows)
    for each in headline.values():
        each["interval_if_pairs_were_independent"] = auc_interval(
            each["plain"], int((~truth).sum()), int(truth.sum())
        )
    result = {
        "extractor": extractor.text,
        "size": list(x.shape[1:]),
        "cpu_s_estimate_per_image": (estimated - start) / len(flat),
        "cpu_s_residual_per_image": (extracted - decoded) / len(x),
        "cpu_s_pce_per_pair": (searched - extracted) / truth.size,
        "auc": headline,
    }
    return result, rows


def _unit(name: str) -> str:
    return name.rsplit("/", 1)[-1].rsplit("_", 1)[0]


def _units(source: ImageSource) -> list[str]:
    return sorted({_unit(name) for name in source.names})


if __name__ == "__main__":
    sys.exit(run(main, "cameras.py"))
