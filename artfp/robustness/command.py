"""`artfp robustness`: watermark methods and attributors under perturbations."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from artfp.core.command import Command, count_images, report_unusable
from artfp.core.console import console
from artfp.core.errors import one_line
from artfp.robustness.settings import RobustnessSettings

if TYPE_CHECKING:
    from artfp.robustness.report import Report


def _plugins(group: str) -> str:
    """Return the names of an entry point's group, for the help; empty if there are none."""
    names = ", ".join(entry.name for entry in metadata.entry_points(group=group))
    return f" Of other packages: {names}." if names else ""


DESCRIPTION = f"""\
Compare watermarks under perturbations of growing strength.

Every method marks the same originals, each image with a random message of its own, and decodes them
after every perturbation at every strength (real codecs, 8-bit pixels). All methods meet the same
draws. Measured are the bit accuracy, the fraction of images whose own message fits best of all
messages, and the fraction found by a test with false positive rate --fpr (TPR): exact for each
method's number of bits, so that 32 and 100 bits can be compared.

Methods: shipped weights (photo128, cifar32, transfer32), an encoder's file with its decoder beside
it, and with pip install -e '.[peers]' dwtDct, dwtDctSvd, rivaGan (32 bits, from 256x256 pixels) and
blind-watermark (64 bits). NAME:plain takes a decoder without its search for crops and rotations;
LABEL=NAME renames.{_plugins("artfp.methods")}

Perturbations: jpeg, webp, resize, blur, noise, quantise, lowpass, residual, mirror, centre_crop,
random_crop, rotation, erase, brightness, contrast, gamma, saturation, hue, relight, screenshot,
super_resolution, combination; with --latent_autoencoder also
latent.{_plugins("artfp.perturbations")}

With --marked_dir nothing is embedded: the images there, such as the output of a generator that was
trained on fingerprinted images, carry one known fingerprint and are only decoded.

With --attributor the source of images is predicted by what artfp attribute fit wrote: measured is
the fraction that is right. It stands alone or in one table with the rest."""

EPILOG = """\
examples:
  artfp robustness --data_dir photos/ --image_resolution 256 --limit 100 --output_dir robust \\
      --methods photo128,dwtDct,dwtDctSvd,rivaGan,blind-watermark
  artfp robustness --data_dir photos/ --output_dir jpeg --methods photo128,mine=run/encoder.safetensors \\
      --perturbations jpeg,noise --strengths "jpeg=90,70,50,30;noise=0.02,0.05"
  artfp robustness --marked_dir generated/ --decoder_path photo128 --key owner.key.json \\
      --output_dir robust_gan
  artfp robustness --attributor runs/dumps --labelled_dir labelled/ --output_dir robust_passive

writes into --output_dir:
  robustness.csv, robustness.json  a row for each method, perturbation and strength
  fidelity.csv                     PSNR, SSIM and visibility of each method's marks
  working_range.md                 the harshest strengths up to which each method works, and how
                                   visible its marks are
  bit_accuracy.png, tpr.png        a panel for each perturbation, a line for each method
  source_accuracy.png              the same of attributors
  examples/                        what each perturbation does to one image

An interrupted run goes on when the same command is given again.

exit codes: 0 done, 1 some images could not be used (each is named)"""  # noqa: E501


def _robustness(settings: RobustnessSettings) -> int:
    from artfp.robustness.report import write_report
    from artfp.robustness.run import robustness_sweep

    report = robustness_sweep(settings)
    output = settings.output_dir
    files = write_report(report, output, report.example, settings.seed)
    _print(report)
    shown = [name for name in files if "/" not in name]
    examples = len(files) - len(shown)
    plural = "" if examples == 1 else "s"
    print(f"wrote {', '.join(shown)} and {examples} example{plural} into {output}")
    return report_unusable(report.unusable)


def _print(report: Report) -> None:
    """Fidelity, and a row for each condition with a column for each method."""
    from artfp.data.tables import Column, rich_table
    from artfp.metrics.visibility_summary import describe_visibility
    from artfp.robustness.report import cell

    methods = report.methods()
    rows = {(r.method, r.perturbation, r.strength): r for r in report.sweep.rows}
    for name, fidelity in report.sweep.fidelity.items():
        print(
            f"{name}: PSNR {fidelity.psnr:.2f} dB, SSIM {fidelity.ssim:.4f} "
            f"on {count_images(fidelity.images)}"
        )
        if fidelity.visibility:
            worst = one_line(fidelity.most_visible)
            print(f"{name}: {describe_visibility(fidelity.visibility, worst)}")
    for name, method in {row.method: row for row in report.sweep.rows}.items():
        if method.negatives:
            own = [r.false_positives for r in report.sweep.rows if r.method == name]
            highest = max(each for each in own if each is not None)
            what = "without the fingerprint" if method.bits else "of no known source"
            print(
                f"{name}: {count_images(method.negatives)} {what}, of which at most "
                f"{highest:.2%} passed the test under any condition"
            )
    kinds = {row.bits is None: None for row in report.sweep.rows}
    figure = " or ".join("accuracy of the source" if kind else "bit accuracy" for kind in kinds)
    title = f"{figure} / TPR at a false positive rate of {report.sweep.rows[0].fpr:g}"
    heads = ("\n".join([each.name, *each.facts()]) for each in methods)
    columns = [Column("perturbation\n@strength", wrap="no")]
    columns += [Column(head, wrap="fold") for head in heads]
    cells = [
        [each.name, *(cell(rows[c.name, each.group, each.strength]) for c in methods)]
        for each in report.conditions
    ]
    console().print(rich_table(cells, columns, title))


COMMAND = Command(RobustnessSettings, _robustness, DESCRIPTION, EPILOG)
