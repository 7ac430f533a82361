"""The benchmark of the layout counts what it says, on a small package with a history."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]

LOWER = '''"""Lower parts."""

LIMIT = 3


def add(x: int, y: int) -> int:
    """Return the sum.

    Args:
        x: One.
        y: Other.

    Example:
        >>> add(1, 2)
        3
    """
    return x + y


class Shape:
    """What is drawn."""

    def area(self, scale: float) -> float:
        """Area of it."""
        import math

        return math.pi * scale

    def name(self):
        return "shape"


def _hidden():
    """How it is hidden."""
'''
UPPER = '''"""Upper parts."""

LIMIT = 5
COMMAND = None


def run(path):
    """Whether it ran."""
    from artfp.low.parts import add

    return add(path, LIMIT)
'''


@pytest.fixture
def architecture(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("architecture")


def git(root: Path, *words: str) -> None:
    names = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", "-C", root, *names, *words], check=True, capture_output=True)


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-qm", "change")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A package of two layers, of which the lower one imports the upper one."""
    layers = '["artfp.high", "artfp.low | artfp.side"]'
    contract = f'[[tool.importlinter.contracts]]\ntype = "layers"\nlayers = {layers}\n'
    (tmp_path / "pyproject.toml").write_text(contract)
    (tmp_path / "README.md").write_text("one\ntwo\n")
    package = tmp_path / "artfp"
    for folder in ("high", "low", "side", "cli"):
        (package / folder).mkdir(parents=True)
        (package / folder / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "low" / "__init__.pyi").write_text("from .parts import Shape as Shape, add as add\n")
    (package / "low" / "parts.py").write_text(LOWER)
    (package / "low" / "wrong.py").write_text("from artfp.high import parts\n")
    (package / "side" / "wrong.py").write_text("def f():\n    import artfp.low.parts\n")
    (package / "high" / "parts.py").write_text(UPPER)
    (package / "cli" / "main.py").write_text("def main():\n    return 0\n")
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    return tmp_path


def test_sizes_and_contract(architecture: ModuleType, project: Path) -> None:
    tree = architecture.Tree(project)
    sizes = architecture.sizes(tree)
    assert sizes["artfp"] == {"files": 1, "lines": 0}
    assert sizes["low"] == {"files": 4, "lines": LOWER.count("\n") + 2}
    layers = architecture.contract(project)
    assert layers == [["artfp.high"], ["artfp.low", "artfp.side"]]
    assert architecture.imports_against(project, layers) == [
        "artfp.low.wrong -> artfp.high.parts",
        "artfp.side.wrong -> artfp.low.parts",
    ]


def test_docstrings_and_names(architecture: ModuleType, project: Path) -> None:
    tree = architecture.Tree(project)
    found = architecture.docstrings(tree)
    # Texts: two modules, add, Shape, area, run; none: name, main, f, and seven modules.
    assert found["public"] - found["without"] == 6
    assert found["question_word"] == pytest.approx(2 / 6)  # "What is drawn", "Whether it ran"
    assert found["verb"] == pytest.approx(1 / 6)  # "Return the sum"
    sections = architecture.sections(tree)
    assert sections["exported"] == 2 and sections["exported_args"] == 1.0
    assert sections["exported_examples"] == 0.5
    assert sections["exported_without_examples"] == ["Shape"]
    assert sections["public_args"] == pytest.approx(1 / 3)  # add, area, run
    assert architecture.names_twice(tree) == {"LIMIT": ["artfp.high.parts", "artfp.low.parts"]}
    assert architecture.function_imports(tree) == {"artfp": 2, "others": 1}


def test_pairs_follow_files_that_move_and_fold(architecture: ModuleType, tmp_path: Path) -> None:
    def across(until: str = "") -> tuple[int, int]:
        found = architecture.changed_together(tmp_path, "HEAD", until)
        return found["pairs"], found["across"]

    def text(name: str) -> str:
        return "".join(f"{name}_{number} = {number} ** 2\n" for number in range(20))

    for folder in ("high", "low", "side"):
        (tmp_path / "artfp" / folder).mkdir(parents=True)
    package = tmp_path / "artfp"
    first, second, third = package / "high/a.py", package / "low/b.py", package / "side/c.py"
    git(tmp_path, "init", "-q")
    first.write_text(text("VALUE"))
    second.write_text(text("OTHER"))
    commit(tmp_path)
    third.write_text(text("THIRD"))
    commit(tmp_path)
    assert across() == (1, 1)
    first.rename(package / "low/moved.py")
    commit(tmp_path)
    assert across() == (1, 0)
    third.write_text(text("THIRD") + second.read_text())
    second.unlink()
    commit(tmp_path)  # the folded file is the one that took it: no pair of its own
    assert across() == (1, 1)
    third.write_text("")
    (package / "low/moved.py").write_text("")
    commit(tmp_path)
    assert across() == (2, 2) and across(until="HEAD~1") == (1, 1)


def test_the_script_compares_with_a_commit(project: Path, tmp_path: Path) -> None:
    (project / "benchmarks").mkdir()
    for name in ("architecture", "architecture_code", "architecture_history", "report"):
        script = (ROOT / "benchmarks" / f"{name}.py").read_text()
        (project / "benchmarks" / f"{name}.py").write_text(script)
    (project / "artfp" / "cli" / "more.py").write_text('"""More."""\n')
    code = (
        "import sys, runpy; import artfp.core.console, artfp.data.tables, grimp\n"
        f"sys.argv[1:] = ['--before', 'HEAD', '--output', {str(tmp_path / 'o.json')!r}]\n"
        f"sys.path.insert(0, {str(project / 'benchmarks')!r})\n"
        f"runpy.run_path({str(project / 'benchmarks/architecture.py')!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "lines in artfp/" in done.stdout and "before" in done.stdout
    found = json.loads((tmp_path / "o.json").read_text())
    assert found["now"]["files"] == found["before"]["files"] + 1
    assert found["now"]["readme_lines"] == 2
    assert found["figures"][0]["figure"] == "lines in artfp/"
    assert len(found["now"]["imports_against_contract"]) == 2
