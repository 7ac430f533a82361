"""`artfp detect` and `detect_fingerprints.py`: decode images, compare with fingerprints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from artfp.core.command import count_images, report_unusable
from artfp.core.common import add_decoder_option, add_run_options, add_source_options, check_bits
from artfp.core.console import console, prepare_terminal
from artfp.core.device_options import trainer_options
from artfp.core.errors import UserError, one_line
from artfp.core.legacy import make_parser
from artfp.core.processes import first_process

DESCRIPTION = """\
Decode the fingerprint of every image, and say how well it matches one that you name.

Images of any size are brought to the decoder's resolution. Writes detected_fingerprints.txt (a line
"name bits" each) and .csv; with --fingerprint or --key also matches, bit accuracy and the one-sided
binomial p-value: the probability that as many bits or more match a secret random fingerprint that
has nothing to do with the image. What was embedded with --owner and --subject is found with them.

--registry compares with all fingerprints in a registry. It, --same_source, --report, --json and
--exit-code give a verdict: match, no match or inconclusive. Its p-value is corrected for the number
of fingerprints compared and, unless the images are of the --same_source, for the number of images;
that of a single image in the table and the report for the number of fingerprints alone."""

EPILOG = """\
examples:
  detect_fingerprints.py --data_dir suspects/ --output_dir out --key owner.key.json
  detect_fingerprints.py --decoder_path cifar32 --data_dir fake.png --output_dir out \\
      --fingerprint 9f3a0c4477d1e2b8
  detect_fingerprints.py --data_dir suspects/ --output_dir out --registry my.registry \\
      --same_source --report out/report.html --json -

exit codes: 0 it ran, 1 some images could not be used (each is named), 2 bad input,
130 interrupted; with --exit-code 0 match, 1 no match, 3 inconclusive, 2 and 130 as before.
In a YAML file for --config write a fingerprint of digits in quotes."""

_CODES = {"match": 0, "no match": 1, "inconclusive": 3}


def _parser() -> Any:
    parser = make_parser("detect_fingerprints.py", DESCRIPTION, EPILOG)
    add = parser.add_argument
    add_decoder_option(parser)
    add(
        "--realign",
        type=bool,
        default=True,
        help="Find and undo mirroring, crops and turns before reading; false reads images as they "
        "lie. Images without a fingerprint take longer with it.",
    )
    add_source_options(parser, "Images to examine")
    _add_verdict_options(parser)
    add_run_options(parser)
    return parser


def _add_verdict_options(parser: Any) -> None:
    add = parser.add_argument
    add(
        "--registry",
        type=str | None,
        default=None,
        metavar="FILE",
        help="Compare with all entries of a registry (artfp registry) instead of one fingerprint.",
    )
    add(
        "--same_source",
        action="store_true",
        help="The images are the work of one suspect: judge what they have in common.",
    )
    add(
        "--alpha",
        type=float | None,
        default=None,
        help="Level of a match, over all comparisons; default: 1e-4.",
    )
    add(
        "--prior",
        type=float | None,
        default=None,
        help="Probability, before the test, that a fingerprint sought is there. It changes the "
        "odds that are told, not the verdict; default: 0.01.",
    )
    add(
        "--calibration",
        type=str | None,
        default=None,
        metavar="FILE",
        help="What the decoder says of clean images, by artfp calibrate; default: the file "
        "..._calibration.json beside the decoder's, if it is there.",
    )
    add("--report", type=str | None, default=None, metavar="FILE.html",
        help="Write a report: one HTML file with all that the verdict rests on.")  # fmt: skip
    add(
        "--json",
        type=str | None,
        default=None,
        metavar="FILE",
        help='Write the same as JSON; "-" for standard output, the rest then goes to stderr.',
    )
    add(
        "--reveal",
        action="store_true",
        help="Let report and JSON tell which bits match. Together with the images that is the "
        "secret fingerprint.",
    )
    add(
        "--exit-code",
        "--exit_code",
        action="store_true",
        help="Let the exit code tell the verdict: 0 match, 1 no match, 3 inconclusive.",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    args = _parser().parse_args(words)
    _check(args)
    prepare_terminal()
    with ExitStack() as stack:
        return _run(args, words, stack)


def _run(args: Any, argv: list[str], stack: ExitStack) -> int:
    from artfp.data import Geometry, open_source

    source = open_source(args.data_dir)
    geometry = Geometry(args.image_resolution, args.use_celeba_preprocessing)

    from artfp.data.bundle import find_weights
    from artfp.data.files import file_hash
    from artfp.ownership.assignment import given_fingerprints
    from artfp.watermark import load_decoder
    from artfp.watermark.decode import COMPARED_COLUMNS, OWNER_COLUMNS, DecodingJob, run_decoding
    from artfp.watermark.prediction_loop import make_trainer

    decoder, card = load_decoder(args.decoder_path, args.realign)
    check_bits(args.fingerprint_size, card["bits"], args.decoder_path)
    decoder_hash = file_hash(find_weights(args.decoder_path, "decoder"))
    given = given_fingerprints(card["bits"], args.fingerprint, args.key, args.owner, args.subject)
    auditor = None
    columns: tuple[str, ...] = ()
    if _judges(args):
        auditor = _auditor(args, argv, source, given, card["bits"], decoder_hash, stack)
        columns = (
            (*COMPARED_COLUMNS, "verdict", *OWNER_COLUMNS)
            if args.registry is not None
            else ("verdict",)
        )
    result = run_decoding(
        DecodingJob(
            source=source,
            output=Path(args.output_dir),
            decoder=decoder,
            decoder_hash=decoder_hash,
            fingerprints=given,
            geometry=geometry,
            batch_size=args.batch_size,
            num_workers=args.num_workers,
            trainer=make_trainer(**trainer_options(args)),
            examine=auditor,
            columns=columns,
        )
    )
    if result is None:
        return 0
    out = sys.stderr if args.json == "-" else sys.stdout
    print(f"{count_images(result.decoded)} decoded, in {one_line(args.output_dir)}", file=out)
    if auditor is not None:
        _tell(auditor, out)
    elif result.matches is not None and len(result.matches):
        from artfp.audit.console import matches_table

        console().print(matches_table(result.matches, card["bits"]))
    code = report_unusable(result.failed)
    if auditor is None or not args.exit_code:
        return code
    verdict = auditor.audit.verdict
    return _CODES["inconclusive" if verdict is None else verdict.outcome]


def _judges(args: Any) -> bool:
    """Whether a verdict is asked for."""
    names = ("registry", "alpha", "prior", "calibration", "report", "json")
    return (
        args.same_source
        or args.exit_code
        or args.reveal
        or any(getattr(args, name) is not None for name in names)
    )


def _check(args: Any) -> None:
    """Refuse options that do not go together."""
    one = args.fingerprint is not None or args.key is not None
    if args.key is None and (args.owner, args.subject) != (None, None):
        raise UserError("--owner and --subject say what to derive from --key, which is not given")
    if args.registry is not None and one:
        raise UserError("--registry and --fingerprint or --key: give one of them")
    if _judges(args) and args.registry is None and not one:
        raise UserError(
            "a verdict needs something to compare with: --registry, --key or --fingerprint"
        )
    if args.reveal and args.report is None and args.json is None:
        raise UserError("--reveal: only with --report or --json")


def _auditor(
    args: Any,
    argv: list[str],
    source: Any,
    given: Any,
    bits: int,
    decoder_hash: str,
    stack: ExitStack,
) -> Any:
    """Prepare the verdict, and refuse what could fail only after long work."""
    from artfp.audit.auditor import (
        STDOUT,
        Auditor,
        shown_command,
    )
    from artfp.audit.candidates import Candidates, GivenFingerprint, RegistryEntries
    from artfp.audit.facts import AuditContext
    from artfp.data.bundle import find_weights
    from artfp.data.files import (
        check_output,
    )
    from artfp.ownership.registry import Registry
    from artfp.stats import Policy
    from artfp.watermark.calibrate import read_calibration

    alpha = Policy.alpha if args.alpha is None else args.alpha
    prior = Policy.prior if args.prior is None else args.prior
    try:
        policy = Policy(alpha, prior=prior, remarkable=max(alpha, Policy.remarkable))
    except ValueError as error:
        raise UserError(f"--{error}") from None
    report = None if args.report is None else check_output(args.report, "report")
    if args.json not in (None, STDOUT):
        check_output(args.json, "JSON file")
    calibration, warnings = read_calibration(
        args.calibration,
        find_weights(args.decoder_path, "decoder"),
        decoder_hash,
        bits,
        args.realign,
    )
    sought: Candidates
    state = None
    if args.registry is not None:
        sought = RegistryEntries(stack.enter_context(Registry(args.registry)), bits)
        state = sought.state
    else:
        sought = GivenFingerprint(given.of_image(""))
    _warn(warnings)
    how = "key" if args.key is not None else "fingerprint"
    asked = AuditContext(
        location=args.data_dir,
        command=shown_command(argv),
        sought=how if args.registry is None else "registry",
        decoder={
            "name": args.decoder_path,
            "hash": decoder_hash,
            "bits": bits,
            "realign": args.realign,
        },
        policy=policy,
        registry=args.registry,
        state=state,
        calibration=calibration,
        warnings=tuple(warnings),
    )
    return Auditor(source, bits, sought, asked, args.same_source, args.reveal, report, args.json)


def _warn(warnings: Sequence[str]) -> None:
    if first_process():
        for warning in warnings:
            print(f"warning: {one_line(warning)}", file=sys.stderr)


def _tell(auditor: Any, out: Any) -> None:
    """The verdict as a table and in words."""
    from rich.console import Console

    from artfp.audit.console import explain_verdict, verdict_table

    facts = auditor.facts
    _warn(facts["warnings"][len(auditor.asked.warnings) :])
    table = verdict_table(facts)
    if out is sys.stdout:
        console().print(table)
    else:
        Console(file=out, width=console().width, highlight=False).print(table)
    print(explain_verdict(facts), file=out)
    for what, path in (("report", auditor.report), ("JSON", auditor.json)):
        if path not in (None, "-"):
            print(f"{what} in {one_line(str(path))}", file=out)
