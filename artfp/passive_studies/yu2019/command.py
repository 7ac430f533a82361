"""`artfp attribute learned`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from artfp.core.command import report_unusable
from artfp.core.console import console
from artfp.core.device_options import add_device_option
from artfp.core.errors import one_line
from artfp.core.legacy import make_parser
from artfp.passive.command_options import (
    NETWORK_OPTIONS,
    add_network_options,
    add_split_options,
    kept_settings,
)
from artfp.passive.settings import immunisations

DESCRIPTION = """\
Make the studies of Yu, Davis and Fritz (ICCV 2019) on any sources. FOLDER has one subfolder of
images for each; what the study is about depends on what these are: architectures of generators,
seeds of one architecture, or data sets to train on that nearly agree, with real images or without.

Some images of each source, by name, train a network, others test it:
  confusions    how often each source is named, and its images called none of these
  perturbed     accuracy after each published perturbation, with strengths drawn from the published
                ranges, and after their combination; with --immunise also of a network that goes on
                from the first one on images perturbed like that
  features      Frechet distances between sources over those within, in the network's features and
                in generic ones (these take artfp[features]), with pictures (t-SNE)
  open set      with --left_out a network is trained anew without a source, and asked about it

Images are cut to squares of 32, 64, 128 or 256 pixels from their middle, never resized. Files are
compared first: sources that codec, size, JPEG tables or metadata alone would tell apart are warned
of."""

EPILOG = """\
examples:
  artfp attribute learned architectures/ --output_dir architectures_study --immunise all
  artfp attribute learned seeds/ --output_dir seeds_study --left_out all
  artfp attribute learned subsets/ --output_dir subsets_study --network published \\
      --precision bf16-mixed --left_out real,seed3

writes into --output_dir:
  learned.md, .csv, .json      all tables with what they mean; accuracy under each perturbation
  confusion.csv                images by true source and largest logit, under each perturbation
  confusion_*.png              of unperturbed images
  perturbed.png                accuracy before and after immunisation
  features_*.png               images as points, near each other where features agree
  open_set.csv, roc.png        with --left_out: how images of the unknown source are noticed
  attributors/                 the networks, for artfp attribute predict and report

A study that was stopped goes on where it stopped when the same command is given again; so does one
with --left_out added later.

exit codes: 0 done, 1 some images could not be used (each is named), 2 bad input, 130 interrupted"""


def describe(prog: str) -> Any:
    """The options."""
    parser = make_parser(prog, DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("folder", type=str, help="Folder with one subfolder of images for each source.")
    add("--output_dir", required=True, help="Folder for the results.")
    add_split_options(parser)
    add_network_options(parser)
    add("--immunise", type=str | None, default=None, metavar="NAME,...|all",
        help="Train a second network that goes on from the first, on images perturbed by these: "
        "relight, crop, blur, jpeg, noise.")  # fmt: skip
    add("--left_out", type=str | None, default=None, metavar="NAME,...|all",
        help="Sources without which a network is trained anew, each by itself.")  # fmt: skip
    add("--alpha", type=float, default=0.05,
        help="Share of the known sources' images that may be called none of these.")  # fmt: skip
    add_device_option(parser)
    return parser


def act(args: Any, parser: Any, words: list[str]) -> int:
    """Run the action; the exit code."""
    from artfp.data.sources import (
        open_sources,
    )
    from artfp.passive.attributors.verdicts import DecisionRule
    from artfp.passive.fitting.leakage import warn_of_leakage
    from artfp.passive_studies.yu2019.report import write_learned
    from artfp.passive_studies.yu2019.study import learned

    output = Path(args.output_dir)
    settings = kept_settings(args, rules=DecisionRule(args.alpha))
    immunise = immunisations(
        tuple((args.immunise or "").replace(" ", "").split(",")) if args.immunise else ()
    )
    sources = open_sources(Path(args.folder))
    left_out = [part.strip() for part in (args.left_out or "").split(",") if part.strip()]
    guard = warn_of_leakage(sources)
    found = learned(
        sources,
        output,
        settings,
        immunise=immunise,
        left_out=list(sources) if left_out == ["all"] else list(dict.fromkeys(left_out)),
        fit=args.fit,
        test=args.test,
        say=lambda text: print(one_line(text), file=sys.stderr),
    )
    asked = (*NETWORK_OPTIONS, "alpha", "fit", "test")
    told = {name: getattr(args, name) for name in asked} | {
        "immunise": list(immunise),
        "guard": [str(finding) for finding in guard],
    }
    files = write_learned(found, told, output)
    _tell(found)
    print(f"wrote {', '.join(files)} into {one_line(str(output))}")
    return report_unusable(found.failed)


def _tell(found: Any) -> None:
    """Accuracies, ratios and rejections, in short."""
    from artfp.data.tables import Column, rich_table

    names = list(dict.fromkeys(row.attributor for row in found.rows))
    groups = dict.fromkeys(row.perturbation for row in found.rows)
    cells = [
        [group, *(row.accuracy.overall for row in found.rows if row.perturbation == group)]
        for group in groups
    ]
    columns = [Column("accuracy"), *(Column(name, form=".2%", align="right") for name in names)]
    console().print(rich_table(cells, columns))
    for each in found.features:
        print(f"distances between over within sources, {each.name} features: {each.ratio:.4g}")
    for each in found.open_sets:
        print(
            f"without {one_line(each.source)}: AUC {each.area.value:.4f}, "
            f"{each.rejected[1]:.1%} of its images rejected, {each.rejected[0]:.1%} of the others"
        )
