"""Which fingerprint each image gets."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from artfp.errors import UserError
from artfp.fingerprint import Key, to_text
from artfp.prediction.words import KEY_FILE, Words, drawn_words, given_word


def test_drawn_key_is_kept_private_and_found_again(tmp_path: Path) -> None:
    words = drawn_words(32, tmp_path / "out", per_image=False)
    path = tmp_path / "out" / KEY_FILE
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    again = drawn_words(32, tmp_path / "out", per_image=False)
    assert again.secret() == words.secret()
    assert np.array_equal(words.of("a"), again.of("b"))
    assert np.array_equal(words.of("a"), Key.load(path).fingerprint(32))


def test_two_draws_differ(tmp_path: Path) -> None:
    one, two = (drawn_words(64, tmp_path / name, per_image=False) for name in "ab")
    assert not np.array_equal(one.of(""), two.of(""))


def test_per_image_words_depend_on_key_and_name(tmp_path: Path) -> None:
    words = drawn_words(64, tmp_path, per_image=True)
    assert not np.array_equal(words.of("a"), words.of("b"))
    assert np.array_equal(words.of("a"), drawn_words(64, tmp_path, per_image=True).of("a"))
    assert words.of("\udcff").shape == (64,)
    assert words.secret() != drawn_words(64, tmp_path, per_image=False).secret()


def test_a_seed_repeats_and_another_is_refused(tmp_path: Path) -> None:
    first = drawn_words(64, tmp_path / "a", False, seed=1)
    assert np.array_equal(first.of(""), drawn_words(64, tmp_path / "b", False, seed=1).of(""))
    with pytest.raises(UserError, match="another key"):
        drawn_words(64, tmp_path / "a", False, seed=2)


def test_no_key_is_drawn_into_a_run_with_a_given_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "embed.run.json").write_text("{}")
    with pytest.raises(UserError, match="given"):
        drawn_words(64, tmp_path, per_image=False)
    assert not (tmp_path / KEY_FILE).exists()


def test_given_words(tmp_path: Path) -> None:
    Key.from_seed(3).save(tmp_path / "k.json")
    by_key = given_word(16, None, str(tmp_path / "k.json"))
    assert isinstance(by_key, Words)
    assert np.array_equal(by_key.of("x"), Key.from_seed(3).fingerprint(16))
    by_bits = given_word(8, "10000001", None)
    assert by_bits is not None and by_bits.of("x").tolist() == [1, 0, 0, 0, 0, 0, 0, 1]
    assert given_word(8, None, None) is None
    with pytest.raises(UserError, match="give one"):
        given_word(8, "10000001", str(tmp_path / "k.json"))


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text("not a key")
    with pytest.raises(UserError, match=KEY_FILE):
        drawn_words(64, tmp_path, per_image=False)
    assert (tmp_path / KEY_FILE).read_text() == "not a key"


def test_one_word_is_the_same_run_however_it_was_named(tmp_path: Path) -> None:
    drawn = drawn_words(16, tmp_path, per_image=False)
    by_file = given_word(16, None, str(tmp_path / KEY_FILE))
    by_bits = given_word(16, to_text(drawn.of("")), None)
    assert by_file is not None and by_bits is not None
    assert drawn.secret() == by_file.secret() == by_bits.secret()
    assert drawn.secret() != Words(16, word=1 - drawn.of("")).secret()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/out"):
        drawn_words(16, tmp_path / "file/out", per_image=False)
