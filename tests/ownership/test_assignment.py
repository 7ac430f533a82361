"""Which fingerprint each image gets."""

from __future__ import annotations

import io
import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from artfp.audit import DetectSettings
from artfp.cli.main import main
from artfp.core.errors import UserError
from artfp.ownership.actions import register_fingerprint
from artfp.ownership.assignment import (
    KEY_FILE,
    Fingerprints,
    draw_fingerprints,
    given_fingerprints,
)
from artfp.ownership.key import Key, owner_context, to_text
from artfp.ownership.settings import FingerprintSettings, RegisterSettings
from artfp.watermark.embed import _fingerprints as embed_fingerprints
from artfp.watermark.settings import EmbedSettings


def test_drawn_key_is_kept_private_and_found_again(tmp_path: Path) -> None:
    words = draw_fingerprints(32, tmp_path / "out", per_image=False)
    path = tmp_path / "out" / KEY_FILE
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    again = draw_fingerprints(32, tmp_path / "out", per_image=False)
    assert again.identity() == words.identity()
    assert np.array_equal(words.of_image("a"), again.of_image("b"))
    assert np.array_equal(words.of_image("a"), Key.load(path).fingerprint(32))


def test_two_draws_differ(tmp_path: Path) -> None:
    one, two = (draw_fingerprints(64, tmp_path / name, per_image=False) for name in "ab")
    assert not np.array_equal(one.of_image(""), two.of_image(""))


def test_per_image_words_depend_on_key_and_name(tmp_path: Path) -> None:
    words = draw_fingerprints(64, tmp_path, per_image=True)
    assert not np.array_equal(words.of_image("a"), words.of_image("b"))
    assert np.array_equal(
        words.of_image("a"), draw_fingerprints(64, tmp_path, per_image=True).of_image("a")
    )
    assert words.of_image("\udcff").shape == (64,)
    assert words.identity() != draw_fingerprints(64, tmp_path, per_image=False).identity()


def test_a_seed_repeats_and_another_is_refused(tmp_path: Path) -> None:
    first = draw_fingerprints(64, tmp_path / "a", False, seed=1)
    assert np.array_equal(
        first.of_image(""), draw_fingerprints(64, tmp_path / "b", False, seed=1).of_image("")
    )
    with pytest.raises(UserError, match="another key"):
        draw_fingerprints(64, tmp_path / "a", False, seed=2)


def test_no_key_is_drawn_into_a_run_with_a_given_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "embed.run.json").write_text("{}")
    with pytest.raises(UserError, match="given"):
        draw_fingerprints(64, tmp_path, per_image=False)
    assert not (tmp_path / KEY_FILE).exists()


def test_given_words(tmp_path: Path) -> None:
    Key.from_seed(3).save(tmp_path / "k.json")
    by_key = given_fingerprints(16, None, str(tmp_path / "k.json"))
    assert isinstance(by_key, Fingerprints)
    assert np.array_equal(by_key.of_image("x"), Key.from_seed(3).fingerprint(16))
    by_bits = given_fingerprints(8, "10000001", None)
    assert by_bits is not None and by_bits.of_image("x").tolist() == [1, 0, 0, 0, 0, 0, 0, 1]
    assert given_fingerprints(8, None, None) is None
    with pytest.raises(UserError, match="give one"):
        given_fingerprints(8, "10000001", str(tmp_path / "k.json"))


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text("not a key")
    with pytest.raises(UserError, match=KEY_FILE):
        draw_fingerprints(64, tmp_path, per_image=False)
    assert (tmp_path / KEY_FILE).read_text() == "not a key"


def test_one_word_is_the_same_run_however_it_was_named(tmp_path: Path) -> None:
    drawn = draw_fingerprints(16, tmp_path, per_image=False)
    by_file = given_fingerprints(16, None, str(tmp_path / KEY_FILE))
    by_bits = given_fingerprints(16, to_text(drawn.of_image("")), None)
    assert by_file is not None and by_bits is not None
    assert drawn.identity() == by_file.identity() == by_bits.identity()
    assert drawn.identity() != Fingerprints(16, fingerprint=1 - drawn.of_image("")).identity()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/out"):
        draw_fingerprints(16, tmp_path / "file/out", per_image=False)


def test_names_give_what_keygen_and_registry_derive(tmp_path: Path) -> None:
    path = str(tmp_path / "k.json")
    Key.from_seed(3).save(path)
    named = given_fingerprints(64, None, path, "Ada", "cats v1")
    bare = given_fingerprints(64, None, path)
    assert named is not None and bare is not None
    expected = Key.from_seed(3).fingerprint(64, owner="Ada", subject="cats v1")
    assert np.array_equal(named.of_image("any"), expected)
    for found, is_bare in ((named, False), (bare, True)):
        settings = RegisterSettings(
            registry=tmp_path / f"{is_bare}.registry", key=Path(path), bare=is_bare,
            owner="Ada", subject="cats v1", bits=64,
        )  # fmt: skip
        entry = register_fingerprint(settings).entry
        assert np.array_equal(found.of_image(""), entry.fingerprint)
    other = given_fingerprints(64, None, path, "Ada", "cats v2")
    assert other is not None
    assert len({each.identity() for each in (named, bare, other)}) == 3
    # The same letters in another form of Unicode are the same name.
    forms = [given_fingerprints(64, None, path, name, "x") for name in ("Ad\u00e0", "Ada\u0300")]
    assert forms[0] is not None and forms[1] is not None
    assert forms[0].identity() == forms[1].identity()


def test_names_of_a_drawn_key(tmp_path: Path) -> None:
    context = owner_context("Ada", "cats")
    words = draw_fingerprints(64, tmp_path, per_image=False, context=context)
    key = Key.load(tmp_path / KEY_FILE)
    assert np.array_equal(words.of_image(""), key.fingerprint(64, owner="Ada", subject="cats"))
    assert words.identity() != draw_fingerprints(64, tmp_path, per_image=False).identity()
    each = draw_fingerprints(64, tmp_path, per_image=True, context=context)
    assert each.identity() != draw_fingerprints(64, tmp_path, per_image=True).identity()
    assert not np.array_equal(
        each.of_image("a"), draw_fingerprints(64, tmp_path, True).of_image("a")
    )


@pytest.mark.parametrize(
    ("names", "found"),
    [(("Ada", None), "both or neither"), ((None, "cats"), "both or neither"), (("", "c"), "owner")],
)
def test_names_that_name_nothing(tmp_path: Path, names: tuple[str, str], found: str) -> None:
    Key.from_seed(3).save(tmp_path / "k.json")
    with pytest.raises(UserError, match=found):
        given_fingerprints(16, None, str(tmp_path / "k.json"), *names)
    with pytest.raises(UserError, match="leave them out"):
        given_fingerprints(8, "10000001", None, "Ada", "cats")


def secret_file(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "bits.txt"
    path.write_bytes(content)
    path.chmod(0o600)
    return str(path)


def test_bits_from_a_file_and_from_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = secret_file(tmp_path, b" 9f\r\n")
    by_file = FingerprintSettings(fingerprint_file=path)
    found = by_file.given_fingerprints(8)
    assert found is not None and found.of_image("").tolist() == [1, 0, 0, 1, 1, 1, 1, 1]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"10011111\n")))
    by_input = FingerprintSettings(fingerprint_file="-")
    for _ in range(2):  # what is read once is kept
        again = by_input.given_fingerprints(8)
        assert again is not None and again.identity() == found.identity()
    assert "9f" not in by_file.to_yaml() + by_file.command_line("artfp") + repr(by_file)


@pytest.mark.parametrize("content", [b"0110" * 2000, b"0110\xff", "0110\u00e9".encode(), b"0110q"])
def test_what_is_no_fingerprint_is_not_repeated(tmp_path: Path, content: bytes) -> None:
    settings = FingerprintSettings(fingerprint_file=secret_file(tmp_path, content))
    with pytest.raises(UserError, match="expected") as refused:
        settings.given_fingerprints(8)
    assert "0110" not in str(refused.value).replace(str(tmp_path), "")


def test_bits_files_that_are_not_there_are_public_or_stand_beside_bits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(UserError, match="No such file"):
        FingerprintSettings(fingerprint_file=str(tmp_path / "no")).given_fingerprints(8)
    with pytest.raises(UserError, match="--fingerprint and --fingerprint_file: give one of them"):
        FingerprintSettings(fingerprint="9f", fingerprint_file="f")
    os.chmod(path := secret_file(tmp_path, b"9f"), 0o644)
    FingerprintSettings(fingerprint_file=path).given_fingerprints(8)
    assert f"chmod 600 {path}" in caplog.text


@pytest.mark.parametrize("command", ["embed", "detect", "registry add", "keygen", "transfer read"])
def test_every_command_that_takes_bits_takes_a_file_of_them(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.split(), "--help"]) == 0
    assert "--fingerprint_file FILE" in capsys.readouterr().out


def test_embed_and_detect_by_a_file(tmp_path: Path) -> None:
    path = secret_file(tmp_path, b"c0ffeec0ffeec0ff")
    with pytest.raises(UserError, match="--fingerprint_file name the fingerprint"):
        embed_fingerprints(
            EmbedSettings(
                data_dir=str(tmp_path / "in"),
                output_dir=tmp_path / "out",
                fingerprint_file=path,
                identical_fingerprints=True,
            ),
            64,
        )
    assert DetectSettings(data_dir="a.png", fingerprint_file=path).gives_verdict
