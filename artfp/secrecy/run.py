"""A whole secrecy study, from images and encoders to figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from artfp.core.errors import UserError
from artfp.core.progress import Progress
from artfp.core.run_folder import exclusive
from artfp.data.bundle import find_weights
from artfp.data.content import source_digest
from artfp.data.paths import file_hash
from artfp.data.resume import Journal, Manifest
from artfp.data.sources import open_source
from artfp.secrecy.settings import SecrecySettings
from artfp.secrecy.study import AttackedEncoder, SecrecyRow, attacks_on, draw_images, run_attacks
from artfp.watermark import load_encoder


@dataclass(frozen=True)
class SecrecyStudy:
    """Result of `measure_secrecy`.

    Args:
        rows: One for each attack.
        config: What decides the results, with the hashes of all weights.
        failed: Names of images that could not be used, with the reasons.
    """

    rows: list[SecrecyRow]
    config: dict[str, Any]
    failed: list[tuple[str, str]]


@exclusive
def measure_secrecy(settings: SecrecySettings) -> SecrecyStudy:
    """Train detectors of fingerprinted images and measure them on images nobody trained on.

    An interrupted study goes on with what is in the output folder; so does one with other sizes or
    attackers.

    Args:
        settings: Clean images, encoders, attackers, numbers of images.

    Returns:
        The AUC of every attack, with its interval.

    Raises:
        UserError: too few images, encoders that cannot be loaded, or an output folder of another
            study.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from PIL import Image
        >>> draws = np.random.default_rng(0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     photos = Path(folder, "photos")
        ...     photos.mkdir()
        ...     for i in range(80):
        ...         pixels = draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        ...         Image.fromarray(pixels).save(photos / f"{i}.png")
        ...     settings = SecrecySettings(
        ...         data_dir=str(photos),
        ...         output_dir=Path(folder),
        ...         encoder_path=("cifar32",),
        ...         sizes=(20,),
        ...         test_images=20,
        ...         attackers=("mean_residual",),
        ...     )
        ...     rows = measure_secrecy(settings).rows
        >>> [(row.attack.threat, 0.0 <= row.low <= row.auc <= row.high <= 1.0) for row in rows]
        [('same_fingerprint', True), ('other_fingerprints', True)]
    """
    targets, hashes = _load_targets(settings)
    side = settings.image_resolution or targets[0].encoder.resolution
    source = open_source(settings.data_dir)
    config = {
        "data": Path(settings.data_dir).name,
        "data_sha256": source_digest(source),
        "encoders": hashes,
        "image_resolution": side,
        "test_images": settings.test_images,
        "psnr": settings.psnr,
        "seed": settings.seed,
    }
    sizes, output = tuple(dict.fromkeys(settings.sizes)), settings.output_dir
    attack_images, failed = draw_images(
        source, side, max(sizes), settings.test_images, settings.seed
    )
    Manifest.claim(output, config, "secrecy")
    journal = Journal(output, "secrecy")
    done: dict[str, dict[str, Any]] = journal.records()
    rows: list[SecrecyRow] = []
    wanted = {target.name: attacks_on(target, sizes, settings.attackers) for target in targets}
    missing = [each for attacks in wanted.values() for each in attacks if each.name() not in done]
    with Progress("attacking", len(missing), "attacks") as progress:
        for target in targets:
            todo = [attack for attack in wanted[target.name] if attack.name() not in done]
            found = run_attacks(target, todo, attack_images, settings.seed, settings.psnr)
            for row in found:
                done[row.attack.name()] = {"name": row.attack.name(), "row": asdict(row)}
                journal.append(done[row.attack.name()])
                progress.advance()
            for attack in wanted[target.name]:
                rows.append(SecrecyRow(**{**done[attack.name()]["row"], "attack": attack}))
    journal.close()
    return SecrecyStudy(rows, config, failed)


def _load_targets(settings: SecrecySettings) -> tuple[list[AttackedEncoder], dict[str, str]]:
    """The encoders to attack, each with the attacker's own; the hashes of all weights by name."""
    paths = _labelled(settings.encoder_path, "--encoder_path")
    others = _others(settings.other_encoder, list(paths))
    hashes, targets = {}, []
    for label, path in paths.items():
        encoder, other = load_encoder(path, settings.image_resolution)[0], None
        hashes[label] = file_hash(find_weights(path, "encoder"))
        if label in others:
            other = load_encoder(others[label], settings.image_resolution)[0]
            theirs = hashes[f"{label}, other"] = file_hash(find_weights(others[label], "encoder"))
            if theirs == hashes[label]:
                raise UserError(f"--other_encoder: {others[label]} holds the weights of {path}")
        targets.append(AttackedEncoder(label, encoder, other))
    return targets, hashes


def _others(parts: Sequence[str], labels: list[str]) -> dict[str, str]:
    """Paths of the attacker's own encoders by label; one without a label goes with all."""
    if not any("=" in part for part in parts):
        if len(parts) > 1:
            raise UserError("--other_encoder: found several without labels; give LABEL=PATH,...")
        return {label: path for label in labels for path in parts}
    found = _labelled(parts, "--other_encoder")
    for label in found:
        if label not in labels:
            known = ", ".join(labels)
            raise UserError(f"--other_encoder: no encoder is called {label!r}; found {known}")
    return found


def _labelled(parts: Sequence[str], flag: str) -> dict[str, str]:
    """Paths by label; a path without one is called by its own text."""
    found: dict[str, str] = {}
    for part in parts:
        label, equals, path = part.partition("=")
        label, path = (label.strip(), path.strip()) if equals else (part, part)
        if not label or not path or label in found:
            raise UserError(f"{flag}: found {part!r}, expected LABEL=PATH, each label once")
        found[label] = path
    return found
