"""Settings classes: options, ranges, YAML, command lines, environment, positional values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from artfp.core.errors import UserError
from artfp.core.help import help_text
from artfp.core.options import Bounds, Fraction, PositiveFloat, PositiveInt, option, options
from artfp.core.parser import expand_flags, parse, unused_options
from artfp.core.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Images(Settings):
    """Images.

    Args:
        data_dir: Images: a folder,
            a zip or a list.
        size: Pixels a side, 5% of the width.
    """

    title: ClassVar[str] = "images"

    data_dir: str = option(positional=True, metavar="IMAGES")
    size: PositiveInt | None = None


@dataclass(frozen=True, kw_only=True)
class Example(Images):
    """Example of everything.

    Args:
        lr: Learning rate.
        kind: Kind of it.
        mode: Mode, if any.
        stages: Stages.
        weight: Weight.
        check: Check it.
        names: Names.
        qualities: Qualities.
        out: Folder.
        realign: Realign.
        pin: Secret.
        share: Fraction.
        hook: No option.
    """

    title: ClassVar[str] = "example"

    lr: PositiveFloat = 2e-3
    kind: Literal["a", "b"] = "a"
    mode: Literal["u", "v"] | None = None
    stages: tuple[Literal["x", "y"], ...] = option(("x", "y"), separator=",")
    weight: float = option(1.0, flags=("--BCE_weight", "--weight"))
    check: bool = False
    names: tuple[str, ...] = option((), separator=",")
    qualities: tuple[PositiveInt, ...] | None = option(None, separator=",")
    out: Path | None = None
    realign: bool = True
    pin: str | None = option(None, secret=True)
    share: Fraction = 0.5
    hook: object = option(None, hidden=True)


def parsed(*argv: str) -> Example:
    return parse(Example, argv, "artfp example")


def test_every_type_of_option() -> None:
    words = (
        "photo.jpg --lr 0.1 --names a,b --qualities 3,4 --check --stages y --out x --realign false"
        " --weight 2"
    )
    assert parsed(*words.split()) == Example(
        data_dir="photo.jpg",
        lr=0.1,
        names=("a", "b"),
        qualities=(3, 4),
        check=True,
        stages=("y",),
        out=Path("x"),
        realign=False,
        weight=2.0,
    )
    assert parsed("--data_dir", "x") == Example(data_dir="x")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("", "missing --data_dir"),
        ("x --lr 0", "--lr is 0.0; it must be above 0"),
        ("x --size 0", "--size is 0; it must be 1 or more"),
        ("x --share 1.5", "--share is 1.5; it must be 0 or more and at most 1"),
        ("x --qualities 3,0", "--qualities is 0; it must be 1 or more"),
        ("x --qualities 3,a", "--qualities: invalid int,... value: '3,a'"),
        ("x --kind c", "--kind: expected one of 'a', 'b'; found c"),
        ("x --mode w", "--mode: expected one of 'u', 'v', null; found w"),
        ("x --stages x,z", "--stages is 'z'; choose from x, y"),
        ("x --lr a", "--lr: expected float; found a"),
        ("x y", "unrecognized arguments: y; see artfp example --help"),
        ("x --chek", "unrecognized arguments: --chek; did you mean --check?"),
        ("x --lr", "--lr: expected one argument"),
        ("x --config /nowhere.yaml", ""),
    ],
)
def test_bad_words_are_one_line(words: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parsed(*words.split())
    out, err = capsys.readouterr()
    assert stopped.value.code == 2 and out == ""
    assert err.startswith(f"artfp example: error: {line}") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "yaml", "line"),
    [
        ("--pin 0110 --print_config", "", ""),
        ("--pni 0110", "", "unrecognized arguments: --pni; did you mean --pin?"),
        ("--pni=0110", "", "unrecognized arguments: --pni; did you mean --pin?"),
        ("0110", "", "unrecognized arguments: ...; see artfp example --help"),
        ("", "pin: 0110", "PLACE: --pin: expected text; put it in quotes"),
        ("", "pin: [0110]", "PLACE: --pin: expected text; put it in quotes"),
        ("", "pin 0110", "PLACE: expected options in YAML, such as 'seed: 1' on a line"),
        ("", "pin: [0110", "PLACE: Problems parsing config: while parsing"),
        ("", "pin: !!python/name:0110 x", "PLACE: Problems parsing config: "),
        ("", "pni: '0110'", "'pni' in --config is not an option"),
    ],
)
def test_secrets_are_not_repeated(
    words: str, yaml: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = []
    if yaml:
        (path := tmp_path / "a.yaml").write_text(yaml + "\n")
        more = ["--config", str(path)]
        line = line.replace("PLACE", str(path))
    with pytest.raises(SystemExit):
        parsed("x", *words.split(), *more)
    out, err = capsys.readouterr()
    assert line in err and bool(line) == bool(err)
    said = out + err.replace(str(tmp_path), "")
    assert "0110" not in said and "72" not in said


def test_the_library_checks_the_same_ranges() -> None:
    with pytest.raises(UserError, match=r"--lr is -1.0; it must be above 0"):
        Example(data_dir="x", lr=-1)
    with pytest.raises(UserError, match=r"--lr is nan; it must be above 0"):
        Example(data_dir="x", lr=float("nan"))
    with pytest.raises(UserError, match=r"--kind is 'q'; choose from a, b"):
        Example(data_dir="x", kind="q")  # type: ignore[arg-type]
    found = Example(data_dir="x", out="folder", names=["a"])  # type: ignore[arg-type]
    assert found.out == Path("folder") and found.names == ("a",)


def test_environment_file_and_words_in_rising_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTFP_LR", "0.1")
    monkeypatch.setenv("ARTFP_CHECK", "true")
    monkeypatch.setenv("ARTFP_NAMES", "q,r")
    monkeypatch.setenv("ARTFP_DATA_DIR", "z")
    assert parsed() == Example(data_dir="z", lr=0.1, check=True, names=("q", "r"))
    file = tmp_path / "settings.yaml"
    file.write_text("lr: 0.2\nnames: [s, t]\nBCE_weight: 3\n")
    found = parsed("--config", str(file), "--names", "u")
    assert found == Example(data_dir="z", lr=0.2, check=True, names=("u",), weight=3.0)


def test_yaml_is_read_again(tmp_path: Path) -> None:
    made = Example(data_dir="a b", names=("x",), qualities=(5,), out=Path("o"), pin="0101")
    file = tmp_path / "settings.yaml"
    file.write_text(made.to_yaml())
    assert "0101" not in made.to_yaml()
    assert parsed("--config", str(file), "--pin", "0101") == made
    assert Example.from_mapping({**made.to_mapping(), "other": 1}) == made


def test_command_line_gives_the_settings_again(tmp_path: Path) -> None:
    made = Example(data_dir="a b", realign=False, names=("x", "y"), weight=2.0, check=True)
    line = made.command_line("artfp example")
    assert line == (
        "artfp example --BCE_weight 2.0 --check --names x,y --realign false --data_dir 'a b'"
    )
    secret = Example(data_dir=str(tmp_path), out=tmp_path / "out", pin="0101")
    line = secret.command_line("artfp example", names_only=True)
    assert line == f"artfp example --out out --pin ... --data_dir {tmp_path.name}"


def test_help_has_titled_groups_and_defaults_as_typed() -> None:
    text = help_text(Example, "artfp example", "Description\n  as laid out.", "examples:\n  one")
    assert text.startswith("usage: artfp example IMAGES [options]\n\nDescription\n  as laid out.\n")
    assert "\nexample:\n  --lr FLOAT            Learning rate. (default: 0.002)\n" in text
    assert "\nimages:\n  --data_dir IMAGES " in text and "5% of the width" in text
    assert "--kind {a,b}          Kind of it. (default: a)" in text
    assert "type:" not in text and "null" not in text and "--hook" not in text
    assert "\n\nexamples:\n  one\n\nexit codes of every command: 2 " in text
    assert "ARTFP_LR for --lr" in text


def test_a_field_without_help_is_refused() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Bare(Settings):
        """Nothing."""

        x: int = 1

    with pytest.raises(TypeError, match=r"Bare\.x has no help"):
        options(Bare)


def test_words_after_two_dashes_are_positional() -> None:
    assert parsed("--lr", "1", "--", "-odd.png").data_dir == "-odd.png"


def test_bounds_in_words() -> None:
    assert str(Bounds(ge=1, le=3)) == "1 or more and at most 3"
    assert str(Bounds(gt=0, lt=1)) == "above 0 and below 1"
    assert 1 in Bounds(ge=1) and 1 not in Bounds(gt=1)


def test_several_values_without_flags_are_taken_in_the_order_of_the_fields() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Two(Example):
        """Two.

        Args:
            target: Second.
        """

        target: str = option(positional=True)

    def read(*words: str) -> tuple[str, str]:
        made = parse(Two, words, "artfp two")
        return made.data_dir, made.target

    assert read("in", "--lr", "1", "out") == read("--data_dir", "in", "out") == ("in", "out")
    assert read("in", "--target", "out") == ("in", "out")
    assert help_text(Two, "artfp two").startswith("usage: artfp two IMAGES TEXT [options]\n")
    with pytest.raises(SystemExit):
        read("in", "out", "more")


def test_beginnings_of_options_are_completed(capsys: pytest.CaptureFixture[str]) -> None:
    def expanded(*words: str) -> list[str]:
        return expand_flags(Example, words, "artfp example")

    assert expanded("--nam", "a", "--l=3", "--verb", "--unknown") == [
        "--names", "a", "--lr=3", "--verbose", "--unknown",
    ]  # fmt: skip
    assert expanded("x", "--", "--nam") == ["x", "--", "--nam"]
    with pytest.raises(SystemExit):
        expanded("--c")
    assert "--c could be --check or --config" in capsys.readouterr().err


def test_options_without_effect_are_told() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Scheduled(Example):
        """Example.

        Args:
            ramp: Steps.
        """

        ramp: int = 30

        @property
        def without_effect(self) -> dict[str, str]:
            return {} if self.kind == "b" else {"ramp": "it belongs to --kind b"}

    def told(*words: str) -> list[str]:
        return unused_options(parse(Scheduled, ["x", *words], "artfp example"), words)

    line = "--ramp has no effect: it belongs to --kind b"
    assert told() == [] and told("--ramp", "30", "--kind", "b") == []
    assert told("--ramp", "30") == told("--ramp=31") == [line]
    assert unused_options(Scheduled(data_dir="x", ramp=2), []) == [line]  # by a YAML file


@dataclass(frozen=True, kw_only=True)
class Pictures(Images):
    """Pictures from images.

    Args:
        marked_dir: More images.
        output_dir: Folder for them.
    """

    marked_dir: tuple[Path, ...] = ()
    output_dir: Path = Path("out")


def test_output_in_a_folder_of_images_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, other = tmp_path / "in", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder)
    for settings in (
        {"data_dir": "."},  # with the default
        {"data_dir": str(folder), "output_dir": folder},
        {"data_dir": str(other), "marked_dir": (other, folder), "output_dir": folder / "a" / "b"},
        {"data_dir": str(folder), "output_dir": tmp_path / "link" / "out"},
    ):
        with pytest.raises(UserError, match="choose an output folder outside"):
            Pictures(**settings)
    Pictures(data_dir=str(folder), output_dir=tmp_path)
    Pictures(data_dir=str(folder), output_dir=tmp_path / "in2")
    Pictures(data_dir="no such folder", output_dir=folder)

    class Tables(Pictures):
        __doc__ = Pictures.__doc__
        writes_pictures: ClassVar[bool] = False

    Tables(data_dir=str(folder))


def _bomb() -> str:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("yaml", "line"),
    [
        ("lr: &a [*a]", "Problems parsing config: line 1: aliases are not taken"),
        ("data_dir: &a {x: *a}", "Problems parsing config: line 1: aliases are not taken"),
        (_bomb(), "Problems parsing config: line 2: aliases are not taken"),
        ("lr: " + "[" * 100_000, "Problems parsing config: nested deeper than 20 levels"),
        ("# x\n" * 70_000, "larger than 256 KiB; expected options in YAML"),
    ],
)
def test_yaml_without_end_is_refused_at_once(
    yaml: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path := tmp_path / "a.yaml").write_text(yaml)
    with pytest.raises(SystemExit):
        parsed("x", "--config", str(path))
    assert capsys.readouterr().err == f"artfp example: error: {path}: {line}\n"
    assert parsed("x&y[1]", "--lr", "0.5").data_dir == "x&y[1]"
