"""The same as `artfp detect`: see `python detect_fingerprints.py --help`."""

from artfp.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(command="detect", prog="detect_fingerprints.py"))
