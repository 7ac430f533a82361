"""The part of `artfp robustness` that sweeps passive attributors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from artfp.core.errors import UserError


def add_attributor_options(parser: Any) -> None:
    """Which attributors, and the images that they attribute."""
    add = parser.add_argument
    add(
        "--attributor",
        type=str | None,
        default=None,
        metavar="[LABEL=]FOLDER,...",
        help="Passive attributors to sweep, which artfp attribute fit wrote.",
    )
    add(
        "--labelled_dir",
        type=str | None,
        default=None,
        help="With --attributor: folder with one subfolder of images for each of its sources; "
        "other subfolders hold images of sources that it does not know.",
    )


def check_attributor_options(args: Any) -> None:
    """Refuse one of the two without the other."""
    for one, other in (("attributor", "labelled_dir"), ("labelled_dir", "attributor")):
        if getattr(args, one) is not None and getattr(args, other) is None:
            raise UserError(f"--{one} needs --{other}")


def attributed(args: Any, read: Callable[..., Any]) -> tuple[Any, list[tuple[str, str]]]:
    """Labelled images for the attributors; and the images that cannot be used.

    `read` makes images of a source: (source, reasons to refuse a size, what it is doing).
    """
    from artfp.data.files import file_hash
    from artfp.data.sources import (
        open_sources,
    )
    from artfp.passive.attributors.bundle import ATTRIBUTOR_FILE, load_attributor
    from artfp.robustness.evaluation_robustness_labelled import labelled

    attributors = {}
    for part in (part.strip() for part in args.attributor.split(",") if part.strip()):
        label, equals, place = part.partition("=")
        if not equals or Path(part).exists():
            label, place = "", part
        attributor = load_attributor(place.strip(), label.strip() or None)
        path = Path(place.strip())
        attributors[file_hash(path / ATTRIBUTOR_FILE if path.is_dir() else path)] = attributor
    if not attributors:
        raise UserError("--attributor: found no name")

    def refuses(height: int, width: int) -> str | None:
        reasons = (a.policy.refuses(height, width) for a in attributors.values())
        return next((reason for reason in reasons if reason), None)

    images = {
        name: read(source, refuses, f"reading images of {name}")
        for name, source in open_sources(Path(args.labelled_dir)).items()
    }
    failed = [
        (f"{name}/{image}", reason)
        for name, each in images.items()
        for image, reason in each.failed.items()
    ]
    return labelled(attributors, images), failed
