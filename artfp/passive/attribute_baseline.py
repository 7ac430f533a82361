"""`artfp attribute baseline`."""

from __future__ import annotations

from typing import Any

from artfp.core.device_options import torch_device
from artfp.core.legacy import make_parser
from artfp.passive.attribute_fitting import add_fitting_options, fit_and_save

DESCRIPTION = """\
Fit a baseline of Yu et al. 2019 to a folder of sources, as artfp attribute fit does with ways that
work better: to compare with. The attributor is of the same kind: predict, report and artfp
robustness take it.

kinds:
  nearest    the source of the nearest known image, by the Euclidean distance of pixels. All images
             go into the attributor, as 8-bit pixels
  eigenface  the source whose mean is nearest, in coordinates along the principal components of all
             images' pixels. What is tried on held out images: the Euclidean distance of Turk and
             Pentland 1991 and that in standard deviations of each coordinate (Mahalanobis), along
             32, 128 and 512 components

The same model as of the other ways makes likelihoods of the distances to all sources. Images
must stand as the sources made them (policy aligned); smaller windows are cut from their middle."""

EPILOG = """\
examples:
  artfp attribute baseline dumps/ --kind nearest --output_dir nearest
  artfp attribute baseline dumps/ --kind eigenface --output_dir eigenface --components 256
  artfp attribute report labelled/ --attributor eigenface

writes into --output_dir: attributor.safetensors and attributor.json, as artfp attribute fit.

exit codes: 0 done, 1 some images could not be used (each is named), 2 bad input, 130 interrupted"""


def describe(prog: str) -> Any:
    """The options."""
    parser = make_parser(prog, DESCRIPTION, EPILOG)
    add_fitting_options(parser)
    add = parser.add_argument
    add("--kind", required=True, help="nearest or eigenface.")
    add("--components", type=int | None, default=None,
        help="Of eigenface; default: the best of 32, 128 and 512.")  # fmt: skip
    add("--seed", type=int, default=0, help="Of the folds.")
    return parser


def act(args: Any, parser: Any, words: list[str]) -> int:
    """Run the action; the exit code."""
    from artfp.core.errors import UserError
    from artfp.passive.fitting.baselines import BASELINES, fit_baseline

    if args.kind not in BASELINES:
        raise UserError(f"--kind {args.kind!r}: choose from {', '.join(BASELINES)}")
    device = torch_device(args)

    def fit(material: Any, rules: Any, name: str, tick: Any) -> Any:
        return fit_baseline(
            material,
            args.kind,
            components=args.components,
            rules=rules,
            name=name,
            device=device,
            tick=tick,
        )

    asked = {"kind": args.kind, "components": args.components}
    return fit_and_save(args, asked, BASELINES[args.kind], fit)
