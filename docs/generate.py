"""Pages of the reference that are made from the code: the commands and the public names."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from griffe import Extension, Object
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from artfp.cli.main import ARTFP
from artfp.core.command import Command, CommandGroup
from artfp.core.help import help_text

ROOT = Path(__file__).resolve().parents[1]


class Examples(Extension):
    """Show a docstring's `Example:` as code: griffe knows the section by its plural alone."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Rename the section of one object."""
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {
        "reference/commands.md": commands_page(),
        "reference/api.md": api_page(),
        "reference/measurements.md": measurements_page(),
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def commands_page() -> str:
    """Return the help of every command in Markdown."""
    lines = [
        "# Commands",
        "",
        "`artfp COMMAND --help` prints the same. `train.py`, `embed_fingerprints.py` and",
        "`detect_fingerprints.py` at the root of the repository are `artfp train`, `embed` and",
        "`detect`; `python -m artfp` is `artfp`. Every option can stand in a YAML file",
        "(`--config FILE.yaml`; `--print_config` writes one) or in an environment variable",
        "(`ARTFP_DATA_DIR` for `--data_dir`).",
        "",
    ]
    return "\n".join([*lines, *_group("artfp", ARTFP, 2)])


def _group(prog: str, group: CommandGroup, level: int) -> list[str]:
    lines: list[str] = []
    for name, entry in group.entries.items():
        found: Command[Any] | CommandGroup = group.load(name)
        words = f"{prog} {name}"
        lines += [f"{'#' * level} {words}", "", f"{entry.summary}.", ""]
        if isinstance(found, CommandGroup):
            lines += _group(words, found, level + 1)
        else:
            text = help_text(found.settings, words, found.description, found.epilog)
            lines += ["```text", text.rstrip(), "```", ""]
    return lines


def api_page() -> str:
    """Return a page with the public names of every package, as mkdocstrings reads them."""
    lines = [
        "# Python API",
        "",
        "The public names of each package, loaded when they are asked for. Settings are",
        "described with their [commands](commands.md).",
        "",
    ]
    first, *stubs = sorted((ROOT / "artfp").rglob("__init__.pyi"), key=lambda path: path.parts[:-1])
    exports = {_package(stub): _exports(stub) for stub in stubs}
    described = {
        f"{package}.{module}.{name}" for package in exports for module, name in exports[package]
    }
    lines += ["## artfp", "", "The names needed first; each is described in its package below.", ""]
    own = [f"artfp.{module}.{name}" for module, name in _exports(first)]
    lines += [f"- [`{name.rpartition('.')[2]}`][{name}]" for name in own if name in described]
    lines += ["", *(f"::: {name}" for name in own if name not in described), ""]
    for package, names in exports.items():
        lines += [
            f"## {package}",
            "",
            *(f"::: {package}.{module}.{name}\n" for module, name in names),
        ]
    return "\n".join(lines)


def _package(stub: Path) -> str:
    return ".".join(stub.relative_to(ROOT).parent.parts)


def measurements_page() -> str:
    """Return the record of all measurements, which stands beside its files in the repository."""
    text = (ROOT / "benchmarks" / "results" / "README.md").read_text()
    return text.replace("](../../docs/", "](../")


def _exports(stub: Path) -> list[tuple[str, str]]:
    """The module, relative to the package, and the name of each export."""
    return [
        (node.module, alias.name)
        for node in ast.parse(stub.read_text()).body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    ]
