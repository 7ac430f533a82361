"""The parser of commands that have no settings class yet."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jsonargparse

from artfp.core.console import prepare_terminal
from artfp.core.errors import UserError
from artfp.core.parser import _ParserErrors

Action = TypeVar("Action")
Act = TypeVar("Act")


class _HelpFormatter(jsonargparse.DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Types and defaults beside each option; description and epilog laid out as written."""


class _Parser(_ParserErrors, jsonargparse.ArgumentParser):
    """A parser whose errors are one line on stderr and exit code 2."""


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


def parsed_action(
    prog: str,
    actions: Mapping[str, tuple[Callable[[str], Any], Act]],
    argv: Sequence[str] | None,
    text: str,
) -> tuple[Act, Any, Any, list[str]] | None:
    """What acts, its arguments, its parser, and all words, of a command with actions.

    `actions` have what makes the parser and what acts; `argv` is by default the process's. None:
    the words ask for help, which is `text` and was printed. Raises UserError: no such action.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    action = choose(actions, words, text)
    if action is None:
        return None
    describe, act = action
    parser = describe(f"{prog} {words[0]}")
    args = parser.parse_args(words[1:])
    prepare_terminal()
    return act, args, parser, words
