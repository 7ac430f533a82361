"""`artfp attribute learned`."""

from __future__ import annotations

from artfp.core.command import Command, report_unusable
from artfp.core.console import console
from artfp.core.errors import one_line
from artfp.passive_studies.yu2019.settings import Yu2019Settings

DESCRIPTION = """\
Make the studies of Yu, Davis and Fritz (ICCV 2019) on any sources. FOLDER has one subfolder of
images for each; what the study is about depends on what these are: architectures of generators,
seeds of one architecture, or training sets that nearly agree, with real images or without.

Some images of each source, by name, train a network, others test it (512 of 1000 or more, else half
of the smallest source):
  confusions    predicted sources of each source's images, and how many are called none of these
  perturbed     accuracy after each published perturbation, with strengths drawn from the published
                ranges, and after their combination; with --immunise also of a network that is
                trained further on images perturbed like that
  features      Frechet distances between sources over those within, in the network's features and
                in generic ones (these take artfp[features]), with figures (t-SNE)
  open set      with --left_out a network is trained anew without a source, then tested on it

Images are cropped to squares of 32, 64, 128 or 256 pixels from their middle, never resized. Files
are compared first: a warning names sources that codec, size, JPEG tables or metadata alone would
separate."""

EPILOG = """\
examples:
  artfp attribute learned architectures/ --output_dir architectures_study --immunise all
  artfp attribute learned seeds/ --output_dir seeds_study --left_out all
  artfp attribute learned subsets/ --output_dir subsets_study --network published \\
      --precision bf16-mixed --left_out real,seed3

writes into --output_dir:
  learned.md, .csv, .json      all tables, explained; accuracy under each perturbation
  images.csv                   what each image was used for: training, validation (a fifth of those
                               that fit; it calibrates too), test
  confusion.csv                images by true source and largest logit, under each perturbation
  confusion_*.png              confusions of unperturbed images
  perturbed.png                accuracy before and after immunisation
  features_*.png               images as points, near each other where features agree
  open_set.csv, roc.png        with --left_out: detection of images of the unknown source
  attributors/                 the networks, for artfp attribute predict and report

A study that was interrupted continues when the same command is given again; so does one with
--left_out added later.

exit codes: 0 done, 1 some images could not be used (each is named)"""


def _learned(settings: Yu2019Settings) -> int:
    from artfp.passive_studies.yu2019.report import accuracy_table
    from artfp.passive_studies.yu2019.study import yu2019_study

    found = yu2019_study(settings)
    console().print(accuracy_table(found.rows))
    for each in found.features:
        print(f"distances between over within sources, {each.name} features: {each.ratio:.4g}")
    for result in found.open_sets:
        known, unknown = result.rejected
        print(
            f"without {one_line(result.source)}: AUC {result.auc.value:.4f}, "
            f"{unknown:.1%} of its images rejected, {known:.1%} of the others"
        )
    print(f"wrote {', '.join(found.files)} into {one_line(str(settings.output_dir))}")
    return report_unusable(found.failed)


COMMAND = Command(Yu2019Settings, _learned, DESCRIPTION, EPILOG)
