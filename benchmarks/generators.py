"""Generators by their mean residuals: AUC on their images, plain correlation and every extra.

    python benchmarks/generators.py --data_dir SOURCES

Each folder within SOURCES is a source: a generator, or real images, all of one size. Of every source
the first images by name make the fingerprint, the next ones are attributed. For rows and columns
see `extras.py`, they go to a CSV file beside the JSON; `cameras.py` measures the same on cameras.
"""  # noqa: E501

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import extras
import numpy as np
import report
import torch

from artfp.core.command import run
from artfp.core.console import console
from artfp.core.errors import UserError
from artfp.data.geometry import Geometry
from artfp.data.pixels import to_unit
from artfp.data.reading import load_images
from artfp.data.sources import ImageSource, open_source
from artfp.data.subset import Subset
from artfp.passive.residuals import load_extractor
from artfp.passive.residuals.estimate import estimate_fingerprint

RESAMPLES = 100


def main(argv: Sequence[str] | None = None) -> int:
    """Estimate, compare, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", required=True, help="folder with a folder for each source")
    parser.add_argument("--extractors", nargs="+", default=["wavelet:sigma=1"])
    parser.add_argument("--estimate", type=int, default=500, help="images of each fingerprint")
    parser.add_argument("--test", type=int, default=500, help="images of each source to attribute")
    parser.add_argument("--output", default="benchmarks/results/generators.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    names = sorted(entry.name for entry in os.scandir(args.data_dir) if entry.is_dir())
    if len(names) < 2:
        raise UserError(f"{args.data_dir}: found {len(names)} folders; two sources or more needed")
    sources = [open_source(f"{args.data_dir}/{name}") for name in names]
    tested = [_part(source, args.estimate, args.test) for source in sources]
    x = to_unit(torch.cat([load_images(part, Geometry(), args.test)[0] for part in tested]))
    truth = np.repeat(np.eye(len(names), dtype=bool), [len(part) for part in tested], 0)
    found, rows = [], []
    for text in args.extractors:
        extractor = load_extractor(text)
        prints = [
            estimate_fingerprint(_part(source, 0, args.estimate), extractor, name, weighted=True)[0]
            for source, name in zip(sources, names, strict=True)
        ]
        residuals = torch.cat([extractor(part) for part in x.split(256)])
        scores = extras.scores(prints, x, residuals, 256)
        own = extras.rows(extractor.text, scores, truth, RESAMPLES)
        found.append({"extractor": extractor.text, "auc": extras.headline(own)})
        console().print(found[-1])
        console().print(extras.table(own))
        rows += own
    extras.write_csv(args.output, rows)
    report.write(
        args.output,
        sources=names,
        size=list(x.shape[1:]),
        images_of_a_fingerprint=args.estimate,
        resamples=RESAMPLES,
        extractors=found,
    )
    return 0


def _part(source: ImageSource, start: int, count: int) -> ImageSource:
    if len(source) < start + count:
        raise UserError(f"{source.location}: {len(source)} images; {start + count} needed")
    return Subset(source, list(range(start, start + count)))


if __name__ == "__main__":
    sys.exit(run(main, "generators.py"))
