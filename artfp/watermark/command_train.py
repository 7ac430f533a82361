"""`artfp train` and `train.py`: train an encoder and a decoder on a folder of images."""

from __future__ import annotations

import shlex

from artfp.core.command import Command, report_left_out
from artfp.core.console import console, print_next_step
from artfp.core.errors import one_line
from artfp.watermark.training.settings import TrainSettings

DESCRIPTION = """\
Train an encoder, which hides a fingerprint in images, and the decoder that reads it again.

Any folder (at any depth), zip, or list of image paths will do. The defaults train artfp's own
networks to 100 bits at 128 pixels and 40 dB. Everything lands in --output_dir: encoder.safetensors,
decoder.safetensors, card.json (measured figures), sample.png, config.yaml (the settings used),
checkpoints/ and tensorboard/ (watch it with: tensorboard --logdir OUTPUT_DIR/tensorboard)."""

EPILOG = """\
examples:
  artfp train --data_dir photos/ --output_dir runs/photos
  artfp train --data_dir photos/ --output_dir runs/photos --resume
  artfp train --data_dir celeba/ --output_dir runs/celeba --use_celeba_preprocessing \\
      --architecture stegastamp --schedule published          (the recipe of Yu et al. 2021)

exit codes: 0 trained, 1 trained, but some images could not be used (each is named), 130 interrupted
(continue with --resume)"""


def _train(settings: TrainSettings) -> int:
    from artfp.metrics.visibility_summary import describe_visibility
    from artfp.watermark.training.fit import train

    result = train(settings)
    if result is None:
        return 0
    figures = result.measured
    console().print(
        f"bit accuracy {figures['bit_accuracy']:.4f} (JPEG 90 {figures['bit_accuracy_jpeg90']:.4f},"
        f" JPEG 50 {figures['bit_accuracy_jpeg50']:.4f}, rotation by 10 degrees"
        f" {figures['bit_accuracy_rotation10']:.4f}, combination"
        f" {figures['bit_accuracy_combination']:.4f}), PSNR {figures['psnr']:.2f} dB,"
        f" SSIM {figures['ssim']:.4f} on {figures['images']:.0f} validation images",
        soft_wrap=True,
    )
    console().print(describe_visibility(figures), soft_wrap=True)
    if result.reached:
        print(f"bit accuracy 0.99 was reached at step {result.reached[0]}, {result.reached[1]} s")
    print(f"wrote {one_line(str(result.encoder))} and {one_line(str(result.decoder))}")
    encoder = one_line(shlex.quote(str(result.encoder)))
    print_next_step(
        f"artfp embed --encoder_path {encoder} --data_dir IMAGES --output_dir OUT "
        "--identical_fingerprints"
    )
    return report_left_out(len(result.left_out))


COMMAND = Command(TrainSettings, _train, DESCRIPTION, EPILOG)
