"""`artfp attribute fingerprint`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artfp.core.command import count_images, report_unusable
from artfp.core.console import console
from artfp.core.device_options import add_device_option, torch_device
from artfp.core.errors import UserError, one_line
from artfp.core.legacy import make_parser
from artfp.core.progress import stages

DESCRIPTION = """\
Estimate the fingerprint of one source, the mean noise residual of its images (Marra et al. 2019;
of a camera, its PRNU), and keep it as a file. The file holds sums, so more images can be taken in
later, and what several machines have estimated can be merged, exactly; its card has source, number
of images, size, extractor, and the codecs and sizes seen. Memory does not grow with the images."""

EPILOG = """\
examples:
  artfp attribute fingerprint flat_fields/ --output nikon.safetensors
  artfp attribute fingerprint more/ --merge nikon.safetensors --output nikon.safetensors
  artfp attribute fingerprint --merge part1.safetensors,part2.safetensors --output all.safetensors
  artfp attribute correlate photos/ --fingerprints nikon.safetensors,canon.safetensors

exit codes: 0 done, 1 some images could not be used (each is named), 2 bad input, 130 interrupted"""


def describe(prog: str) -> Any:
    """The options."""
    parser = make_parser(prog, DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("images", type=str | None, nargs="?", default=None,
        help="Images of the source: folder, zip or list; with --merge not needed.")  # fmt: skip
    add("--output", required=True, metavar="FILE", help="The fingerprint, .safetensors.")
    add("--merge", type=str | None, default=None, metavar="FILE,...",
        help="Fingerprints to take in as well.")  # fmt: skip
    add("--source", type=str | None, default=None, metavar="NAME",
        help="What the source is called; default: the output's name.")  # fmt: skip
    add("--extractor", type=str, default="wavelet:sigma=5", metavar="NAME[:SETTING=VALUE,...]",
        help="What makes residuals.")  # fmt: skip
    add("--weighted", action="store_true",
        help="Keep what --maximum_likelihood needs; thrice the size.")  # fmt: skip
    add_device_option(parser)
    return parser


def act(args: Any, parser: Any, words: list[str]) -> int:
    """Run the action; the exit code."""
    parts = [part.strip() for part in (args.merge or "").split(",") if part.strip()]
    if args.images is None and len(parts) < 2:
        raise UserError("give images, or two or more fingerprints to --merge")
    output = Path(args.output)
    if output.suffix != ".safetensors":
        raise UserError(f"--output {args.output}: end it with .safetensors")

    from artfp.data.sources import open_source
    from artfp.passive.residuals.estimate import estimate_fingerprint
    from artfp.passive.residuals.extractor import load_extractor
    from artfp.passive.residuals.residual_fingerprint import ResidualFingerprint

    whole: list[ResidualFingerprint] = [ResidualFingerprint.load(part) for part in parts]
    failed: list[tuple[str, str]] = []
    if args.images is not None:
        source, extractor = open_source(args.images), load_extractor(args.extractor)
        size = whole[0].shape[1:] if whole else None
        seen = 0
        with stages() as tick:

            def told(done: int) -> None:
                nonlocal seen
                tick("residuals", done - seen)
                seen = done

            name = args.source or output.stem
            made, failed = estimate_fingerprint(
                source, extractor, name, size, args.weighted, None, torch_device(args), told
            )
        whole.append(made)
    found, *others = whole
    for other in others:
        found.merge(other)
    found.source = args.source or output.stem
    found.save(output)
    channels, height, width = found.shape
    console().print(
        f"{one_line(found.source)}: {count_images(found.count)}, {width}x{height}, "
        f"{channels} colours, {found.extractor}; wrote {one_line(args.output)}",
        soft_wrap=True,
        markup=False,
    )
    return report_unusable(failed)
