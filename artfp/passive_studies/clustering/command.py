"""`artfp attribute cluster`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from artfp.core.command import count_images, report_unusable
from artfp.core.console import console
from artfp.core.device_options import add_device_option, torch_device
from artfp.core.errors import UserError
from artfp.core.legacy import make_parser

DESCRIPTION = """\
Put the images of an unlabelled folder into clusters, one for each source, by what their residuals
share: a pattern, place by place, and spectra. Nothing is known of the sources, not even how many
there are.

How the number is found: the images are divided into the clusters that come out again on random
subsets of the images (mean Jaccard index --stability or more), and each of these in the same way,
until nothing stable is found inside. What is left over beside stable clusters is a remainder. Few
images of a source (about 50 small ones) are found together with another's rather than split.

Content, codec and size leave traces in spectra too: photographs of two kinds may be two clusters.

With --scores, a detector's scores of the images are fused with the clusters: the scores of a
cluster's images speak for each of them (Marra et al. 2019)."""

EPILOG = """\
examples:
  artfp attribute cluster folder/ --output_dir clusters/
  artfp attribute cluster sources/ --output_dir clusters/ --truth       # measure, on subfolders
  artfp attribute cluster folder/ --output_dir clusters/ --scores detector.csv

scores: CSV with the columns file and score, larger for generated, on any scale.

writes into --output_dir: clusters.csv, the cluster of each image (and the fused score);
clusters.json; clusters.png, the similarities of the images in the order of the clusters.

exit codes: 0 done, 1 some images could not be used (each is named), 2 bad input, 130 interrupted"""


def describe(prog: str) -> Any:
    """The options."""
    parser = make_parser(prog, DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("folder", type=str, help="Folder, zip or list of images.")
    add("--output_dir", required=True, help="Folder for tables and picture.")
    add("--extractor", type=str, default="wavelet:sigma=3", metavar="NAME[:SETTING=VALUE,...]",
        help="What makes residuals, see artfp attribute study.")  # fmt: skip
    add("--size", type=int | None, default=None,
        help="Use the upper left square of this side; default: images of the first one's "
        "size.")  # fmt: skip
    add("--limit", type=int | None, default=None, help="At most so many images, drawn by name.")
    add("--least", type=int, default=10, help="Images of a cluster, at least.")
    add("--stability", type=float, default=0.85, help="Of a cluster, at least, up to 1.")
    add("--seed", type=int, default=0, help="Of the random subsets.")
    add("--truth", action="store_true", help="Subfolders are the true sources: tell the agreement.")
    add("--scores", type=str | None, default=None, metavar="FILE.csv",
        help="A detector's scores, to be fused with the clusters.")  # fmt: skip
    add("--real", type=str | None, default=None, metavar="NAME,...",
        help="With --truth and --scores: the subfolders that are real; tells the AUC before and "
        "after.")  # fmt: skip
    add_device_option(parser)
    return parser


def act(args: Any, parser: Any, words: list[str]) -> int:
    """Run the action; the exit code."""
    from artfp.data.files import write_atomic
    from artfp.data.reading import Failed
    from artfp.data.sources import open_source
    from artfp.data.subset import limit_images
    from artfp.passive.residuals import load_extractor
    from artfp.passive_studies.clustering import report
    from artfp.passive_studies.clustering.cluster import Settings, agreement, divide
    from artfp.passive_studies.clustering.fusion import fuse
    from artfp.passive_studies.clustering.study import areas, gathered, read_scores, true_sources

    if args.size is not None and args.size < 8:
        raise UserError(f"--size: found {args.size}, expected 8 or more")
    if args.real is not None and not (args.truth and args.scores):
        raise UserError("--real goes with --truth and --scores")
    settings = Settings(least=args.least, stability=args.stability, seed=args.seed)
    extractor, device, failed = load_extractor(args.extractor), torch_device(args), Failed()
    source = limit_images(open_source(args.folder), args.limit)
    size = None if args.size is None else (args.size, args.size)
    names, residuals = gathered(source, extractor, size, failed, device)
    truth = true_sources(names) if args.truth else None
    scores = read_scores(args.scores, names) if args.scores else None
    found = divide(residuals, settings)
    fused = None if scores is None else fuse(scores, found.labels)
    measured = None
    if args.real and truth is not None and scores is not None and fused is not None:
        measured = areas(args.real.split(","), truth, scores, fused)
    told = report.Report(
        names,
        found,
        settings,
        extractor.text,
        truth,
        None if truth is None else agreement(truth, found.labels),
        scores,
        fused,
        measured,
    )
    files: dict[str, str | bytes] = {
        "clusters.csv": report.clusters_csv(told),
        "clusters.json": json.dumps(report.clusters_json(told), indent=1) + "\n",
        "clusters.png": report.plot_clusters(told),
    }
    for name, content in files.items():
        write_atomic(Path(args.output_dir) / name, content)
    console().print(report.clusters_table(told))
    for line in report.said(told):
        console().print(line, soft_wrap=True, markup=False)
    console().print(
        f"{count_images(len(names))}; wrote {', '.join(files)} into {args.output_dir}",
        soft_wrap=True,
        markup=False,
    )
    if failed and size is None:
        print("images of other sizes: give --size to cut all to one", file=sys.stderr)
    return report_unusable(failed)
