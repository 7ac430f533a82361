"""Help of commands: options in titled groups, by argparse, which needs no heavy imports."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import fields
from pathlib import Path

from artfp.core.options import Option, options, options_by_group
from artfp.core.settings import Settings

ENVIRONMENT = "ARTFP"
"""Prefix of environment variables: `ARTFP_DATA_DIR` for `--data_dir`."""


COMMON = """\
  --config FILE.yaml    Read options from a YAML file; those given after it override the file.
  --print_config        Print the options as YAML, which --config reads, and exit.
  -q, --quiet           Print warnings and results only, without progress.
  -v, --verbose         Print details as well.
  -h, --help            Print this help and exit.

Every option can also be set by an environment variable: {prefix}_{key} for {flag}.
"""


EXIT_CODES = """\
exit codes of every command: 2 bad input or a full disk, 70 a crash (the line on stderr names a file
with the trace), 130 interrupted, 141 the reader of the output went away, 143 terminated"""


def help_text(settings: type[Settings], prog: str, description: str = "", epilog: str = "") -> str:
    """Return the help of a command, laid out as argparse does, in titled groups."""
    parser = plain_parser(settings, prog, description)
    example = next((o for o in options(settings) if not o.hidden), None)
    key, flag = (example.key, example.flag) if example else ("SEED", "--seed")
    common = COMMON.format(prefix=ENVIRONMENT, key=key.upper(), flag=flag)
    parts = [
        parser.format_help().rstrip("\n"),
        f"common options:\n{common.rstrip()}",
        epilog,
        EXIT_CODES,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def plain_parser(
    settings: type[Settings], prog: str, description: str = ""
) -> argparse.ArgumentParser:
    """Return an argparse parser of the same options, for the help and for tab completion."""
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=_usage(settings, prog),
        description=description,
        formatter_class=_HelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    for title, members in options_by_group(settings):
        group = parser.add_argument_group(title)
        for found in members:
            text = _help_with_default(found).replace("%", "%%")
            if found.is_switch:
                group.add_argument(*found.flags, action="store_true", help=text)
            else:
                group.add_argument(
                    *found.flags,
                    metavar=_metavar(found),
                    nargs=found.nargs,
                    choices=None if found.is_sequence else found.choices or None,
                    help=text,
                )
    return parser


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Option strings in a column of 24, texts to a width of 100."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=24, width=100)


def _usage(settings: type[Settings], prog: str) -> str:
    words = [prog]
    for found in positional_options(settings):
        several = " ..." if found.is_sequence else ""
        words.append(_metavar(found) + several if found.required else f"[{_metavar(found)}]")
    for found in (found for found in options(settings) if not found.hidden):
        if found.required and not found.positional:
            words.append(f"{found.flag} {_metavar(found)}")
    return " ".join([*words, "[options]"])


def _metavar(found: Option) -> str:
    if found.metavar:
        return found.metavar
    if found.choices:
        return "{" + ",".join(map(str, found.choices)) + "}"
    names = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH", bool: "{true,false}"}
    if found.is_sequence:
        return f"A{found.separator}..." if found.separator else found.name.upper()
    return "|".join(dict.fromkeys(names.get(member, "VALUE") for member in found.alternatives))


def _help_with_default(found: Option) -> str:
    """The help, with the default as it would be typed."""
    default = found.default
    shown = found.help + (f" {found.flag} itself may be left out." if found.positional else "")
    if found.required:
        return f"{shown} (required)"
    if default is None or found.is_switch or default in ("", ()):
        return shown
    if isinstance(default, tuple):
        joined = map(str, default)
        text = found.separator.join(joined) if found.separator else shlex.join(joined)
    elif isinstance(default, bool):
        text = str(default).lower()
    else:
        text = shlex.quote(str(default))
    return f"{shown} (default: {text})"


def positional_options(settings: type[Settings]) -> list[Option]:
    """The options whose values may be given without a flag, those of base classes first."""
    known = {o.name: o for o in options(settings)}
    return [known[field.name] for field in fields(settings) if known[field.name].positional]
