"""The command line's manners: one line per error, exit codes, lazy imports."""

import importlib.util
import logging
import os
import subprocess
import sys
import types
import warnings
from pathlib import Path
from typing import Literal, Optional

import pytest
from rich.table import Table

from artfp import __version__
from artfp.cli import main as cli
from artfp.core import command as base
from artfp.core import console as terminal
from artfp.core.errors import UserError
from artfp.core.legacy import make_parser

ROOT = Path(__file__).parents[2]


@pytest.fixture
def parser():
    made = make_parser("artfp embed", "What it does.\n\n  as laid out", "An epilog.")
    made.add_argument("--data_dir", type=str, required=True, help="Folder of images.")
    made.add_argument("--bits", type=int, default=64, help="Length of the fingerprint.")
    made.add_argument("--batch_size", type=Optional[int], default=None)  # noqa: UP045
    made.add_argument("--kind", choices=["a", "b"], default="a")
    made.add_argument("--mode", type=Literal["u", "v"], default="u")
    return made


@pytest.fixture
def refuse(parser, capsys):
    """Parse bad arguments; return the one line that they give on stderr."""

    def call(*argv):
        with pytest.raises(SystemExit) as stopped:
            parser.parse_args(list(argv))
        out, err = capsys.readouterr()
        assert stopped.value.code == 2
        assert out == ""
        assert err.endswith("\n")
        assert err.count("\n") == 1
        assert err.startswith("artfp embed: error: ")
        return err[len("artfp embed: error: ") : -1]

    return call


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ([], "missing --data_dir"),
        (["--data_dir"], "--data_dir: expected one argument"),
        (["--bits", "x"], "--bits: expected int; found x"),
        (["--bits", "1.5"], "--bits: expected int; found 1.5"),
        (["--batch_size", "x"], "--batch_size: expected one of int, null; found x"),
        (["--kind", "c"], "--kind: invalid choice: 'c' (choose from 'a', 'b')"),
        (["--mode", "w"], "--mode: expected one of 'u', 'v'; found w"),
        (["--batch-size", "3"], "unrecognized arguments: --batch-size 3; did you mean --batch_"),
        (["--zzz"], "unrecognized arguments: --zzz; see artfp embed --help"),
        (["stray"], "unrecognized arguments: stray; see artfp embed --help"),
        (["--bit", "3"], "unrecognized arguments: --bit 3; did you mean --bits?"),
        (["--bits", "a\nb\x1b[31m"], "--bits: expected int; found a b\\x1b[31m"),
    ],
)
def test_bad_arguments_are_one_line(refuse, argv, line):
    data = ["--data_dir", "x"] if argv and argv[0] != "--data_dir" else []
    assert refuse(*data, *argv).replace("choose from a, b", "choose from 'a', 'b'").startswith(line)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"bits: many", "bad.yaml: --bits: expected int; found many"),
        (b"kind: q", "bad.yaml: --kind: 'q' not among choices"),
        (b"bitz: 3", "'bitz' in --config is not an option"),
        (b"a: [1\nb", "bad.yaml: Problems parsing config: while parsing a flow sequence"),
        (b"- 1\n- 2", "bad.yaml: Unexpected config: - 1"),
        (b"\xff\x85\x00", "bad.yaml: not a text file in UTF-8"),
    ],
)
def test_bad_config_files_are_one_line_that_names_them(refuse, tmp_path, content, line):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    found = refuse("--data_dir", "x", "--config", str(path))
    assert found.removeprefix(f"{tmp_path}{os.sep}").startswith(line)


def test_missing_config_files_are_one_line(refuse, tmp_path):
    assert "File does not exist" in refuse("--config", str(tmp_path / "none.yaml"))
    assert "not a file" in refuse("--config", str(tmp_path))


def test_config_files_set_options_and_later_options_override_them(parser, tmp_path):
    path = tmp_path / "ok.yaml"
    path.write_text("data_dir: photos\nbits: 32\nbatch_size: 8\n")
    args = parser.parse_args(["--config", str(path), "--bits", "16"])
    assert (args.data_dir, args.bits, args.batch_size, args.kind) == ("photos", 16, 8, "a")


def test_help_keeps_the_layout_and_shows_defaults(parser, capsys):
    with pytest.raises(SystemExit) as stopped:
        parser.parse_args(["--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    assert "What it does.\n\n  as laid out\n" in text
    assert "An epilog." in text
    assert "default: 64" in text
    assert "--config FILE.yaml" in text


def raiser(error):
    def command():
        raise error

    return command


def test_run_hands_on_arguments_and_code():
    assert base.run(lambda: 3) == 3


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("photos: no images"), 2, "artfp embed: error: photos: no images\n"),
        (UserError("a\nb"), 2, "artfp embed: error: a\\nb\n"),
        (KeyboardInterrupt(), 130, "artfp embed: interrupted\n"),
        (SystemExit(2), 2, ""),
        (SystemExit(0), 0, ""),
        (SystemExit(), 143, "artfp embed: terminated\n"),
    ],
)
def test_run_turns_ends_into_codes(capsys, error, code, line):
    assert base.run(raiser(error), prog="artfp embed") == code
    assert capsys.readouterr() == ("", line)


def test_run_sees_an_interrupt_that_a_library_made_an_exit(capsys):
    def command():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    assert base.run(command, prog="artfp train") == 130
    assert capsys.readouterr().err == "artfp train: interrupted\n"


@pytest.mark.parametrize("error", [ValueError("x"), OSError("x"), RuntimeError("x")])
def test_run_lets_other_errors_pass(error):
    with pytest.raises(type(error)):
        base.run(raiser(error))


def python(code, **kwargs):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        **kwargs,
    )


def test_a_reader_that_goes_away_gets_no_traceback():
    code = """if True:
        import os, sys
        from artfp.core.command import run
        reader, writer = os.pipe()
        os.dup2(writer, 1)
        os.close(reader)
        def command():
            print("x" * 100_000)
            return 0
        sys.exit(run(command))
    """
    done = python(code)
    assert (done.returncode, done.stderr) == (1, "")


def test_quiet_libraries_hides_chatter_and_keeps_the_rest():
    names = ("pytorch_lightning", "lightning", "lightning_fabric", "lightning.pytorch")
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            terminal.quiet_libraries()
            warnings.warn(
                "The 'train_dataloader' does not have many workers which may be a bottleneck.",
                stacklevel=1,
            )
            warnings.warn("the loss is not a number", stacklevel=1)
        assert [str(one.message) for one in seen] == ["the loss is not a number"]
        assert not logging.getLogger("pytorch_lightning.utilities.rank_zero").isEnabledFor(20)
        assert logging.getLogger("pytorch_lightning").isEnabledFor(30)
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def test_console_writes_wide_tables_to_stdout(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    table = Table("name", "bits")
    table.add_row("n" * 90, "1" * 8)
    terminal.console().print(table)
    assert "n" * 90 in capsys.readouterr().out


def test_artfp_help_lists_each_command_on_one_line(capsys):
    assert cli.main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in ("train", "embed", "detect", "demo", "measure"):
        (line,) = [line for line in lines if line.startswith(f"  {name} ")]
        assert line.endswith(cli.COMMANDS[name].summary)


def test_artfp_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"artfp {__version__}\n"


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ([], "no command; choose from train, embed, detect, demo, measure"),
        (["embd"], "unknown command 'embd'; did you mean 'embed'?"),
        (["--bogus"], "unknown command '--bogus'; choose from train, "),
        (["a\nb"], "unknown command 'a\\nb'; choose from train, "),
    ],
)
def test_artfp_refuses_unknown_commands_in_one_line(capsys, argv, line):
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"artfp: error: {line}")
    assert err.count("\n") == 1


@pytest.fixture
def fake_embed(monkeypatch):
    calls = []

    def main(argv=None):
        calls.append(argv)
        if "bad" in argv:
            raise UserError("bad: found it")
        return 5

    module = types.ModuleType("artfp.watermark.command_embed")
    module.main = main
    monkeypatch.setitem(sys.modules, "artfp.watermark.command_embed", module)
    return calls


def test_artfp_calls_the_command_with_its_arguments(fake_embed, capsys):
    assert cli.main(["embed", "--bits", "8", "--help"]) == 5
    assert fake_embed == [["--bits", "8", "--help"]]
    assert cli.main(["embed", "bad"]) == 2
    assert capsys.readouterr().err == "artfp embed: error: bad: found it\n"


def test_the_doors_call_their_command_with_the_process_arguments(fake_embed, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["embed_fingerprints.py", "--check"])
    assert cli.main(command="embed") == 5
    assert fake_embed == [["--check"]]


@pytest.mark.parametrize("name", ["train", "embed_fingerprints", "detect_fingerprints"])
def test_each_door_at_the_root_passes_the_exit_code_on(name):
    module = cli.COMMANDS[name.removesuffix("_fingerprints")].target.partition(":")[0]
    code = f"""if True:
        import runpy, sys, types
        module = types.ModuleType("{module}")
        module.main = lambda argv: len(argv) + 40
        sys.modules["{module}"] = module
        sys.argv = ["{name}.py", "--one", "--two"]
        runpy.run_path("{name}.py", run_name="__main__")
    """
    done = python(code)
    assert (done.returncode, done.stdout, done.stderr) == (42, "", "")


def test_help_and_light_rooms_import_no_torch():
    code = """if True:
        import sys
        from artfp.cli.main import main
        import artfp.core.console, artfp.stats, artfp.ownership.key
        assert main(["--help"]) == main(["--version"]) == 0
        artfp.core.console.quiet_libraries()
        heavy = {"torch", "pytorch_lightning", "kornia", "torchvision"} & set(sys.modules)
        sys.exit(", ".join(heavy) or 0)
    """
    done = python(code)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_command_has_a_module():
    for command in cli.COMMANDS.values():
        assert importlib.util.find_spec(command.target.partition(":")[0]) is not None, command
