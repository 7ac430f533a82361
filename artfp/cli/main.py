"""The `artfp` command: finds the subcommand and calls it; imports nothing heavy by itself."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence

from artfp import __version__
from artfp.errors import one_line

# Each command is the module of its name beside this one.
COMMANDS = {
    "train": "Train an encoder and a decoder on a folder of images",
    "embed": "Embed a fingerprint in every image of a data set",
    "detect": "Decode images and say whether a fingerprint is in them",
    "demo": "Run the whole chain on a few photographs, without a GPU",
    "measure": "Measure image fidelity, bit accuracy and robustness",
    "distance": "Tell how far sets of images are apart, in features",
    "robustness": "Compare watermarks under perturbations of growing strength",
    "attribute": "Tell which of several known sources made an image",
    "gan": "Train generative models on images; generate with them",
    "transfer": "Find out whether a fingerprint comes through a generator",
    "compare": "Choose sources by fingerprints and by traces, in one table",
    "secrecy": "Find out whether fingerprinted images can be told without the key",
    "denoiser": "Train the denoiser of the residual extractor learned",
    "calibrate": "Check a decoder on clean images; detect tells its alarms",
    "power": "Say how many images a verdict takes",
    "keygen": "Draw a secret key; commit to a fingerprint; check a commitment",
    "registry": "Keep who owns which fingerprint",
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

    from artfp.cli.base import run

    def load_and_call(arguments: Sequence[str] | None) -> int:
        # In here, so that an interrupt during a slow import is told in one line as well.
        code: int = importlib.import_module(f"artfp.cli.{name}").main(arguments)
        return code

    return run(load_and_call, rest, prog=f"artfp {name}")


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, text in COMMANDS.items()]
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
