"""The command line's manners: one line for each error, exit codes, lazy imports."""

from __future__ import annotations

import errno
import importlib.util
import logging
import subprocess
import sys
import time
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NoReturn

import pytest
from rich.table import Table
from rich.text import Text

from artfp import __version__
from artfp.cli import main as cli
from artfp.core import console as terminal
from artfp.core.command import Command, count_images, report_unusable, run
from artfp.core.errors import UserError
from artfp.core.options import option
from artfp.core.settings import Settings

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class FolderSettings(Settings):
    """A folder.

    Args:
        output_dir: Folder of the results.
    """

    title: ClassVar[str] = "test"

    output_dir: Path = option()


def raiser(error: BaseException) -> Callable[[], int]:
    def command() -> NoReturn:
        raise error

    return command


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT
    )


def test_run_hands_on_the_code() -> None:
    assert run(lambda: 3) == 3


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
def test_run_turns_ends_into_codes(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    assert run(raiser(error), prog="artfp embed") == code
    assert capsys.readouterr() == ("", line)


def test_run_sees_an_interrupt_that_a_library_made_an_exit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command() -> int:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    assert run(command, prog="artfp train") == 130
    assert capsys.readouterr().err == "artfp train: interrupted\n"


@pytest.mark.parametrize("error", [ValueError("x\ny"), OSError("x"), MemoryError()])
def test_a_crash_has_a_code_of_its_own_and_a_file_with_the_trace(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, error: Exception
) -> None:
    assert run(raiser(error), "artfp embed", [tmp_path / "missing", tmp_path]) == 70
    out, err = capsys.readouterr()
    (trace,) = tmp_path.glob("artfp-crash-*.txt")
    assert out == "" and err.count("\n") == 1
    assert err.startswith(f"artfp embed: crashed: {type(error).__name__}: ")
    assert err.endswith(f" (trace in {trace})\n")
    assert trace.stat().st_mode & 0o777 == 0o600
    assert (
        trace.read_text().startswith("artfp embed\nTraceback")
        and "raise error" in trace.read_text()
    )


def test_the_trace_of_a_command_lies_in_the_folder_of_its_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def act(settings: FolderSettings) -> int:
        settings.output_dir.mkdir()
        raise ZeroDivisionError("by zero")

    words = ["--output_dir", str(tmp_path / "run")]
    assert Command(FolderSettings, act, "").main(words, "artfp test") == 70
    (trace,) = (tmp_path / "run").glob("artfp-crash-*.txt")
    assert str(trace) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; make room "),
        (OSError(errno.ENOSPC, "No space", "a\n.png"), "a\\n.png: No space; make room "),
        (FileNotFoundError(errno.ENOENT, "No such file", "out/x.csv"), "out/x.csv: No such file"),
        (PermissionError(errno.EACCES, "Permission denied", b"out"), "out: Permission denied"),
    ],
)
def test_what_the_system_refuses_is_bad_input(
    capsys: pytest.CaptureFixture[str], error: OSError, line: str
) -> None:
    assert run(raiser(error), "artfp detect") == 2
    said = capsys.readouterr().err
    assert said.startswith(f"artfp detect: error: {line}") and said.count("\n") == 1


PRINT_MUCH = """if True:
    import os, sys
    from artfp.core.command import run
    {}
    def command():
        print("x" * 100_000)
        return 0
    sys.exit(run(command))
"""


def test_a_reader_that_goes_away_gets_no_traceback() -> None:
    done = python(
        PRINT_MUCH.format("reader, writer = os.pipe(); os.dup2(writer, 1); os.close(reader)")
    )
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_under_stdout_is_no_verdict() -> None:
    done = python(PRINT_MUCH.format("os.dup2(os.open('/dev/full', os.O_WRONLY), 1)"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "No space left on device" in done.stderr


def test_a_console_that_is_not_utf8_gets_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    code = "from artfp.core.command import run; run(lambda: print('“café”') or 0)"
    done = python(code)
    assert (done.stdout, done.stderr) == ("\\u201ccaf\\xe9\\u201d\n", "")


def test_sigterm_ends_a_command_with_one_line_and_its_children_with_it() -> None:
    code = """if True:
        import os, subprocess, sys, threading, time
        from artfp.core.command import run
        from artfp.core.processes import die_with_parent
        def command():
            child = os.fork()
            if not child:
                die_with_parent()
                time.sleep(60)
            print(child, flush=True)
            time.sleep(60)
            return 0
        sys.exit(run(lambda: run(command, "artfp x"), "artfp"))
    """
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=-1, stderr=-1, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.terminate()
    assert process.communicate(timeout=20) == ("", "artfp x: terminated\n")
    assert process.returncode == 143
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":
            break
        time.sleep(0.01)
    else:
        assert not Path(f"/proc/{child}").exists()


def test_quiet_libraries_hides_chatter_and_keeps_the_rest() -> None:
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


def test_a_pipe_gets_tables_with_tabs_and_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("name", "bits\nmatched", title="matches")
    table.add_row("n" * 300, Text("[b]1 of 8"))
    table.add_row("=HYPERLINK(1)", "-1.5 dB")  # which a spreadsheet does not run
    terminal.console().print(table)
    terminal.console().print("x" * 300, markup=False)
    lines = ["matches", "name\tbits matched", "n" * 300 + "\t[b]1 of 8",
             "'=HYPERLINK(1)\t-1.5 dB", "x" * 300, ""]  # fmt: skip
    assert capsys.readouterr().out.split("\n") == lines


def test_unusable_images_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert report_unusable([]) == 0
    assert report_unusable([(f"{i}\n.png", "damaged") for i in range(25)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "unusable: 0\\n.png: damaged" and len(lines) == 22
    assert lines[-2:] == ["... and 5 more (see the table)", "25 images could not be used"]
    assert count_images(1) == "1 image"


def test_artfp_help_lists_each_command_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, entry in cli.COMMANDS.items():
        (line,) = [line for line in lines if line.startswith(f"  {name} ")]
        assert line.endswith(entry.summary)


def test_artfp_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"artfp {__version__}\n"


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ([], "no command; choose from train, embed, detect, demo, measure"),
        (["embd"], "unknown command 'embd'; did you mean 'embed'?"),
        (["--bogus"], "unknown command '--bogus'; choose from train, "),
        (["a\nb"], "unknown command 'a\\nb'; choose from train, "),
        (["gan", "trian"], "unknown action 'trian'; did you mean 'train'?"),
        (["gan"], "no action; choose from list, train"),
    ],
)
def test_artfp_refuses_unknown_commands_in_one_line(
    capsys: pytest.CaptureFixture[str], argv: list[str], line: str
) -> None:
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    prog = "artfp gan" if argv[:1] == ["gan"] else "artfp"
    assert err.startswith(f"{prog}: error: {line}")
    assert err.count("\n") == 1


class FakeCommand:
    """Takes the place of a module's COMMAND."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], str]] = []

    def main(self, argv: list[str], prog: str) -> int:
        self.calls.append((argv, prog))
        if "bad" in argv:
            raise UserError("bad: found it")
        return 5


@pytest.fixture
def fake_embed(monkeypatch: pytest.MonkeyPatch) -> FakeCommand:
    fake = FakeCommand()
    name = cli.COMMANDS["embed"].target.partition(":")[0]
    module = types.ModuleType(name)
    module.COMMAND = fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, module)
    return fake


def test_artfp_calls_the_command_with_its_arguments(
    fake_embed: FakeCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["embed", "--bits", "8", "--help"]) == 5
    assert fake_embed.calls == [(["--bits", "8", "--help"], "artfp embed")]
    assert cli.main(["embed", "bad"]) == 2
    assert capsys.readouterr().err == "artfp embed: error: bad: found it\n"


def test_the_scripts_call_their_command_with_the_process_arguments(
    fake_embed: FakeCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["embed_fingerprints.py", "--check"])
    assert cli.main(command="embed", prog="embed_fingerprints.py") == 5
    assert fake_embed.calls == [(["--check"], "embed_fingerprints.py")]


@pytest.mark.parametrize("name", ["train", "embed_fingerprints", "detect_fingerprints"])
def test_each_script_at_the_root_passes_the_exit_code_on(name: str) -> None:
    module = cli.COMMANDS[name.removesuffix("_fingerprints")].target.partition(":")[0]
    code = f"""if True:
        import runpy, sys, types
        module = types.ModuleType("{module}")
        module.COMMAND = types.SimpleNamespace(main=lambda argv, prog: len(argv) + len(prog))
        sys.modules["{module}"] = module
        sys.argv = ["{name}.py", "--one", "--two"]
        runpy.run_path("{name}.py", run_name="__main__")
    """
    done = python(code)
    assert (done.returncode, done.stdout, done.stderr) == (2 + len(f"{name}.py"), "", "")


def test_python_m_artfp() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "artfp", "--version"], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (0, f"artfp {__version__}\n")


def test_every_command_has_a_module() -> None:
    for command in cli.COMMANDS.values():
        assert importlib.util.find_spec(command.target.partition(":")[0]) is not None, command


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_commands_options_and_choices(
    capsys: pytest.CaptureFixture[str], shell: str
) -> None:
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("attribute", "encoder_path", "published", "fit"):
        assert word in script, word
