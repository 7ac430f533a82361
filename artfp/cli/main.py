"""The `artfp` command: finds the command and calls it; imports nothing heavy by itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from artfp import __version__
from artfp.core.command import CommandGroup, Entry, run

COMMANDS = {
    "train": Entry(
        "artfp.watermark.command_train:COMMAND",
        "Train an encoder and a decoder on a folder of images",
    ),
    "embed": Entry(
        "artfp.watermark.command_embed:COMMAND", "Embed a fingerprint in every image of a data set"
    ),
    "detect": Entry(
        "artfp.audit.command_detect:COMMAND",
        "Decode images and test them for fingerprints",
    ),
    "demo": Entry(
        "artfp.watermark.command_demo:COMMAND",
        "Run the whole chain on a few photographs, without a GPU",
    ),
    "measure": Entry(
        "artfp.watermark.command_measure:COMMAND",
        "Measure image fidelity, bit accuracy and robustness",
    ),
    "distance": Entry(
        "artfp.metrics.command:COMMAND", "Measure how far sets of images are apart, in features"
    ),
    "robustness": Entry(
        "artfp.robustness.command:COMMAND",
        "Measure watermarks and attributors under perturbations",
    ),
    "attribute": Entry(
        "artfp.cli.attribute:COMMAND",
        "Attribute images to known sources by the traces that these leave",
    ),
    "gan": Entry(
        "artfp.generators.command:COMMAND", "Train generative models on images; generate with them"
    ),
    "transfer": Entry(
        "artfp.transfer.command:COMMAND",
        "Measure whether a fingerprint transfers through a generator",
    ),
    "compare": Entry(
        "artfp.comparison.command:COMMAND",
        "Compare proactive and passive attribution in one table",
    ),
    "secrecy": Entry(
        "artfp.secrecy.command:COMMAND",
        "Measure how well fingerprinted images are detected without the key",
    ),
    "denoiser": Entry(
        "artfp.passive.residuals.command:COMMAND",
        "Train the denoiser of the residual extractor learned",
    ),
    "calibrate": Entry(
        "artfp.watermark.command_calibrate:COMMAND",
        "Check a decoder on clean images; detect prints its warnings",
    ),
    "export": Entry(
        "artfp.watermark.command_export:COMMAND",
        "Write weights in the published form, for the published scripts",
    ),
    "power": Entry("artfp.audit.command_power:COMMAND", "Compute how many images a match takes"),
    "keygen": Entry(
        "artfp.ownership.command_keygen:COMMAND",
        "Draw a secret key; commit to a fingerprint; check a commitment",
    ),
    "registry": Entry(
        "artfp.ownership.command_registry:COMMAND", "Keep the owners of fingerprints"
    ),
    "completion": Entry(
        "artfp.cli.completion:COMMAND", "Print a script for tab completion in a shell"
    ),
}


ARTFP = CommandGroup(
    "Fingerprint a training set and find the models that were trained on it.",
    COMMANDS,
    "artfp --version prints the version.",
    noun="command",
)


def main(
    argv: Sequence[str] | None = None, command: str | None = None, prog: str | None = None
) -> int:
    """Run `artfp COMMAND ...` and return its exit code.

    Args:
        argv: Words after the program's name, by default the process's.
        command: A command, whose own arguments `argv` then are, as in the scripts at the root of
            the repository.
        prog: With `command`, the program's name in help and errors; by default `artfp COMMAND`.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if command is not None:
        name = f"artfp {command}" if prog is None else prog
        return run(lambda: ARTFP.load(command).main(words, name), name)
    return run(lambda: _main(words), "artfp")


def _main(words: list[str]) -> int:
    if words[:1] == ["--version"]:
        print(f"artfp {__version__}")
        return 0
    return ARTFP.main(words, "artfp")
