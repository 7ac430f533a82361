"""The same as `artfp embed`: see `python embed_fingerprints.py --help`."""

from artfp.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(command="embed", prog="embed_fingerprints.py"))
