"""Altered copies of a trained generator, each with a card that says what was done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from artfp.core.errors import UserError
from artfp.data.files import file_hash
from artfp.data.resume import Manifest
from artfp.generators.perturb_weights import Alteration
from artfp.generators.weights import load_generator, save_generator


def write_altered(source: Path, output: Path, alterations: Sequence[Alteration]) -> list[Path]:
    """Write `<output>/<alteration>_<strength>.safetensors` for each; the files, in this order.

    Each card is that of `source` with an entry at the end of the list `altered`: `by`, `strength`,
    `seed` of noise, and `of`, the SHA-256 of the file that it was done to. Raises UserError: no
    alteration, a strength that cannot be, a file that holds no generator, or a folder with
    alterations of another generator or of another seed.
    """
    if not alterations:
        raise UserError("no alteration; give --noise, --bits or --prune")
    generator, card = load_generator(source)
    altered = [(alteration, alteration.apply(generator)) for alteration in alterations]
    digest = file_hash(source)
    seeds = sorted({alteration.seed for alteration in alterations})
    Manifest.claim(output, {"generator_sha256": digest, "seeds": seeds}, "alter")
    written = []
    for alteration, copied in altered:
        path = output / f"{alteration.by}_{alteration.strength:g}.safetensors"
        entries = [*card.get("altered", []), {**alteration.entry(), "of": digest}]
        save_generator(copied, path, {**card, "altered": entries})
        written.append(path)
    return written
