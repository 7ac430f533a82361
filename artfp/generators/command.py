"""`artfp gan`: train generative models on any images, and generate with them."""

from __future__ import annotations

from artfp.core.command import (
    Command,
    CommandGroup,
    Entry,
    count_images,
    report_left_out,
    report_unusable,
)
from artfp.core.console import console, print_next_step
from artfp.generators.settings import (
    AlterSettings,
    GenerateSettings,
    ListGeneratorsSettings,
    TrainGeneratorSettings,
)


def _list(settings: ListGeneratorsSettings) -> int:
    from artfp.data.tables import rich_table
    from artfp.generators.report import MODEL_COLUMNS, describe_models

    console().print(rich_table(describe_models(), MODEL_COLUMNS, boxed=True))
    if settings.departures:
        from artfp.generators.registry import generative_models

        for name, model in generative_models().items():
            console().print(f"{name}: {model.departures}", soft_wrap=True, markup=False)
    return 0


def _train(settings: TrainGeneratorSettings) -> int:
    from artfp.generators.training.fit import train_generator

    trained = train_generator(settings)
    if trained is None:
        return 0
    console().print(f"wrote {trained.path}", soft_wrap=True, markup=False)
    print_next_step(f"artfp gan generate {trained.path} --count 1000 --output_dir generated")
    return report_left_out(len(trained.left_out))


def _generate(settings: GenerateSettings) -> int:
    from artfp.generators.generate import generate_images

    done = generate_images(settings)
    before = f", {done.before} of them before" if done.before else ""
    console().print(
        f"{count_images(done.images)} in {done.folder}{before}", soft_wrap=True, markup=False
    )
    return report_unusable(done.failed)


def _alter(settings: AlterSettings) -> int:
    from artfp.generators.perturb_weights import alter_weights

    for altered in alter_weights(settings):
        console().print(f"wrote {altered.path}", soft_wrap=True, markup=False)
    return 0


LIST_MODELS = Command(
    ListGeneratorsSettings,
    _list,
    "List the generative models, with their papers and numbers of parameters.",
)

TRAIN_MODEL = Command(
    TrainGeneratorSettings,
    _train,
    """\
Train a generative model on images: their centre squares, resized.

In --output_dir: generator.safetensors, card.json, sample.png, config.yaml (the settings used),
checkpoints/, snapshots/ (with --keep_every) and tensorboard/ (watch it with:
tensorboard --logdir OUTPUT_DIR/tensorboard).""",
    """\
examples:
  artfp gan train dcgan --data_dir out/fingerprinted_images --output_dir runs/dcgan
  artfp gan train dcgan --init runs/dcgan --data_dir other/ --output_dir tuned --max_steps 500

exit codes: 0 trained, 1 trained, but some images could not be used (each is named), 130 interrupted
(go on with --resume)""",
)

GENERATE = Command(
    GenerateSettings,
    _generate,
    """\
Write images of a trained generator to OUTPUT_DIR/images. The same seed gives the same images; a
run that was stopped goes on when the command is given again.""",
    """\
examples:
  artfp gan generate runs/dcgan/generator.safetensors --count 1000 --output_dir generated

exit codes: 0 done, 1 some input images could not be used""",
)

ALTER = Command(
    AlterSettings,
    _alter,
    """\
Write altered copies of a trained generator, a file for each strength, to test whether a fingerprint
survives. Altered are the matrices of linear layers and the kernels of convolutions; each file's
card holds the alteration and the hash of the original.""",
    """\
examples:
  artfp gan alter runs/dcgan/generator.safetensors --quantise 8,4 --output_dir altered
  artfp gan alter runs/dcgan/generator.safetensors --noise 0.01,0.1 --output_dir noisy

exit codes: 0 done""",
)

COMMAND = CommandGroup(
    "Train generative models on images, fingerprinted or not, and generate with them.",
    {
        "list": Entry("artfp.generators.command:LIST_MODELS", "List the models with their papers"),
        "train": Entry(
            "artfp.generators.command:TRAIN_MODEL", "Train one of them on a folder of images"
        ),
        "generate": Entry(
            "artfp.generators.command:GENERATE", "Generate images with a trained generator"
        ),
        "alter": Entry(
            "artfp.generators.command:ALTER", "Add noise to its weights, quantise or prune them"
        ),
    },
    """\
examples:
  artfp gan train dcgan --data_dir out/fingerprinted_images --output_dir runs/dcgan
  artfp gan generate runs/dcgan/generator.safetensors --count 1000 --output_dir generated
  artfp gan alter runs/dcgan/generator.safetensors --quantise 8,4 --output_dir altered

exit codes: 0 done, 1 some input images could not be used""",
)
