"""YAML files of settings, within bounds that are checked before they are read."""

from __future__ import annotations

from functools import cache
from typing import Any

YAML_MODE = "bounded_yaml"
"""Name of the parser mode of jsonargparse."""

MOST_YAML = 256 * 1024
"""Bytes of a file of settings, at most."""

_DEEPEST_YAML = 20
_BRACKETS = frozenset("&*[{")


@cache
def set_yaml_loader() -> None:
    """Have jsonargparse read YAML as always, but within bounds that are checked before."""
    import jsonargparse
    import yaml

    load = jsonargparse.get_loader("yaml")

    def load_bounded(text: str) -> Any:
        if len(text) > MOST_YAML:
            raise yaml.YAMLError(f"more than {MOST_YAML >> 10} KiB")
        if not _BRACKETS.isdisjoint(text):
            try:
                _check_yaml(text)
            except yaml.MarkedYAMLError as error:  # without its excerpt of the text
                where = getattr(error.problem_mark or error.context_mark, "line", None)
                line = "" if where is None else f" in line {where + 1}"
                said = " ".join(filter(None, (error.context, error.problem)))
                raise yaml.YAMLError(said + line) from None
        return load(text)

    def dump(values: Any) -> str:
        text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        return text

    jsonargparse.set_loader(YAML_MODE, load_bounded, (yaml.YAMLError,))
    jsonargparse.set_dumper(YAML_MODE, dump)


def _check_yaml(text: str) -> None:
    """Refuse aliases, which can stand for themselves or for a billion values, and deep nesting."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise yaml.YAMLError(f"line {line}: aliases are not taken")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST_YAML:
            raise yaml.YAMLError(f"nested deeper than {_DEEPEST_YAML} levels")
