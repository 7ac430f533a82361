"""What the actions of `artfp attribute` share that fit one way to a folder of sources."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from artfp.core.command import count_images, report_unusable
from artfp.core.console import console
from artfp.core.device_options import add_device_option
from artfp.core.errors import UserError, one_line
from artfp.core.processes import first_process
from artfp.core.progress import stages


def add_fitting_options(parser: Any) -> None:
    """The folder, the output folder, the window and the rules."""
    add = parser.add_argument
    add("folder", type=str, help="Folder with one subfolder of images for each source.")
    add("--output_dir", required=True, help="Folder for the attributor.")
    add("--window", type=int | None, default=None,
        help="Side in pixels of what is cut of every image; default: as large as the images of "
        "all sources, at most 256.")  # fmt: skip
    add_rule_options(parser)
    add("--limit", type=int, default=1000, help="At most so many images of each source.")
    add_device_option(parser)


def add_rule_options(parser: Any) -> None:
    """How verdicts are reached."""
    add = parser.add_argument
    add("--alpha", type=float, default=0.05,
        help="Share of the known sources' images that may be called none of these.")  # fmt: skip
    add("--confidence", type=float, default=0.95,
        help="Posterior probability from which on a source is named.")  # fmt: skip


def examined(sources: dict[str, Any]) -> list[Any]:
    """What besides their content tells files of the sources apart, after it was warned of."""
    from artfp.passive.fitting.leakage import find_leakage

    with stages() as tick:
        found = find_leakage(sources, tick=lambda count: tick("comparing files", count))
    if first_process():
        for finding in found:
            print(f"warning: {finding}", file=sys.stderr)
    return found


def fit_and_save(
    args: Any,
    asked: dict[str, Any],
    about: str,
    fit: Callable[[Any, Any, str, Callable[[str, int], None]], Any],
    pictures: Callable[[], dict[str, bytes | str]] = dict,
    side_for: Callable[[Any], int] | None = None,
) -> int:
    """Read the sources, `fit(material, rules, name, tick)`, write and tell; the exit code.

    `asked` are the settings for the card, `about` says there what the way does. `pictures` makes
    further files after it; `side_for` says of a policy which squares are cut where --window does
    not.
    """
    if args.limit < 1:
        raise UserError(f"--limit: found {args.limit}, expected 1 or more")

    from artfp.data.files import write_atomic
    from artfp.data.sources import (
        open_sources,
    )
    from artfp.passive.attributors.bundle import save_attributor
    from artfp.passive.attributors.verdicts import DecisionRule
    from artfp.passive.attributors.window import ALIGNED
    from artfp.passive.fitting.card import describe_fit
    from artfp.passive.fitting.image_set import ImageSet

    rules = DecisionRule(args.alpha, args.confidence)
    sources, output = open_sources(Path(args.folder)), Path(args.output_dir)
    guard = examined(sources)

    def read(window: int | None, tick: Callable[[str, int], None]) -> ImageSet:
        return ImageSet(
            sources,
            policy=ALIGNED,
            window=window,
            limit=args.limit,
            seed=args.seed,
            folder=output,
            tick=tick,
        )

    with stages() as tick:
        image_set = read(args.window, tick)
    try:
        side = None if side_for is None else side_for(image_set.policy)
        if side is not None and image_set.policy.window != (side, side):
            image_set.close()
            with stages() as tick:
                image_set = read(side, tick)
        print(
            f"{count_images(len(image_set))} of {len(sources)} sources; "
            f"{image_set.policy.describe()}"
        )
        with stages() as tick:
            found = fit(image_set, rules, output.resolve().name, tick)
        asked = {"window": args.window, "limit": args.limit, "seed": args.seed, **asked}
        found.attributor.metadata.update(describe_fit(image_set, found, guard, asked, about))
        files = save_attributor(found.attributor, output)
        for name, content in pictures().items():
            write_atomic(output / name, content)
            files.append(name)
    finally:
        image_set.close()
    _tell(found)
    tell_by_source(found)
    console().print(
        f"wrote {', '.join(files)} into {one_line(str(output))}", soft_wrap=True, markup=False
    )
    return report_unusable(image_set.failed)


def _tell(found: Any) -> None:
    """What was tried on held out images."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    tried = [trial for trials in found.extractors.values() for trial in trials]
    table = Table(box=SIMPLE_HEAD, title="held out images", title_justify="left")
    for head in (found.chosen, "accuracy", "largest score", "log loss"):
        table.add_column(head, justify="left" if head == found.chosen else "right")
    for trial in tried or found.ways:
        table.add_row(
            trial.what, f"{trial.accuracy:.2%}", f"{trial.largest:.2%}", f"{trial.log_loss:.4f}"
        )
    console().print(table)


def tell_by_source(found: Any) -> None:
    """What the fitted attributor does with held out images of each source."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, title=f"{found.chosen}, by true source", title_justify="left")
    for head in ("source", "likeliest", "named another", "undecided", "none of these"):
        table.add_column(head, justify="left" if head == "source" else "right")
    valid = found.validation
    for k, name in enumerate(found.attributor.sources):
        row = valid.confusion[k]
        shares = (row[k] / sum(row), valid.wrong[k], valid.undecided[k], valid.rejected[k])
        table.add_row(Text(one_line(name)), *(f"{share:.1%}" for share in shares))
    console().print(table)
