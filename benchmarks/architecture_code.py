"""Counts in source files, for benchmarks/architecture.py: packages, imports, docstrings, names."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGE = "artfp"


QUESTION_WORDS = frozenset(("of", "what", "how", "who", "whose", "whether", "where", "in"))
"""First words of docstrings that are no sentence of their own."""


_VERBS = """
accept add advance align analyse append apply ask assess assign attribute average batch begin
blur build calibrate call center centre check choose claim clean close cluster collect combine
compare compute configure convert copy correct correlate count create crop cut deal decide
decode delete derive describe detect determine disable discard display divide download draw drop
embed enable encode end ensure estimate evaluate exclude exit extend extract factor fill filter
find fit flatten fold follow forget format free fuse gather generate get give group hash hide
hold ignore import include initialise insert interpolate invert iterate join keep label leave
limit list load locate log look make map mark mask match measure merge minimise mirror move
multiply name normalise note notice open pack pad parse pass perturb pickle plot pool predict
prepare print process project propose put quantise raise rank read realign receive recompute
record reduce refuse register release remember remove rename render replace report require
rescale reset resize resolve resume return rotate round run sample save say scale score search
see select send set share shift show shuffle silence simulate skip smooth solve sort split
spread stack start stay stop store subtract sum suppress suspend take test time track train
transform translate transpose try turn undo update upsample use validate verify wait walk warn
weigh weight wrap write yield zero
"""


VERBS = frozenset(_VERBS.split())
"""Imperative forms that a docstring may begin with."""


SAME_IN_EACH = frozenset(("COMMAND", "DESCRIPTION", "EPILOG"))
"""Names that every command's module has."""


@dataclass(frozen=True)
class Source:
    """A source file: its path below the root, its text, and its tree if it is no stub."""

    path: str
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        """Folder below artfp/ that it lies in, or "artfp" itself."""
        return package_of(self.path)

    @property
    def module(self) -> str:
        """Dotted name."""
        parts = Path(self.path).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def lines(self) -> int:
        """Number of lines."""
        return self.text.count("\n")


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Tree:
    """The source files of artfp below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        found = sorted((root / PACKAGE).rglob("*.py*"))
        self.files = [
            Source(path.relative_to(root).as_posix(), text, ast.parse(text))
            for path in found
            if path.suffix in (".py", ".pyi")
            for text in [path.read_text("utf-8")]
        ]
        self.sources = [each for each in self.files if each.path.endswith(".py")]

    @cached_property
    def exported(self) -> list[Definition]:
        """Functions and classes that a package's `__init__` exports, where they are defined."""
        by_module = {each.module: each for each in self.sources}
        found: dict[tuple[str, str], Definition] = {}
        for face in self.files:
            if Path(face.path).stem != "__init__":
                continue
            for node in face.tree.body:
                if not isinstance(node, ast.ImportFrom) or node.module is None:
                    continue
                module = f"{face.module}.{node.module}" if node.level == 1 else node.module
                source = by_module.get(module)
                names = {alias.name for alias in node.names}
                for each in source.tree.body if source else []:
                    if isinstance(each, Definition) and each.name in names:
                        found[module, each.name] = each
        return list(found.values())


def package_of(path: str) -> str:
    """Return the folder below artfp/ that a file lies in, or "artfp" itself."""
    parts = path.split("/")
    return parts[1] if len(parts) > 2 else PACKAGE


def sizes(tree: Tree) -> dict[str, dict[str, int]]:
    """Return files and lines of each package, stubs included."""
    found: dict[str, dict[str, int]] = {}
    for each in tree.files:
        size = found.setdefault(each.package, {"files": 0, "lines": 0})
        size["files"] += 1
        size["lines"] += each.lines
    return dict(sorted(found.items()))


def contract(root: Path) -> list[list[str]] | None:
    """Return the layers of import-linter's contract, the highest first; None: there is none."""
    settings = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    for each in settings.get("tool", {}).get("importlinter", {}).get("contracts", []):
        if each["type"] == "layers":
            return [[part.strip() for part in layer.split("|")] for layer in each["layers"]]
    return None


def imports_against(root: Path, layers: Sequence[Sequence[str]]) -> list[str]:
    """Return the imports, anywhere in a file, that run up or between siblings of one layer."""
    level = {part: number for number, layer in enumerate(layers) for part in layer}
    found = []
    for importer, imported in _edges(root):
        own, other = (".".join(module.split(".")[:2]) for module in (importer, imported))
        if own != other and own in level and level.get(other, len(layers)) <= level[own]:
            found.append(f"{importer} -> {imported}")
    return sorted(found)


def _edges(root: Path) -> list[list[str]]:
    """Return all imports of one module of artfp by another, as grimp finds them."""
    code = (
        "import grimp, json\n"
        f"graph = grimp.build_graph('{PACKAGE}', cache_dir=None)\n"
        "modules = sorted(graph.modules)\n"
        "print(json.dumps([[a, b] for a in modules "
        "for b in graph.find_modules_directly_imported_by(a)]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, check=True
    )
    edges: list[list[str]] = json.loads(done.stdout)
    return edges


def definitions(tree: Tree) -> Iterator[tuple[Source, Definition]]:
    """Yield public functions, classes and methods of public classes; of overloads the last."""
    for source in tree.sources:
        for node in source.tree.body:
            if not isinstance(node, Definition) or _is_apart(node):
                continue
            yield source, node
            if isinstance(node, ast.ClassDef):
                for part in node.body:
                    if isinstance(part, Definition) and not _is_apart(part):
                        yield source, part


def _is_apart(node: Definition) -> bool:
    """Private, or one of the signatures of an overloaded function, which has the docstring."""
    overloads = ("overload", "typing.overload")
    return node.name.startswith("_") or any(
        ast.unparse(each) in overloads for each in node.decorator_list
    )


def docstrings(tree: Tree) -> dict[str, Any]:
    """Return how public docstrings of functions, classes, methods and modules begin."""
    texts = [ast.get_docstring(node) for _, node in definitions(tree)]
    texts += [ast.get_docstring(source.tree) for source in tree.sources]
    words = Counter(first_word(text) for text in texts if text)
    total = sum(words.values())
    return {
        "public": len(texts),
        "without": texts.count(None),
        "question_word": sum(words[word] for word in QUESTION_WORDS) / total,
        "verb": sum(count for word, count in words.items() if word in VERBS) / total,
        "first_words": dict(words.most_common(20)),
    }


def first_word(text: str) -> str:
    """Return the first word of a docstring, in lower case."""
    words = text.split(maxsplit=1)
    return words[0].strip("`*.,:;").lower() if words else ""


def sections(tree: Tree) -> dict[str, Any]:
    """Return which docstrings describe arguments, and which have examples.

    Functions count as having arguments if they have any but self and cls; a property has none.
    """
    public = [node for _, node in definitions(tree)]
    functions = [node for node in public if _arguments(node)]
    exported = [node for node in tree.exported if _arguments(node)]
    return {
        "exported": len(tree.exported),
        "exported_with_parameters": len(exported),
        "exported_args": _share("Args:", exported),
        "exported_examples": _share(">>>", tree.exported),
        "public_args": _share("Args:", functions),
        "files_with_examples": sum(">>>" in source.text for source in tree.sources),
        "exported_without_args": _without("Args:", exported),
        "exported_without_examples": _without(">>>", tree.exported),
    }


def _arguments(node: Definition) -> bool:
    if isinstance(node, ast.ClassDef):
        return False
    given = node.args
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return any(name not in ("self", "cls") for name in names) or bool(given.vararg or given.kwarg)


def _share(text: str, nodes: Sequence[Definition]) -> float | None:
    with_it = len(nodes) - len(_without(text, nodes))
    return with_it / len(nodes) if nodes else None


def _without(text: str, nodes: Iterable[Definition]) -> list[str]:
    return sorted(node.name for node in nodes if text not in (ast.get_docstring(node) or ""))


def names_twice(tree: Tree) -> dict[str, list[str]]:
    """Return public names that are defined at the top of several modules, with the modules."""
    places: dict[str, set[str]] = defaultdict(set)
    for source in tree.sources:
        for node in source.tree.body:
            for name in _defined(node):
                if not name.startswith("_") and name not in SAME_IN_EACH:
                    places[name].add(source.module)
    return {name: sorted(found) for name, found in sorted(places.items()) if len(found) > 1}


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, Definition):
        return [node.name]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [
        each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)
    ]


def function_imports(tree: Tree) -> dict[str, int]:
    """Return the number of import statements inside functions, of artfp's modules and of others."""
    nodes = {
        node
        for source in tree.sources
        for function in ast.walk(source.tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    own = sum(_imported(node).split(".")[0] in (PACKAGE, "") for node in nodes)
    return {"artfp": own, "others": len(nodes) - own}


def _imported(node: ast.Import | ast.ImportFrom) -> str:
    """Return the module that a statement imports; "" if its name is relative."""
    if isinstance(node, ast.Import):
        return node.names[0].name
    return "" if node.level else node.module or ""
