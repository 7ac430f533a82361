"""What all commands share: one-line errors, exit codes, help texts, quiet libraries, tables.

Exit codes: 0 done, 2 bad input (one line on stderr), 130 interrupted, 1 anything else.
"""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

import jsonargparse
from rich.console import Console

from artfp.core.errors import UserError, one_line

Action = TypeVar("Action")

_PLAIN_WIDTH = 120

# The modules that chatter, since importing Lightning sets the levels of the loggers above them.
_QUIET_LOGGERS = (
    "pytorch_lightning.utilities.rank_zero",
    "pytorch_lightning.trainer.connectors.signal_connector",
    "lightning_fabric.utilities.distributed",
    "lightning_fabric.utilities.rank_zero",
    "lightning_fabric.utilities.seed",
)

# Matched from the start of the message.
_QUIET_WARNINGS = (
    r".*does not have many workers",
    r".*is smaller than the logging interval",
    r".*Checkpoint directory .* exists and is not empty",
    r".*isinstance\(treespec, LeafSpec\)",
    r".*'pin_memory' argument is set as true but no accelerator",
    r".*GPU available but not used",
    r".*predict returned None",
    r".*`weights_only` was not set",
)


class _HelpFormatter(jsonargparse.DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Types and defaults beside each option; description and epilog laid out as written."""


class _Parser(jsonargparse.ArgumentParser):
    """A parser whose errors are one line on stderr and exit code 2."""

    _config_file = ""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print `prog: error: ...` on one line and exit with 2."""
        where = f"{self._config_file}: " if self._config_file else ""
        self.exit(2, f"{self.prog}: error: {where}{self._reword(message)}\n")

    def parse_path(self, cfg_path: Any, *args: Any, **kwargs: Any) -> jsonargparse.Namespace:
        """Parse a configuration file; an error in it names the file."""
        self._config_file = str(cfg_path)
        try:
            return super().parse_path(cfg_path, *args, **kwargs)
        except UnicodeDecodeError:
            self.error("not a text file in UTF-8; expected YAML")
        except OSError as error:
            self.error(error.strerror or str(error))
        finally:
            self._config_file = ""

    def _reword(self, message: str) -> str:
        """Turn a message of jsonargparse or argparse into one line in the user's words."""
        text = one_line(" ".join(message.split()))
        text = re.sub(r"<class 'NoneType'>", "null", text)
        text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text)
        text = re.sub(r"typing\.Literal\[(.*?)\]", r"one of \1", text)
        text = re.sub(
            r"Does not validate against any of the Union subtypes Subtypes: \[(.*?)\] Errors: .*"
            r" Given value: (.*)",
            r"expected one of \1; found \2",
            text,
        )
        text = re.sub(r"Expected an? (.*?)\. Got value: ", r"expected \1; found ", text)
        text = re.sub(r"^Option ('.*') is not accepted", r"\1 in --config is not an option", text)
        if key := re.match(r'Parser key "([\w.]+)": ', text):
            return f"{self._flag(key[1])}: {text[key.end() :]}"
        if missing := re.match("the following arguments are required: (.*)", text):
            return "missing " + ", ".join(map(self._flag, missing[1].split(", ")))
        if unknown := re.match("unrecognized arguments: (.*)", text):
            return f"unrecognized arguments: {unknown[1]}; {self._hint(unknown[1].split()[0])}"
        return text

    def _flag(self, dest: str) -> str:
        """Name an argument as the user types it."""
        for action in self._actions:
            if action.dest == dest and action.option_strings:
                return action.option_strings[-1]
        return dest

    def _hint(self, word: str) -> str:
        """Say where to look instead of an option that does not exist."""
        known = [option for action in self._actions for option in action.option_strings]
        close = difflib.get_close_matches(word.split("=")[0], known, n=1)
        return f"did you mean {close[0]}?" if close else f"see {self.prog} --help"


def make_parser(prog: str, description: str, epilog: str = "") -> jsonargparse.ArgumentParser:
    """Make a command's parser: `--config FILE.yaml`, `--print_config`, defaults in the help.

    Options given after `--config` override the file. Every error is one line on stderr,
    `prog: error: ...`, with exit code 2. Abbreviated options are errors.
    """
    parser = _Parser(
        prog=prog,
        description=description,
        epilog=epilog,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        action="config",
        metavar="FILE.yaml",
        help="Read options from a YAML file; those given after it override the file.",
    )
    return parser


def choose(actions: Mapping[str, Action], words: Sequence[str], text: str) -> Action | None:
    """The action that the first word names; None if it asks for help, which is then printed.

    Args: `text`, the help of the command.
    Raises UserError: no action, or one that is not there.
    """
    if words[:1] in (["-h"], ["--help"]):
        print(text)
        return None
    known = ", ".join(actions)
    if not words:
        raise UserError(f"no action; choose from {known}")
    if words[0] not in actions:
        raise UserError(f"unknown action {words[0]!r}; choose from {known}")
    return actions[words[0]]


def run(
    command: Callable[[Sequence[str] | None], int],
    argv: Sequence[str] | None = None,
    prog: str = "artfp",
) -> int:
    """Call `command(argv)` and return the exit code of the process.

    A UserError is one line `prog: error: ...` on stderr and 2; an interrupt is one line and 130,
    also where a library turned it into an exit; SIGTERM during a training is one line and 143; a
    reader that went away (`| head`) is silent and 1. A SystemExit with a number, such as the
    parser's, returns it. Other exceptions pass.
    """
    try:
        code = command(argv)
        sys.stdout.flush()
        return code
    except UserError as error:
        return _say(f"{prog}: error: {error}", 2)
    except KeyboardInterrupt:
        return _say(f"{prog}: interrupted", 130)
    except BrokenPipeError:
        # Python flushes stdout once more at its end: give it a place to write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            return _say(f"{prog}: interrupted", 130)
        if isinstance(stop.code, int):
            return stop.code
        if stop.code is None:  # how Lightning leaves a loop after a SIGTERM
            return _say(f"{prog}: terminated", 143)
        raise


def _say(line: str, code: int) -> int:
    """Print one line on stderr and hand on the exit code."""
    print(line, file=sys.stderr)
    return code


def quiet_libraries() -> None:
    """Silence the libraries' chatter that tells a user of a command nothing.

    Lightning's loggers print warnings and worse only, and warnings that do not matter here are
    dropped. Call it before a Trainer is made; it imports neither torch nor Lightning.
    """
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for pattern in _QUIET_WARNINGS:
        warnings.filterwarnings("ignore", message=pattern)


def console() -> Console:
    """A rich console on stdout, for tables; 120 columns wide where stdout is no terminal."""
    plain = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=_PLAIN_WIDTH if plain else None, highlight=False)
