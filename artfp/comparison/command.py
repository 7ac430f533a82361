"""`artfp compare`: proactive against passive attribution, in one table."""

from __future__ import annotations

from artfp.comparison.settings import CompareSettings
from artfp.core.command import Command, report_unusable
from artfp.core.console import console
from artfp.core.errors import one_line

DESCRIPTION = """\
Attribute the same images to their sources by fingerprints and by traces, under the same
perturbations.

FOLDER has one subfolder of images for each source: images of generators that were trained on
fingerprinted images, each with a fingerprint of its own; and perhaps one source without, such as
real images. Some images of each source fit the passive methods, the others test all.

methods:
  proactive  decodes the fingerprint; it needs no image of any source (always takes part)
  plain      correlation with mean noise residuals (Marra et al. 2019)
  best       matched filter, spectra or both, whichever is best on held-out images
  learned    a network (after Yu et al. 2019)
  immunised  the same network, trained further on perturbed images
  nearest    the nearest image by its pixels
  eigenface  Eigenfaces

writes into --output_dir:
  compare.md               the summary table, and the accuracy under each perturbation
  compare.csv, .json       all figures
  accuracy.png, tpr.png    a panel for each perturbation, a line for each method
  attributors/             the fitted passive methods, for artfp attribute predict

An interrupted comparison continues when the same command is given again."""

EPILOG = """\
the file of --fingerprints, JSON; a fingerprint is bits, hexadecimal, or a key's file; null: none:
  {"dcgan": "9f3c...", "glow": "glow.key.json", "real": null}

examples:
  artfp compare made/ --fingerprints made.json --decoder_path transfer32 --output_dir compare
  artfp compare made/ --fingerprints made.json --methods plain,best --output_dir quick \\
      --perturbations jpeg --strengths jpeg=95,75

exit codes: 0 done, 1 some images could not be used (each is named)"""


def _compare(settings: CompareSettings) -> int:
    from artfp.comparison.report import summary_table
    from artfp.comparison.study import compare_attribution

    found = compare_attribution(settings)
    console().print(summary_table(found))
    print(f"wrote {', '.join(found.files)} into {one_line(str(settings.output_dir))}")
    return report_unusable(found.failed)


COMMAND = Command(CompareSettings, _compare, DESCRIPTION, EPILOG)
