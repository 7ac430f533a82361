"""The face of the package: its public names, and what importing and asking for help loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import artfp
from artfp.cli.main import ARTFP
from artfp.core.command import CommandGroup

ROOT = Path(__file__).resolve().parents[1]
STUBS = sorted((ROOT / "artfp").rglob("__init__.pyi"))


def commands(group: CommandGroup = ARTFP, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name in group.entries:
        member = group.load(name)
        path = (*words, name)
        found.append(path)
        if isinstance(member, CommandGroup):
            found += commands(member, path)
    return found


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: stub.parent.name)
def test_every_public_name_is_there_and_described(stub: Path) -> None:
    package = ".".join(stub.parent.relative_to(ROOT).parts)
    module = __import__(package, fromlist=["_"])
    names = [
        alias.name
        for node in ast.parse(stub.read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert sorted(names) == sorted(set(names))
    for name in names:
        found = getattr(module, name)
        if callable(found):
            assert found.__doc__, f"{package}.{name}"
    assert set(names) <= set(dir(module))


def test_help_of_every_command_loads_neither_torch_nor_scipy() -> None:
    code = f"""if True:
        import contextlib, io, sys
        from artfp.cli.main import main
        heavy = {{"torch", "scipy", "pytorch_lightning", "kornia", "sklearn", "matplotlib"}}
        for words in {commands()!r}:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                code = main([*words, "--help"])
            assert code == 0 and out.getvalue().startswith("usage: artfp " + " ".join(words)), words
            assert not heavy & set(sys.modules), (words, heavy & set(sys.modules))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_importing_loads_nothing_heavy() -> None:
    code = """if True:
        import sys, artfp
        artfp.EmbedSettings, artfp.DetectSettings, artfp.FitAttributorSettings, artfp.Key
        sys.exit(", ".join({"torch", "scipy"} & set(sys.modules)) or 0)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_the_example_of_the_readme() -> None:
    assert artfp.__version__ == "0.1.0"
    watermark, key = artfp.Watermark.load("photo128"), artfp.Key.from_seed(0)
    fingerprint = key.fingerprint(watermark.bits, owner="Ada Lovelace", subject="photos v1")
    from skimage.data import astronaut

    marked = watermark.embed(astronaut(), fingerprint)
    assert str(watermark.detect(marked, fingerprint)).startswith(
        "100 of 100 bits match, p = 7.9e-31"
    )
