"""Transfer study: fingerprint images, train a generator on them, decode what it makes.

Its stages lie in folders of their own, and each goes on where it stopped:

    data/<group>         fingerprinted images (stage embed)
    training/<group>     a training of the generator (stage train)
    generated/<group>    what its snapshots and its last state make (stage generate)

A *group* is a set of training images: `clean`, as they are; `fingerprinted`, all with the one
fingerprint that is looked for; and the controls, in which it must not be found: `other`, all with
another fingerprint, and `random`, each image with a fingerprint of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from artfp.core.errors import UserError
from artfp.core.run_folder import exclusive, run_folder
from artfp.data.bundle import find_weights, read_card
from artfp.data.content import sources_digest
from artfp.data.geometry import Geometry
from artfp.data.paths import file_hash
from artfp.data.resume import Manifest
from artfp.data.sources import ImageSource, open_source
from artfp.data.subset import limit_images
from artfp.generators import find_model
from artfp.generators.generate import generate_images
from artfp.generators.settings import GenerateSettings, GeneratorTrainingSettings
from artfp.generators.training.fit import SNAPSHOTS, TrainingPlan, plan_training, train_generator
from artfp.generators.training.pretrained import GENERATOR
from artfp.ownership.assignment import Fingerprints, draw_fingerprints
from artfp.transfer.settings import TransferStudySettings
from artfp.watermark import load_encoder
from artfp.watermark.embed_job import EmbeddingJob
from artfp.watermark.embed_run import run_embedding
from artfp.watermark.prediction_loop import make_trainer
from artfp.watermark.settings import FINGERPRINTED_FOLDER

CLEAN, FINGERPRINTED, OTHER, RANDOM = "clean", "fingerprinted", "other", "random"
CONTROLS = (OTHER, RANDOM)

_SNAPSHOTS_KEPT = 6

_log = logging.getLogger("artfp")


@dataclass(frozen=True)
class TransferStudy:
    """Settings that decide a study.

    Args:
        training: Training of the generator: its `data_dirs` are the clean images and its
            `output_dir` the study's folder. Of two domains the second is fingerprinted, as what is
            translated to.
        encoder: Shipped name or file.
        decoder: File of the decoder, which knows the size of a published encoder; None: the one
            beside the encoder.
        fingerprints: Fingerprint; None: one from a fresh key, which is kept in the folder.
        strength: Factor on the watermark residual.
        controls: Controls, of CONTROLS.
        clean_seeds: Number of clean generators, each trained with another seed.
        images: Images of each finished generator.
        progress_images: Images of each snapshot.
        image_seed: Seed of the generated images.
        target: Target of a translator, see `Generator.translate`.
        device: Device of torch, for all but training.
        options: Options of Lightning's Trainer for embedding.

    Raises:
        UserError: too few images, or an unknown control.
    """

    training: GeneratorTrainingSettings
    encoder: str
    decoder: str | None = None
    fingerprints: Fingerprints | None = None
    strength: float = 1.0
    controls: tuple[str, ...] = ()
    clean_seeds: int = 1
    images: int = 1000
    progress_images: int = 250
    image_seed: int = 0
    target: int | None = None
    device: str = "cpu"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, least in (("clean_seeds", 0), ("images", 2), ("progress_images", 1)):
            if getattr(self, what) < least:
                raise UserError(f"{what} is {getattr(self, what)}; it must be {least} or more")
        unknown = [name for name in self.controls if name not in CONTROLS]
        if unknown:
            raise UserError(
                f"no control is called {unknown[0]!r}; choose from {', '.join(CONTROLS)}"
            )

    @cached_property
    def plan(self) -> TrainingPlan:
        """Settings of the trainings, with the numbers that were left to the model."""
        return plan_training(self.training)

    @property
    def output(self) -> Path:
        """Folder of the study."""
        return self.training.output_dir

    @property
    def marked(self) -> list[str]:
        """Groups whose images are fingerprinted."""
        return [FINGERPRINTED, *(name for name in CONTROLS if name in self.controls)]

    @property
    def clean(self) -> list[str]:
        """Clean groups, one for each seed."""
        return [CLEAN if i == 0 else f"{CLEAN}-{i}" for i in range(self.clean_seeds)]

    @property
    def groups(self) -> list[str]:
        """All groups, in the order in which generators are trained."""
        return [FINGERPRINTED, *self.clean, *self.marked[1:]]

    @property
    def steps(self) -> int:
        """Steps of each training."""
        return self.plan.max_steps

    @property
    def resolution(self) -> int:
        """Side of the generator's images in pixels."""
        return self.plan.resolution

    @property
    def geometry(self) -> Geometry:
        """Crop and resize of the generator's training."""
        return Geometry(self.resolution, self.training.use_celeba_preprocessing)

    def source(self) -> ImageSource:
        """Return the clean images of the domain that is fingerprinted."""
        return limit_images(open_source(self.training.data_dirs[-1]), self.training.limit)

    def inputs(self) -> ImageSource | None:
        """Return the clean images that a translator translates, of the first domain; else None."""
        if not find_model(self.training.model).translates:
            return None
        return limit_images(open_source(self.training.data_dirs[0]), self.training.limit)

    def folder(self, stage: str, group: str) -> Path:
        """Return the folder of a stage of a group."""
        return self.output / stage / group

    def made(self, group: str, step: int) -> Path:
        """Return the folder of the images of a generator that was trained for so many steps."""
        return self.folder("generated", group) / f"{step:06}" / "images"

    def snapshots(self, group: str) -> dict[int, Path]:
        """Return the generators of a group by their steps, in order; the finished one is last."""
        folder = self.folder("training", group)
        found = {int(p.stem): p for p in (folder / SNAPSHOTS).glob("*.safetensors")}
        last = folder / GENERATOR
        if last.is_file():
            found[int(read_card(last)["step"])] = last
        return {step: found[step] for step in sorted(found) if step <= self.steps}


def claim_output(study: TransferStudy) -> Fingerprints:
    """Claim the folder for this study, and return the fingerprint that is tested.

    Raises UserError: the folder holds another study, or weights or a fingerprint do not fit.
    """
    encoder, card = load_encoder(study.encoder, decoder=study.decoder)
    fingerprints = study.fingerprints or draw_fingerprints(
        card["bits"], study.output, per_image=False
    )
    if fingerprints.bits != encoder.bits:
        raise UserError(
            f"{study.encoder} has {encoder.bits} bits, the fingerprint {fingerprints.bits}"
        )
    training = study.training
    settings: dict[str, object] = {
        "model": training.model,
        "data": [str(Path(folder).resolve()) for folder in training.data_dirs],
        "limit": training.limit,
        "data_sha256": sources_digest(
            {
                str(number): limit_images(open_source(folder), training.limit)
                for number, folder in enumerate(training.data_dirs)
            }
        ),
        "encoder": file_hash(find_weights(study.encoder, "encoder")),
        "strength": study.strength,
        "secret_fingerprint": fingerprints.identity(),
        "seed": training.seed,
        "mirror": training.mirror,
        "image_seed": study.image_seed,
        "target": study.target,
    }
    Manifest.claim(study.output, settings, "transfer")
    return fingerprints


def embed_all(study: TransferStudy, fingerprints: Fingerprints) -> list[tuple[str, str]]:
    """Fingerprint the images of each group, and return those that could not be used.

    Images are cut and resized as the generator's training does it, before they are fingerprinted.
    """
    encoder, card = load_encoder(study.encoder, decoder=study.decoder)
    failed: dict[str, str] = {}
    for group in study.marked:
        output = study.folder("data", group)
        group_fingerprints = fingerprints
        if group != FINGERPRINTED:
            group_fingerprints = draw_fingerprints(card["bits"], output, per_image=group == RANDOM)
        _log.info("embedding: %s", group)
        job = EmbeddingJob(
            source=study.source(),
            output=output,
            encoder=encoder,
            encoder_hash=file_hash(find_weights(study.encoder, "encoder")),
            trainer=make_trainer(**study.options),
            geometry=study.geometry,
            strength=study.strength,
            num_workers=study.training.num_workers,
        )
        done = run_embedding(job, group_fingerprints)
        failed |= dict(done.failed if done else [])
    return sorted(failed.items())


def train_all(study: TransferStudy) -> None:
    """Train a generator for each group, from one seed and in one order of images.

    Raises UserError: images are missing.
    """
    for group in study.groups:
        output = study.folder("training", group)
        whole = output / GENERATOR
        if whole.is_file() and read_card(whole).get("step") == study.steps:
            continue
        number = study.clean.index(group) if group in study.clean else 0
        folders = list(study.training.data_dirs)
        if group in study.marked:
            folders[-1] = str(_embedded(study, group))
        _log.info("training: %s", group)
        settings = replace(
            study.training,
            data_dir=folders[0],
            data_dir_b=folders[1] if len(folders) > 1 else None,
            output_dir=output,
            seed=study.training.seed + number,
            keep_every=study.training.keep_every or max(1, study.steps // _SNAPSHOTS_KEPT),
            resume=(output / "checkpoints").is_dir(),
        )
        train_generator(settings)


def _embedded(study: TransferStudy, group: str) -> Path:
    folder = study.folder("data", group) / FINGERPRINTED_FOLDER
    if not folder.is_dir():
        raise UserError(f"{folder}: no images; run the stage embed first")
    return folder


def generate_all(study: TransferStudy) -> None:
    """Generate images by the last generator and each snapshot, from the same random inputs.

    Raises UserError: no generator was trained.
    """
    for group in study.groups:
        snapshots = study.snapshots(group)
        if not snapshots:
            where = study.folder("training", group)
            raise UserError(f"{where}: no generator; run the stage train first")
        _log.info("generating: %s", group)
        for step, generator in snapshots.items():
            last, there = step == max(snapshots), study.made(group, step)
            count = study.images if last else min(study.images, study.progress_images)
            settings = GenerateSettings(
                generator=generator,
                output_dir=study.made(group, step).parent,
                count=max(count, sum(path.is_file() for path in there.rglob("*.png"))),
                seed=study.image_seed,
                target=study.target,
                cuda=-1 if study.device == "cpu" else int(study.device.partition(":")[2] or 0),
            )
            generate_images(settings, study.inputs())


def run_stages(study: TransferStudy, stages: Sequence[str]) -> None:
    """Run some of the stages but the report, in their order; log images that were unusable."""
    with run_folder(study.output):
        fingerprints = claim_output(study)
        if "embed" in stages:
            for name, reason in embed_all(study, fingerprints):
                _log.warning("unusable: %s: %s", name, reason)
        if "train" in stages:
            train_all(study)
        if "generate" in stages:
            generate_all(study)


@dataclass(frozen=True)
class TransferStudyResult:
    """Result of `transfer_study`.

    Args:
        study: What was studied, with the places of all files.
        stages: Stages that were run.
    """

    study: TransferStudy
    stages: tuple[str, ...]


@exclusive
def transfer_study(settings: TransferStudySettings) -> TransferStudyResult:
    """Fingerprint images, train generators with and without, and generate.

    An interrupted study goes on with what is in the output folder; with more `max_steps` it trains
    on. The stage report is `artfp.transfer.report.report` on the result's study.

    Args:
        settings: Images, generator, encoder, fingerprint, and stages to run.

    Returns:
        The study and the stages that were run.

    Raises:
        UserError: settings that exclude each other, images that cannot be used, a stage whose
            predecessor is missing, or the folder of another study.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from PIL import Image
        >>> draws = np.random.default_rng(0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     photos = Path(folder, "photos")
        ...     photos.mkdir()
        ...     for i in range(2):
        ...         pixels = draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        ...         Image.fromarray(pixels).save(photos / f"{i}.png")
        ...     settings = TransferStudySettings(
        ...         model="dcgan",
        ...         data_dir=str(photos),
        ...         output_dir=Path(folder, "study"),
        ...         stages=("embed",),
        ...         cuda=-1,
        ...         num_workers=0,
        ...     )
        ...     study = transfer_study(settings).study
        ...     key = (study.output / "fingerprint.key.json").is_file()
        >>> study.groups, key
        (['fingerprinted', 'clean'], True)
    """
    settings = settings.resolved()
    _, card = load_encoder(settings.encoder_path, decoder=settings.decoder_path)
    where = settings.trainer_options()
    study = TransferStudy(
        training=GeneratorTrainingSettings.from_mapping(settings.to_mapping()),
        encoder=settings.encoder_path,
        decoder=settings.decoder_path,
        fingerprints=settings.given_fingerprints(card["bits"]),
        strength=settings.strength,
        controls=settings.controls,
        clean_seeds=settings.clean_seeds,
        images=settings.images,
        progress_images=settings.progress_images,
        target=settings.target,
        device=settings.torch_device(),
        options={"accelerator": where["accelerator"], "devices": 1},
    )
    run_stages(study, settings.stages)
    return TransferStudyResult(study, settings.stages)
