"""`artfp attribute study`."""

from __future__ import annotations

from artfp.core.command import Command, report_unusable
from artfp.core.console import console
from artfp.passive_studies.marra2019.settings import Marra2019Settings

DESCRIPTION = """\
Analyse the residual fingerprints of sources as Marra et al. 2019 do: FOLDER has one subfolder of
images for each source, all images of one size. Part of the images estimate the residual
fingerprints (mean noise residuals), the others are tests; each is read once. With
--validation_images or --validation_dir images that are neither decide thresholds.

analyses (default: all that the sources allow), each a figure, a table and a section of the page:
  fingerprints     amplified, by the number of images
  energy           of the mean of N residuals, with the fits Einf + E0 2^-N and Einf + E0 / N
  autocorrelation  of the fingerprints
  histograms       correlations with the own and with other fingerprints; AUC of all pairs
  matrix           mean correlation of each source's images with each fingerprint
  confusion        test images by the largest correlation
  roc              of each fingerprint; thresholds, if there is a validation set
  jpeg             accuracy of attribution after JPEG compression (--jpeg)
  perturbed        the same after resizing, blur and noise (--strengths)
  number           accuracy against the number of images that estimate a fingerprint
  size             accuracy against the size of the images
  real             real against generated images (--real)
  dependence       correlations by what sources differ in: seed, training set, ... (--groups)"""

EPILOG = """\
examples:
  artfp attribute study sources/ --output_dir study/
  artfp attribute study sources/ --output_dir study/ --analyses energy,matrix --images 256
  artfp attribute study sources/ --output_dir study/ --real photos --groups groups.json
  artfp attribute study sources/ --output_dir study/ --validation_images 100 \\
      --strengths "resize=0.75,0.5;blur=0.5,1,2;noise=0.01,0.02,0.05"

writes into --output_dir: study.md (the page), study.json, images.csv (what each image was used
for), a figure and a table of each analysis, fingerprints/

groups.json has the metadata of each source that takes part:
  {"dcgan_a": {"architecture": "dcgan", "data": "cifar", "seed": "0"},
   "dcgan_b": {"architecture": "dcgan", "data": "cifar", "seed": "1"}, ...}
or one group each: {"dcgan_a": "dcgan", ...}. Without it the part of a name before the first dot is
the group, as in dcgan.seed1.

exit codes: 0 done, 1 some images could not be used (each is named)"""


def _study(settings: Marra2019Settings) -> int:
    from artfp.passive_studies.marra2019.study import marra2019_study

    found = marra2019_study(settings)
    for name, result in found.results.items():
        console().print(f"{name}: {result.text}", markup=False)
    for name, reason in found.left_out.items():
        console().print(f"{name}: left out, {reason}", markup=False)
    console().print(
        f"page, figures and tables in {settings.output_dir}", markup=False, soft_wrap=True
    )
    return report_unusable(found.failed)


COMMAND = Command(Marra2019Settings, _study, DESCRIPTION, EPILOG)
