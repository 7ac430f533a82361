"""The same as `artfp train`: see `python train.py --help`."""

from artfp.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(command="train", prog="train.py"))
