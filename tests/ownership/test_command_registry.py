"""`artfp registry`: what it keeps, tells, keeps to itself and refuses."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from artfp.cli.main import main
from artfp.data.bundle import find_weights
from artfp.data.paths import file_hash
from artfp.ownership.key import Key, to_hex, to_text
from artfp.ownership.registry import Registry

CATS = ("--owner", "Ada", "--subject", "cats v1", "--bits", "100")


@pytest.fixture
def call(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Any:
    """Runs `artfp registry` in an empty folder: exit code, what it said in all."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: Any, command: str = "registry") -> Any:
        capfd.readouterr()
        caplog.clear()
        code = main([command, *map(str, arguments)])
        said = capfd.readouterr()
        if code == 2:
            assert said.out == "" and said.err.count("\n") == 1
            assert said.err.startswith(f"artfp {command}")
        logged = "".join(f"{record.getMessage()}\n" for record in caplog.records)
        return code, said.out + said.err + logged

    return run


@pytest.fixture
def key(tmp_path: Path) -> Any:
    made = Key.draw()
    made.save(tmp_path / "k.json")
    return made


@pytest.fixture
def filled(call: Any, key: Any) -> Any:
    """Two entries in `r`, one with a commitment; their ids."""
    call("--key", "k.json", *CATS, "--decoder", "photo128", "--commit", "cats", command="keygen")
    code, said = call("add", "r", "--key", "k.json", "--commitment", "cats.commitment.json")
    assert code == 0 and said.startswith("new registry r, which you alone can read\nadded ")
    code, also = call("add", "r", "--key", "k.json", "--owner", "Bob", "--subject", "dogs",
                      "--bits", "64", "--notes", "private")  # fmt: skip
    assert code == 0 and also.startswith("added ")
    assert "embed it with: --key k.json --owner Bob --subject dogs\n" in also
    ids = re.findall("^added ([0-9a-f]+)$", said + also, re.MULTILINE)
    return ids[0], ids[1]


def words(key: Any) -> Any:
    return key.fingerprint(100, owner="Ada", subject="cats v1"), key.fingerprint(
        64, owner="Bob", subject="dogs"
    )


def test_add(filled: Any, key: Any) -> None:
    with Registry("r") as registry:
        cats, dogs = registry
    assert (cats.id, dogs.id) == filled
    assert [cats.hex, dogs.hex] == [to_hex(word) for word in words(key)]
    committed = cats.committed()
    assert committed is not None
    assert cats.decoder == file_hash(find_weights("photo128", "decoder")) == committed.decoder
    assert (cats.owner, cats.subject, cats.bits) == ("Ada", "cats v1", 100)
    assert (dogs.decoder, dogs.commitment, dogs.notes) == (None, None, "private")
    assert stat.S_IMODE(os.stat("r").st_mode) == 0o600


def test_nothing_but_reveal_tells_the_fingerprint(filled: Any, call: Any, key: Any) -> None:
    secret = [form for word in words(key) for form in (to_hex(word), to_text(word))]
    for arguments in (
        ["list", "r"],
        ["list", "r", "--json"],
        ["show", "r", filled[0]],
        ["show", "r", filled[1]],
        ["verify", "r"],
        ["export", "r", "all"],
        ["export", "r", "public", "--public"],
        ["import", "s", "all"],
        ["add", "r", "--fingerprint", to_hex(words(key)[0]), *CATS],
        ["add", "r", "--fingerprint", to_hex(words(key)[0]), *CATS, "--decoder", "photo128"],
    ):
        _, said = call(*arguments)
        assert said and not any(each in said for each in secret)
    assert not any(each in Path("public").read_text() for each in [*secret, "private", "Bob"])
    assert stat.S_IMODE(os.stat("all").st_mode) == stat.S_IMODE(os.stat("s").st_mode) == 0o600
    code, said = call("show", "r", filled[0], "--reveal")
    assert code == 0 and to_hex(words(key)[0]) in said


def test_list(filled: Any, call: Any) -> None:
    code, said = call("list", "r")
    assert code == 0
    rows = [line.split("\t") for line in said.splitlines() if "\t" in line][1:]
    assert [row[:4] for row in rows] == [
        [filled[0][:12], "Ada", "cats v1", "100"],
        [filled[1][:12], "Bob", "dogs", "64"],
    ]
    assert [row[-1] for row in rows] == ["yes", "no"]
    code, said = call("list", "r", "--json", "--owner", "Bob")
    assert [json.loads(line)["id"] for line in said.splitlines()] == [filled[1]]
    assert call("list", "r", "--json", "--subject", "none") == (0, "")
    code, said = call("list", "r", "--json", "--limit", "1")
    assert "there are more than these 1" in said and len(said.splitlines()) == 2
    assert len(call("list", "r", "--json", "--limit", "0")[1].splitlines()) == 2


def test_show(filled: Any, call: Any) -> None:
    code, said = call("show", "r", filled[1][:9])
    lines = dict(line.split("  ", 1) for line in said.splitlines())
    shown = {name.strip(): value.strip() for name, value in lines.items()}
    assert code == 0 and shown["id"] == filled[1]
    assert shown["notes"] == "private" and shown["fingerprint"].startswith("kept secret")


def test_export_and_import(filled: Any, call: Any) -> None:
    assert call("export", "r", "all")[1] == "2 entries in all\n"
    assert call("export", "r", "all")[0] == 2
    assert call("export", "r", "all", "--overwrite")[0] == 0
    assert call("import", "s", "all")[1] == "2 entries added, 0 there already, 0 left out\n"
    assert call("import", "s", "all")[1] == "0 entries added, 2 there already, 0 left out\n"
    with Registry("r") as one, Registry("s") as two:
        assert list(one) == list(two)
    code, said = call("export", "r", "public", "--public")
    assert said == "1 entry in public\n1 entry without a commitment left out\n"
    code, said = call("import", "t", "public")
    assert code == 2 and "a public export" in said and not os.path.exists("t")
    with open("all", "a") as file:
        file.write("x\n")
    assert call("import", "t", "all")[0] == 2 and not os.path.exists("t")


def test_conflicts(filled: Any, call: Any) -> None:
    call("export", "r", "all")
    call("add", "t", "--key", "k.json", "--owner", "Bob", "--subject", "dogs", "--bits", "64")
    code, said = call("import", "t", "all")
    assert code == 2 and "has this fingerprint already" in said
    code, said = call("import", "t", "all", "--keep")
    assert (code, said) == (0, "1 entry added, 0 there already, 1 left out\n")


def test_verify(filled: Any, call: Any) -> None:
    code, said = call("verify", "r")
    assert code == 0 and said.startswith("whole: 2 entries\ndigest ")
    digest = said.split()[-1]
    call("add", "r", "--key", "k.json", "--owner", "C", "--subject", "c", "--bits", "64")
    assert call("verify", "r", "--digest", digest)[0] == 0
    code, said = call("verify", "r", "--digest", digest[::-1])
    assert code == 1 and "never was" in said and said.count("\n") == 1
    assert call("verify", "r", "--digest", "x")[0] == 2
    with open("r", "r+b") as file:
        file.seek(os.stat("r").st_size - 20)
        file.write(b"\xff" * 20)
    code, said = call("verify", "r")
    assert code == 1 and "damaged: " in said and said.count("\n") == 1
    assert call("list", "r")[0] == 2


def test_a_commitment_that_is_not_to_this_fingerprint(filled: Any, call: Any) -> None:
    Key.draw().save("other.json")
    words = ["--commitment", "cats.commitment.json"]
    code, said = call("add", "s", "--key", "other.json", *words)
    assert code == 2 and "does not hold for this fingerprint" in said
    code, said = call("add", "s", "--key", "k.json", *words, "--owner", "Eve")
    assert code == 2 and not os.path.exists("s")
    code, said = call("add", "s", "--key", "k.json", *words, "--bits", "64")
    assert code == 2 and not os.path.exists("s")
    os.unlink("cats.opening.json")
    code, said = call("add", "s", "--key", "other.json", *words)
    assert code == 0 and "is not checked" in said


def test_bare(call: Any, key: Any) -> None:
    call("--key", "k.json", *CATS, "--bare", "--commit", "c", command="keygen")
    assert call("add", "r", "--key", "k.json", "--commitment", "c.commitment.json")[0] == 0
    assert call("add", "r", "--key", "k.json", *CATS[:-1], "64", "--bare")[0] == 0
    with Registry("r") as registry:
        assert [each.hex for each in registry] == [
            to_hex(key.fingerprint(100)),
            to_hex(key.fingerprint(64)),
        ]


HOSTILE = "<script>'\"; DROP TABLE entries; --\u202e[red]%s{}\\"


def test_hostile_texts_do_no_harm(call: Any, key: Any) -> None:
    notes = "a\nb\x1b[31m" + "n" * 100_000
    names = ("--owner", HOSTILE, "--subject", "[bold]x[/bold]", "--bits", "64")
    code, said = call("add", "r", "--key", "k.json", *names, "--notes", notes)
    assert code == 0
    id = said.split("added ")[1].split()[0]
    for arguments in (["list", "r"], ["list", "r", "--json"], ["show", "r", id]):
        code, said = call(*arguments)
        assert code == 0 and all(char.isprintable() or char in "\n\t" for char in said)
    assert len(call("show", "r", id)[1].splitlines()) == 9
    assert "[bold]x[/bold]" in call("list", "r")[1]
    assert json.loads(call("list", "r", "--json", "--owner", HOSTILE)[1])["owner"] == HOSTILE
    call("export", "r", "all")
    call("import", "s", "all")
    with Registry("s") as registry:
        (entry,) = registry
    assert entry.owner == HOSTILE and entry.notes == notes


ADD = ["add", "new", "--key", "k.json"]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], "no action; choose from add, list"),
        (["lst", "r"], "unknown action 'lst'"),
        (["a\nb"], "unknown action"),
        (["list"], "missing --registry"),
        (["list", "none"], "registry none: No such file"),
        (["list", "."], "not a file"),
        (["list", "k.json"], "not an SQLite database"),
        (["list", "none", "--limit", "-1"], "--limit is -1"),
        (["show", "none", "abcd"], "No such file"),
        (["export", "none", "x"], "No such file"),
        (["import", "new", "none"], "export none: No such file"),
        (["import", "new", "k.json"], "not a whole line"),
        (["verify", "none"], "No such file"),
        (["add", "new", *CATS], "give one of --key, --fingerprint and --fingerprint_file"),
        ([*ADD, "--fingerprint", "0" * 25, *CATS], "give one of"),
        ([*ADD, *CATS[:2]], "missing --subject, --bits"),
        ([*ADD, *CATS[:4], "--bits", "1000"], "found 1000 bits"),
        ([*ADD, *CATS[:4], "--bits", "x"], "--bits: expected"),
        (["add", "new", "--fingerprint", "0" * 24, *CATS], "found 24 characters 0 or 1"),
        ([*ADD, "--owner", "\udcff", *CATS[2:]], "UTF-8"),
        ([*ADD, *CATS, "--notes", "\udcff"], "notes: found NUL or bytes"),
        ([*ADD, *CATS, "--decoder", "none"], "no decoder at none"),
        ([*ADD, "--commitment", "none"], "commitment none: No such file"),
        ([*ADD, "--commitment", "k.json"], "not an artfp commitment"),
        (["add", "new", "--key", "none", *CATS], "key file none: No such file"),
        (["add", "none/new", "--key", "k.json", *CATS], "No such file"),
        ([*ADD, *CATS, "--nots", "x"], "did you mean --notes?"),
    ],
)
def test_bad_input_is_one_line(call: Any, key: Any, arguments: Any, found: str) -> None:
    code, said = call(*arguments)
    assert code == 2 and found in said
    assert os.listdir(".") == ["k.json"]


def test_help(call: Any) -> None:
    code, said = call("--help")
    assert code == 0 and "registry export my.registry public.jsonl --public" in said
    for action in ("add", "list", "show", "export", "import", "verify"):
        code, said = call(action, "--help")
        assert code == 0 and f"artfp registry {action}" in said


def test_no_torch_is_needed(filled: Any) -> None:
    script = "import sys; from artfp.cli.main import main; code = main(sys.argv[1:])\n"
    script += "assert 'torch' not in sys.modules; sys.exit(code)"
    words = ["registry", "list", "r", "--json"]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
