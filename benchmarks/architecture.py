"""How the code is laid out and documented, in figures that can be compared between commits.

    python benchmarks/architecture.py                  # the files of this working tree
    python benchmarks/architecture.py --before v1.0    # also those of an older commit

It reads source files and git's history; of artfp it runs `artfp --help` and `artfp detect --help`
alone. What is counted stands at each function.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

import report

from artfp.core.console import console
from artfp.data.tables import Column, rich_table

ROOT = Path(__file__).resolve().parents[1]
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

MOST_FILES = 20
"""Files of a commit, at most, whose pairs count as changed together: more is a mass change."""

_MOVED = 0.4  # share of a deleted file's lines that must be found in the file it was folded into
_RUNS = 9


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


def changed_together(repository: Path, revision: str, until: str = "") -> dict[str, Any]:
    """Return how often two files changed in one commit, and in how many of these across packages.

    A file is where it lies at the revision, through renames and through being folded into another
    file; files that are gone do not count, nor do commits of more than MOST_FILES files. Only
    commits up to `until` count, so that two layouts can be judged by the same changes.
    """
    history = _History(repository)
    counted = set(_git(repository, "rev-list", until or revision).split())
    taken = [(commit, history.take(commit, rows)) for commit, rows in _log(repository, revision)]
    commits = [changed for commit, changed in taken if commit in counted]
    pairs: Counter[tuple[str, str]] = Counter()
    used = 0
    for changed in commits:
        files = sorted({path for each in changed if (path := history.path(each)) is not None})
        if 1 < len(changed) <= MOST_FILES and len(files) > 1:
            used += 1
            pairs.update(combinations(files, 2))
    across = {pair: n for pair, n in pairs.items() if package_of(pair[0]) != package_of(pair[1])}
    total = sum(pairs.values())
    return {
        "commits": used,
        "pairs": total,
        "across": sum(across.values()),
        "share": sum(across.values()) / total if total else None,
        "different_pairs_share": len(across) / len(pairs) if pairs else None,
    }


def _git(repository: Path, *words: str) -> str:
    command = ["git", "-C", str(repository), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _log(repository: Path, revision: str) -> Iterator[tuple[str, list[list[str]]]]:
    """Yield commits, the oldest first, with (status, path, new path) of each changed file."""
    text = _git(
        repository, "-c", "diff.renameLimit=0", "log", "--reverse", "--no-merges", "-M40%",
        "--name-status", "--format=%x00%H", revision, "--", f"{PACKAGE}/*.py",
    )  # fmt: skip
    for block in text.split("\0")[1:]:
        commit, *rows = [line for line in block.split("\n") if line]
        yield commit, [row.split("\t") for row in rows]


class _History:
    """Which files are one and the same as time goes on; each is known by a number."""

    def __init__(self, repository: Path) -> None:
        self.repository = repository
        self.numbers: dict[str, int] = {}
        self.folded: dict[int, int] = {}
        self.count = 0

    def take(self, commit: str, rows: list[list[str]]) -> set[int]:
        """Take a commit's changes; the numbers of the files that it changed."""
        changed: set[int] = set()
        gone: list[tuple[str, int]] = []
        moved = [(row[1], row[2]) for row in rows if row[0][0] == "R"]
        numbers = {new: self._number(old) for old, new in moved}
        for old, _ in moved:
            self.numbers.pop(old, None)
        self.numbers |= numbers
        changed.update(numbers.values())
        for status, *paths in rows:
            if status[0] == "D":
                gone.append((paths[0], self.numbers.pop(paths[0], -1)))
            elif status[0] in "AMC":
                changed.add(self._number(paths[-1]))
        for path, number in gone:
            target = self._taker(commit, path, rows)
            if number >= 0:
                changed.add(number)
                if target is not None:
                    self.folded[number] = self._number(target)
        return changed

    def path(self, number: int) -> str | None:
        """Return where a file lies in the end; None: it is gone."""
        while number in self.folded:
            number = self.folded[number]
        return self._places.get(number)

    @cached_property
    def _places(self) -> dict[int, str]:
        return {number: path for path, number in self.numbers.items()}

    def _number(self, path: str) -> int:
        if path not in self.numbers:
            self.numbers[path] = self.count
            self.count += 1
        return self.numbers[path]

    def _taker(self, commit: str, path: str, rows: list[list[str]]) -> str | None:
        """Return the file that most lines of a deleted one went to."""
        lines = _lines(self._show(f"{commit}^", path))
        best, most = None, _MOVED * len(lines)
        for status, *paths in rows:
            if status[0] != "D" and lines:
                found = len(lines & _lines(self._show(commit, paths[-1])))
                if found > most:
                    best, most = paths[-1], found
        return best

    def _show(self, commit: str, path: str) -> str:
        try:
            return _git(self.repository, "show", f"{commit}:{path}")
        except subprocess.CalledProcessError:
            return ""


def _lines(text: str) -> set[str]:
    return {line for each in text.split("\n") if len(line := each.strip()) > 12}


def seconds_of_help(root: Path, *words: str) -> float | None:
    """Return the median time of `artfp WORDS --help` as a process, in seconds; None: it fails."""
    code = "import sys; from artfp.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *words, "--help"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, env=environment, cwd=root)
        times.append(time.perf_counter() - start)
        if done.returncode != 0:
            return None
    return statistics.median(times)


def measure(root: Path, repository: Path, revision: str, until: str = "") -> dict[str, Any]:
    """Return all figures of the files below a folder, which are those of a revision.

    Of the history, commits up to `until` count.
    """
    tree = Tree(root)
    layers = contract(root)
    packages = sizes(tree)
    readme = root / "README.md"
    return {
        "lines": sum(size["lines"] for size in packages.values()),
        "files": sum(size["files"] for size in packages.values()),
        "packages": packages,
        "imports_against_contract": None if layers is None else imports_against(root, layers),
        "docstrings": docstrings(tree),
        "sections": sections(tree),
        "names_twice": names_twice(tree),
        "changed_together": changed_together(repository, revision, until),
        "function_imports": function_imports(tree),
        "readme_lines": readme.read_text("utf-8").count("\n") if readme.is_file() else None,
        "seconds": {
            "artfp --help": seconds_of_help(root),
            "artfp detect --help": seconds_of_help(root, "detect"),
        },
    }


@dataclass(frozen=True)
class Line:
    """A line of the table: what was measured, before and now, and the target."""

    figure: str
    target: str
    now: str
    before: str = ""


def lines_of(now: dict[str, Any], before: dict[str, Any] | None) -> list[Line]:
    """Return the table's lines."""
    return [
        Line(figure, target, now_text, before_text)
        for (figure, target, now_text), (_, _, before_text) in zip(
            _texts(now),
            _texts(before) if before else [("", "", "")] * len(_texts(now)),
            strict=True,
        )
    ]


def _texts(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    against, docs, parts = found["imports_against_contract"], found["docstrings"], found["sections"]
    together, inner = found["changed_together"], found["function_imports"]
    times = found["seconds"]
    return [
        ("lines in artfp/", "32,000 or fewer", f"{found['lines']:,}"),
        ("files in artfp/", "", f"{found['files']:,}"),
        ("imports against the contract", "0", "-" if against is None else str(len(against))),
        ("docstrings that begin with Of, What, How, Who, Whether, Where, In", "under 1%",
         _percent(docs["question_word"])),
        ("docstrings that begin with a verb", "", _percent(docs["verb"])),
        ("public definitions without a docstring", "0", str(docs["without"])),
        ("exported functions and classes", "", str(parts["exported"])),
        ("exported functions with Args", "100%", _percent(parts["exported_args"])),
        ("exported definitions with examples", "100%", _percent(parts["exported_examples"])),
        ("public functions and methods with Args", "", _percent(parts["public_args"])),
        ("files with examples", "", str(parts["files_with_examples"])),
        ("public names in several modules", "0", str(len(found["names_twice"]))),
        ("pairs changed together across packages", "", _percent(together["share"])),
        ("imports inside functions: artfp, others", "", f"{inner['artfp']}, {inner['others']}"),
        ("lines of README.md", "250 or fewer", str(found["readme_lines"])),
        ("artfp --help", "0.1 s or less", _seconds(times["artfp --help"])),
        ("artfp detect --help", "0.3 s or less", _seconds(times["artfp detect --help"])),
    ]  # fmt: skip


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def measure_revision(repository: Path, revision: str) -> dict[str, Any]:
    """Return the figures of a commit, whose files are unpacked into a temporary folder."""
    command = ["git", "-C", str(repository), "archive", revision]
    packed = subprocess.run(command, capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        return measure(Path(folder), repository, revision)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--output", default=str(ROOT / "benchmarks" / "results" / "architecture.json")
    )
    parser.add_argument(
        "--before",
        metavar="REV",
        help="Commit to compare with; the history that counts ends there.",
    )
    args = parser.parse_args()
    now = measure(ROOT, ROOT, "HEAD", args.before or "")
    before = None if args.before is None else measure_revision(ROOT, args.before)
    lines = lines_of(now, before)
    columns = [Column("figure"), Column("target", align="right"), Column("now", align="right")]
    if before is not None:
        columns.append(Column("before", align="right"))
    console().print(rich_table(lines, columns))
    rows = [(name, size["files"], size["lines"]) for name, size in now["packages"].items()]
    right: list[Any] = [Column(name, align="right") for name in ("files", "lines")]
    console().print(rich_table(rows, ["package", *right]))
    figures = {"figures": [asdict(line) for line in lines], "now": now}
    report.write(args.output, **figures, **({} if before is None else {"before": before}))


if __name__ == "__main__":
    main()
