"""The log file of a run."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import pytest

from artfp.core.command import Command
from artfp.core.console import print_next_step, set_verbosity
from artfp.core.errors import UserError
from artfp.core.options import option
from artfp.core.run_log import LOG_FILE, run_log
from artfp.core.settings import Settings

log = logging.getLogger("artfp")


@dataclass(frozen=True, kw_only=True)
class Work(Settings):
    """Work.

    Args:
        output_dir: Folder.
        pin: Secret.
        fail: Fail.
    """

    output_dir: Path
    pin: str = option("0", secret=True)
    fail: bool = False


def work(settings: Work) -> int:
    if settings.fail:
        raise UserError("it failed")
    settings.output_dir.mkdir(exist_ok=True)
    log.info("worked")
    log.debug("in detail")
    log.warning("a warning")
    print("result")
    print_next_step("artfp rest")
    return 0


COMMAND = Command(Work, work, "Work.")


def test_the_file_has_command_messages_and_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert COMMAND.main(["--output_dir", str(folder), "--pin", "1234"], "artfp work") == 0
    assert COMMAND.main(["--output_dir", str(folder), "--fail"], "artfp work") == 2
    text = (folder / LOG_FILE).read_text()
    assert text.count("artfp work --output_dir") == 2 and "1234" not in text
    assert " INFO worked\n" in text and "done after" in text
    assert "ended by UserError: it failed after" in text
    assert "worked" in capsys.readouterr().err


def test_a_refused_run_makes_neither_folder_nor_file(tmp_path: Path) -> None:
    assert COMMAND.main(["--output_dir", str(tmp_path / "x"), "--fail"], "artfp work") == 2
    assert not (tmp_path / "x").exists()
    (tmp_path / "y").mkdir()
    assert COMMAND.main(["--output_dir", str(tmp_path / "y"), "--fail"], "artfp work") == 2
    assert list((tmp_path / "y").iterdir()) == []


def test_quiet_and_verbose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--output_dir", str(tmp_path)]
    try:
        COMMAND.main([*words, "--quiet"], "artfp work")
        assert "in detail" in (tmp_path / LOG_FILE).read_text()
        out, err = capsys.readouterr()
        assert out == "result\n" and err == "a warning\n"
        COMMAND.main([*words, "-v"], "artfp work")
        assert capsys.readouterr().err == "worked\nin detail\na warning\nnext: artfp rest\n"
        COMMAND.main(words, "artfp work")
        assert capsys.readouterr().err == "worked\na warning\nnext: artfp rest\n"
    finally:
        set_verbosity()


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / LOG_FILE).mkdir()
    with run_log(tmp_path, "artfp work"):
        log.warning("still there")
