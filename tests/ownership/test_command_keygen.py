"""`artfp keygen`: keys, commitments, what is told and what is not."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artfp.cli.main import main
from artfp.ownership.commitment import Commitment, Opening, holds
from artfp.ownership.key import Key, to_hex, to_text


@pytest.fixture
def call(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Any:
    """Runs `artfp keygen` in an empty folder: exit code, what it said in all."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: Any) -> Any:
        capfd.readouterr()
        caplog.clear()
        code = main(["keygen", *map(str, arguments)])
        said = capfd.readouterr()
        if code == 2:
            assert said.out == "" and said.err.count("\n") == 1
            assert said.err.startswith("artfp keygen: error: ")
        logged = "".join(f"{record.getMessage()}\n" for record in caplog.records)
        return code, said.out + said.err + logged

    return run


@pytest.fixture
def key(call: Any) -> Any:
    assert call("--key", "k.json")[0] == 0
    return Key.load("k.json")


CATS = ("--key", "k.json", "--owner", "Ada", "--subject", "cats v1", "--bits", "100")


def secrets_of(key: Any, *words: Any) -> Any:
    """Every form in which the key or the words could be told."""
    secret = json.loads(Path("k.json").read_text())["secret"]
    told = [secret, secret.upper(), str(bytes.fromhex(secret))[2:-1]]
    for word in words:
        told += [to_hex(word), to_text(word), np.packbits(word).tobytes().hex()]
    return told


def test_a_new_key(call: Any, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        code, said = call("--key", "k.json")
    finally:
        os.umask(before)
    key = Key.load("k.json")
    assert code == 0 and key.tag() in said
    assert stat.S_IMODE(os.stat("k.json").st_mode) == 0o600
    assert os.listdir(tmp_path) == ["k.json"]
    assert not any(each in said for each in secrets_of(key))
    code, said = call("--key", "other.json")
    assert Key.load("other.json") != key


def test_a_key_is_overwritten_only_when_told(call: Any, key: Any) -> None:
    code, said = call("--key", "k.json")
    assert code == 2 and "never overwritten unasked" in said
    assert Key.load("k.json") == key
    assert call("--key", "k.json", "--overwrite")[0] == 0
    assert Key.load("k.json") != key


def test_commit_and_verify(call: Any, key: Any, tmp_path: Path) -> None:
    code, said = call(*CATS, "--decoder", "ab" * 32, "--commit", "cats")
    assert code == 0
    names = ["cats.commitment.json", "cats.opening.json", "k.json"]
    assert sorted(os.listdir(tmp_path)) == names
    modes = [stat.S_IMODE(os.stat(name).st_mode) & 0o077 for name in names]
    assert modes[1:] == [0, 0] and modes[0]
    made, opening = Commitment.load(names[0]), Opening.load(names[1])
    assert (made.owner, made.subject, made.bits, made.decoder) == ("Ada", "cats v1", 100, "ab" * 32)
    word = key.fingerprint(100, owner="Ada", subject="cats v1")
    assert holds(made, opening, word) and not opening.bare
    public = Path(names[0]).read_text()
    for each in [*secrets_of(key, word), opening.salt.hex()]:
        assert each not in said and each not in public
    assert made.hash in said
    assert "embed it with: --key k.json --owner Ada --subject 'cats v1'\n" in said
    assert "--bare" in said

    code, said = call("--key", "k.json", "--verify", names[0])
    assert code == 0 and said.startswith("holds: 'cats v1' of 'Ada', 100 bits")
    assert made.time in said and "ab" * 32 in said
    for form in (to_hex(word), to_text(word)):
        code, said = call("--fingerprint", form, "--verify", names[0], "--opening", names[1])
        assert code == 0 and form not in said
    os.rename(names[1], "moved")
    code, said = call("--key", "k.json", "--verify", names[0])
    assert code == 2 and "cats.opening.json: No such file" in said
    assert call("--key", "k.json", "--verify", names[0], "--opening", "moved")[0] == 0
    os.rename(names[0], "renamed.json")
    code, said = call("--key", "k.json", "--verify", "renamed.json")
    assert code == 2 and "give --opening" in said


def test_what_does_not_hold(call: Any, key: Any) -> None:
    call(*CATS, "--commit", "cats")
    Key.draw().save("other.json")
    code, said = call("--key", "other.json", "--verify", "cats.commitment.json")
    assert code == 1 and said.startswith("does not hold: --key is not what")
    code, said = call("--fingerprint", "0" * 25, "--verify", "cats.commitment.json")
    assert code == 1 and said.startswith("does not hold: the fingerprint is not what")
    for name, value in (("owner", "Eve"), ("bits", 99), ("time", "2001-01-01T00:00:00+00:00")):
        content = json.loads(Path("cats.commitment.json").read_text())
        with open("forged.commitment.json", "w") as file:
            json.dump(content | {name: value}, file)
        code, said = call("--key", "k.json", "--verify", "forged.commitment.json", "--opening",
                          "cats.opening.json")  # fmt: skip
        assert code == 1 and said.startswith("does not hold")
    call(*CATS, "--commit", "again")
    code, said = call("--key", "k.json", "--verify", "cats.commitment.json", "--opening",
                      "again.opening.json")  # fmt: skip
    assert code == 1 and "belongs to another commitment" in said


def test_bare_is_what_embed_takes_from_the_key(call: Any, key: Any) -> None:
    assert call(*CATS, "--bare", "--commit", "cats")[0] == 0
    opening = Opening.load("cats.opening.json")
    assert holds(Commitment.load("cats.commitment.json"), opening, key.fingerprint(100))
    assert opening.bare
    code, said = call(*CATS, "--bare", "--commit", "again")
    assert (
        code == 0
        and "embed it with: --key k.json\nnext: artfp registry add my.registry --key" in said
    )
    assert call("--key", "k.json", "--verify", "cats.commitment.json")[0] == 0


def test_a_fingerprint_without_a_key(call: Any) -> None:
    words = ["--owner", "Ada", "--subject", "cats", "--bits", "32"]
    code, said = call("--fingerprint", "12345678", *words, "--commit", "c")
    assert code == 0 and "embed it" not in said
    assert call("--fingerprint", "0x12345678", "--verify", "c.commitment.json")[0] == 0
    code, said = call("--fingerprint", "123456789", *words, "--commit", "d")
    assert code == 2 and "123456789" not in said


def test_a_key_that_others_can_read_is_warned_of(call: Any, key: Any) -> None:
    os.chmod("k.json", 0o644)
    code, said = call(*CATS, "--commit", "cats")
    assert code == 0 and "chmod 600 k.json" in said


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], "missing --key"),
        (["--owner", "Ada", "--key", "new"], "--owner: only with --commit"),
        (["--key", "new", "--bits", "9", "--bare"], "--bits, --bare: only with --commit"),
        (["--key", "new", "--fingerprint", "00"], "--fingerprint: only with --commit"),
        (["--key", "new", "--opening", "x"], "--opening: only with --verify"),
        (["--commit", "c"], "give one of --key, --fingerprint and --fingerprint_file"),
        ([*CATS, "--fingerprint", "0" * 25, "--commit", "c"], "give one of"),
        ([*CATS[2:], "--fingerprint", "0" * 25, "--bare", "--commit", "c"], "--bare: only with"),
        ([*CATS, "--commit", "c", "--overwrite"], "--overwrite: not with --commit"),
        ([*CATS[:4], "--commit", "c"], "missing --subject, --bits"),
        ([*CATS[:6], "--bits", "513", "--commit", "c"], "found 513 bits"),
        ([*CATS[:6], "--bits", "x", "--commit", "c"], "--bits: expected"),
        ([*CATS, "--commit", "none/c"], "cannot be written: No such file"),
        ([*CATS, "--commit", "c", "--decoder", "none.safetensors"], "no decoder at"),
        (["--key", "none", *CATS[2:], "--commit", "c"], "key file none: No such file"),
        ([*CATS[:2], "--owner", "", "--subject", "s", "--bits", "9", "--commit", "c"], "found 0"),
        ([*CATS[:2], "--owner", "a\nb", *CATS[4:], "--commit", "c"], "control characters"),
        ([*CATS[:2], "--owner", "\udcff", *CATS[4:], "--commit", "c"], "UTF-8"),
        ([*CATS, "--verify", "c"], "--owner, --subject, --bits: not with --verify"),
        (["--key", "k.json", "--verify", "c", "--commit", "d"], "--commit: not with --verify"),
        (["--verify", "c"], "give one of --key, --fingerprint and --fingerprint_file"),
        (["--key", "k.json", "--verify", "k.json"], "not an artfp commitment"),
        (["--key", "k.json", "--verify", "none"], "commitment none: No such file"),
        (["--key", "none/k.json"], "cannot be written: No such file"),
        (["--kee", "x"], "did you mean --key?"),
    ],
)
def test_bad_input_is_one_line(call: Any, key: Any, arguments: Any, found: str) -> None:
    code, said = call(*arguments)
    assert code == 2 and found in said
    assert os.listdir(".") == ["k.json"]


def test_hostile_names_are_kept_and_shown_in_one_line(call: Any, key: Any) -> None:
    name = "<script>'\"\u202e[red]%s"
    assert call(*CATS[:2], "--owner", name, *CATS[4:], "--commit", "c")[0] == 0
    code, said = call("--key", "k.json", "--verify", "c.commitment.json")
    assert code == 0 and len(said.splitlines()) == 3
    assert "\u202e" not in said and "<script>" in said
    assert Commitment.load("c.commitment.json").owner == name


def test_help_teaches(call: Any) -> None:
    code, said = call("--help")
    assert code == 0
    assert re.search(r"artfp keygen --key owner.key.json --verify", said)


def test_no_torch_is_needed(tmp_path: Path) -> None:
    script = "import sys; from artfp.cli.main import main; code = main(sys.argv[1:])\n"
    script += "assert 'torch' not in sys.modules; sys.exit(code)"
    words = ["keygen", "--key", str(tmp_path / "k")]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
