"""The face of the package: its public names, and what importing and asking for help loads."""

from __future__ import annotations

import ast
import os
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


def test_what_is_not_there_is_told_before_torch_is_loaded(tmp_path: Path) -> None:
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    last.touch()
    (photos := tmp_path / "photos").mkdir()
    out = ["--output_dir", str(tmp_path / "out")]
    refused = [
        (["train", "--data_dir", "/none", *out], "/none: no such file or folder"),
        (["train", "--data_dir", str(photos), "--output_dir", str(tmp_path / "run")], "--resume"),
        (["train", "--data_dir", str(photos), "--architecture", "x", *out], "unknown architecture"),
        (["train", "--data_dir", str(photos), "--image_resolution", "100", *out], "power of two"),
        (["embed", "--data_dir", str(photos), "--encoder_path", "x", *out], "no encoder at x"),
        (["detect", "--data_dir", str(photos), "--decoder_path", "x", *out], "no decoder at x"),
        (["gan", "train", "x", "--data_dir", str(photos), *out], "no generative model is called"),
        (["gan", "generate", "/none", "--count", "1", *out], "no generator at /none"),
        (["attribute", "train", "/none", *out], "/none: no such file or folder"),
        (["measure", "/none"], "/none: no such file or folder"),
    ]
    code = f"""if True:
        import contextlib, io, sys
        from artfp.cli.main import main
        for words, told in {refused!r}:
            with contextlib.redirect_stderr(io.StringIO()) as err:
                assert main(words) == 2, words
            assert told in err.getvalue() and err.getvalue().count("\\n") == 1, err.getvalue()
        assert main(["gan", "list"]) == 0
        assert not {{"torch", "scipy", "matplotlib"}} & set(sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "out").exists()


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


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_into_a_full_disk_or_a_closed_pipe(word: str) -> None:
    program = [sys.executable, "-m", "artfp", word]
    if Path("/dev/full").exists():
        with open("/dev/full", "w") as full:
            done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(program, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
