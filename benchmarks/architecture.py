"""How the code is laid out and documented, in figures that can be compared between commits.

    python benchmarks/architecture.py                  # the files of this working tree
    python benchmarks/architecture.py --before v1.0    # also those of an older commit

It reads source files and git's history; of artfp it runs `artfp --help` and `artfp detect --help`
alone. What is counted stands at each function.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import report
from architecture_code import (
    Tree,
    contract,
    docstrings,
    function_imports,
    imports_against,
    names_twice,
    sections,
    sizes,
)
from architecture_history import changed_together

from artfp.core.console import console
from artfp.data.tables import Column, rich_table

if sys.version_info >= (3, 11):
    pass
else:
    pass


ROOT = Path(__file__).resolve().parents[1]


_RUNS = 9


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
