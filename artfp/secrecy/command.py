"""`artfp secrecy`: detectability of fingerprinted images without the key."""

from __future__ import annotations

import json

from artfp.core.command import Command, report_unusable
from artfp.core.console import console
from artfp.secrecy.settings import SecrecySettings

DESCRIPTION = """\
Train detectors (steganalysers) on N clean and N fingerprinted images and measure how well they find
fingerprinted images among others: the AUC, 0.5 for chance. The fewer images a good detector takes,
the less secret it is that a data set is fingerprinted. (Reading or forging the bits is another
matter.)

Threats, by what the attacker has:
  same_fingerprint    a part of the owner's data set, which carries one fingerprint, and clean
                      images; neither encoder nor key
  other_fingerprints  images that carry a random fingerprint each, as those to be found do
  other_encoder       (with --other_encoder) architecture and training recipe: an encoder of the
                      attacker's own, trained alike, fingerprints the training images

Attackers:
  network        a small residual network in the spirit of SRNet
  mean_residual  correlates high-pass residuals with their mean difference
  lda            Fisher's linear discriminant on DCT coefficients
  spectrum       the same on the coefficients' log energies

No original is used twice. Images for a class of training, one fifth of which is for validation,
those for the other, and those for the tests: 2 * (largest of --sizes) + 2 * --test_images."""

EPILOG = """\
examples:
  artfp secrecy --data_dir cifar10/ --encoder_path cifar32 --output_dir secrecy
  artfp secrecy --data_dir cifar10/ --output_dir secrecy --psnr 36 \\
      --encoder_path ours=cifar32,published=pub/encoder.safetensors \\
      --other_encoder ours=mine/encoder.safetensors

writes into --output_dir: secrecy.csv, secrecy.json, secrecy.png. An interrupted run
goes on when the same command is given again; so does one with other sizes or attackers.

exit codes: 0 done, 1 some images could not be used (each is named)"""


def _secrecy(settings: SecrecySettings) -> int:
    from artfp.reporting.figure import write_files
    from artfp.secrecy.report import plot_secrecy, secrecy_csv, secrecy_json, secrecy_table
    from artfp.secrecy.run import measure_secrecy

    study = measure_secrecy(settings)
    files = write_files(
        settings.output_dir,
        {
            "secrecy.csv": secrecy_csv(study.rows),
            "secrecy.json": json.dumps(secrecy_json(study.rows, study.config), indent=1) + "\n",
            "secrecy.png": plot_secrecy(study.rows),
        },
    )
    console().print(secrecy_table(study.rows))
    print(f"wrote {', '.join(files)} into {settings.output_dir}")
    return report_unusable(study.failed)


COMMAND = Command(SecrecySettings, _secrecy, DESCRIPTION, EPILOG)
