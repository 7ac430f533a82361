"""`python -m artfp`: the same as `artfp`."""

from artfp.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
