"""What an installed artfp must do anywhere: run as a script, outside the repository's tree.

Embeds a fingerprint in a photograph that scikit-image ships, decodes it, and asks for help.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from skimage import data


def call(*words: str | Path, code: int = 0) -> str:
    """Run artfp and return what it printed."""
    command = [sys.executable, "-m", "artfp", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != code:
        raise SystemExit(f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    """Embed, decode, and check the verdicts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photos").mkdir()
        Image.fromarray(data.astronaut()).save(folder / "photos" / "astronaut.png")
        out, found = folder / "out", folder / "found"
        assert "detect" in call("--help")
        call("embed", "--data_dir", folder / "photos", "--output_dir", out, "--cuda", "-1",
             "--identical_fingerprints")  # fmt: skip
        words = ("--key", out / "fingerprint.key.json", "--cuda", "-1", "--exit-code")
        marked = out / "fingerprinted_images"
        call("detect", "--data_dir", marked, "--output_dir", found, *words)
        clean = ("--data_dir", folder / "photos", "--output_dir", folder / "clean")
        call("detect", *clean, *words, code=1)
    print("smoke test passed")


if __name__ == "__main__":
    main()
