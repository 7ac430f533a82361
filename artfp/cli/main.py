"""The `artfp` command: finds the subcommand and calls it; imports nothing heavy by itself."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from artfp import __version__
from artfp.core.errors import one_line


class Command(NamedTuple):
    """A command: the module whose `main(argv)` runs it, and its line in the help."""

    module: str
    summary: str


COMMANDS = {
    "train": Command(
        "artfp.watermark.command_train", "Train an encoder and a decoder on a folder of images"
    ),
    "embed": Command(
        "artfp.watermark.command_embed", "Embed a fingerprint in every image of a data set"
    ),
    "detect": Command(
        "artfp.audit.command_detect", "Decode images and say whether a fingerprint is in them"
    ),
    "demo": Command(
        "artfp.watermark.demo", "Run the whole chain on a few photographs, without a GPU"
    ),
    "measure": Command(
        "artfp.watermark.command_measure", "Measure image fidelity, bit accuracy and robustness"
    ),
    "distance": Command(
        "artfp.metrics.command", "Tell how far sets of images are apart, in features"
    ),
    "robustness": Command(
        "artfp.robustness.command", "Compare watermarks under perturbations of growing strength"
    ),
    "attribute": Command(
        "artfp.cli.attribute", "Tell which of several known sources made an image"
    ),
    "gan": Command(
        "artfp.generators.command", "Train generative models on images; generate with them"
    ),
    "transfer": Command(
        "artfp.transfer.command", "Find out whether a fingerprint comes through a generator"
    ),
    "compare": Command(
        "artfp.comparison.command", "Choose sources by fingerprints and by traces, in one table"
    ),
    "secrecy": Command(
        "artfp.secrecy.command", "Find out whether fingerprinted images can be told without the key"
    ),
    "denoiser": Command(
        "artfp.passive.residuals.command", "Train the denoiser of the residual extractor learned"
    ),
    "calibrate": Command(
        "artfp.watermark.command_calibrate",
        "Check a decoder on clean images; detect tells its alarms",
    ),
    "power": Command("artfp.audit.command_power", "Say how many images a verdict takes"),
    "keygen": Command(
        "artfp.ownership.command_keygen",
        "Draw a secret key; commit to a fingerprint; check a commitment",
    ),
    "registry": Command("artfp.ownership.command_registry", "Keep who owns which fingerprint"),
}


def main(argv: Sequence[str] | None = None, command: str | None = None) -> int:
    """Run `artfp COMMAND ...` and return its exit code.

    `argv` is everything after the program's name, by default the process's. With `command`, as
    in the scripts at the root of the repository, `argv` is that command's own arguments.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if command is not None:
        words.insert(0, command)
    if not words:
        return _refuse("no command")
    name, *rest = words
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name == "--version":
        print(f"artfp {__version__}")
        return 0
    if name not in COMMANDS:
        return _refuse(f"unknown command '{one_line(name)}'", name)

    from artfp.core.command import run

    def load_and_call(arguments: Sequence[str] | None) -> int:
        # In here, so that an interrupt during a slow import is told in one line as well.
        code: int = importlib.import_module(COMMANDS[name].module).main(arguments)
        return code

    return run(load_and_call, rest, prog=f"artfp {name}")


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: artfp [--help] [--version] COMMAND ...",
            "",
            "Fingerprint a training set and find the models that were trained on it.",
            "",
            "commands:",
            *lines,
            "",
            "artfp COMMAND --help tells a command's options.",
        ]
    )


def _refuse(what: str, name: str = "") -> int:
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"choose from {', '.join(COMMANDS)}"
    print(f"artfp: error: {what}; {hint}", file=sys.stderr)
    return 2
