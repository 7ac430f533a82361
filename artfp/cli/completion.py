"""`artfp completion`: tab completion of commands, options and choices in a shell."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from artfp.core.command import Command, CommandGroup
from artfp.core.help import plain_parser
from artfp.core.options import option, options
from artfp.core.settings import Settings

DESCRIPTION = "Print a script that makes a shell complete artfp's commands, options and choices."

EPILOG = """\
examples:
  artfp completion bash > ~/.local/share/bash-completion/completions/artfp
  artfp completion zsh > ~/.zfunc/_artfp          (with ~/.zfunc in fpath)
  artfp completion tcsh >> ~/.tcshrc"""


@dataclass(frozen=True, kw_only=True)
class CompletionSettings(Settings):
    """Tab completion.

    Args:
        shell: Shell that the script is for.
    """

    title: ClassVar[str] = "completion"

    shell: Literal["bash", "zsh", "tcsh"] = option(positional=True)


def completion_script(commands: CommandGroup, shell: str) -> str:
    """Return the script that completes `artfp` in a shell.

    Args:
        commands: The commands of artfp, each of which is imported for its options.
        shell: bash, zsh or tcsh.
    """
    import shtab

    parser = argparse.ArgumentParser(prog="artfp")
    parser.add_argument("--version", action="store_true", help="Print the version")
    _add_group(parser, commands)
    script: str = shtab.complete(parser, shell=shell)
    return script


def _add_group(parser: argparse.ArgumentParser, group: CommandGroup) -> None:
    members = parser.add_subparsers()
    for name, entry in group.entries.items():
        found = group.load(name)
        if isinstance(found, CommandGroup):
            _add_group(members.add_parser(name, help=entry.summary), found)
        else:
            options_of = _command_parser(found)
            members.add_parser(name, help=entry.summary, parents=[options_of], add_help=False)


def _command_parser(command: Command[Any]) -> argparse.ArgumentParser:
    import shtab

    parser = plain_parser(command.settings, "artfp")
    paths = {
        flag
        for found in options(command.settings)
        if Path in found.alternatives or found.metavar == "IMAGES"
        for flag in found.flags
    }
    for action in parser._actions:
        if paths & set(action.option_strings):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    config = parser.add_argument("--config", metavar="FILE.yaml", help="Read options from YAML")
    config.complete = shtab.FILE  # type: ignore[attr-defined]
    for flag in ("--print_config", "--quiet", "--verbose", "--help"):
        parser.add_argument(flag, action="store_true", help=flag.strip("-"))
    return parser


def _completion(settings: CompletionSettings) -> int:
    from artfp.cli.main import ARTFP

    print(completion_script(ARTFP, settings.shell))
    return 0


COMMAND = Command(CompletionSettings, _completion, DESCRIPTION, EPILOG)
