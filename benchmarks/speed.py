"""Images per second and peak memory of embedding and detecting, from files to files.

    python benchmarks/speed.py --data_dir PHOTOS --images 4000

Every method runs in a process of its own on the same files, at 128 x 128 pixels, and is timed
from after its imports and model loading to the last file written. `floor` decodes and encodes the
same files as artfp does, with no network between. `published` is the published architecture
embedded the published way: the whole set as one tensor, batches of 64, then saved one by one with
Pillow's defaults. Images are detected with a fingerprint (which artfp embeds before the clock
starts; its memory counts) and without one, where crops and turns are searched for in vain.
`invisible-watermark` and `blind-watermark` come with `pip install -e .[peers]`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import report

SIDE = 128
WORD = "10110010" * 13  # of which each method takes what it holds


def main() -> None:
    """Run all methods, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", required=True, help="folder of photographs")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--slow_images", type=int, default=200, help="for slow methods")
    parser.add_argument("--rounds", type=int, default=2, help="the best of these counts")
    parser.add_argument("--output", default="benchmarks/results/speed.json")
    parser.add_argument("--only", help="methods whose name contains this; writes no JSON")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        print(json.dumps(_contest(args.run, Path(args.work))))
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        _prepare(Path(args.data_dir), work / "many", args.images)
        _prepare(Path(args.data_dir), work / "few", args.slow_images)
        names = [name for name in METHODS if _present(name) and (args.only or "") in name]
        rows = [_best(name, work, args.rounds) for name in names]
    if not args.only:
        _report(rows, args)


def _prepare(data: Path, folder: Path, count: int) -> None:
    """`count` files of 128 x 128 from `data`, repeated under new names where there are fewer."""
    from artfp.data import decode_image, encode_image, open_source, resize

    source = open_source(data)
    folder.mkdir(parents=True)
    for i in range(count):
        raw = source.read(i % len(source))
        pixels = decode_image(raw).pixels
        if pixels.shape[:2] == (SIDE, SIDE):
            suffix = Path(source.names[i % len(source)]).suffix
            (folder / f"{i:06}{suffix}").write_bytes(raw)
        else:
            encoded = encode_image(resize(pixels, (SIDE, SIDE)))
            (folder / f"{i:06}.png").write_bytes(encoded)


def _present(name: str) -> bool:
    module = {"invisible": "imwatermark", "blind": "blind_watermark"}.get(name.split("-")[0])
    return module is None or importlib.util.find_spec(module) is not None


def _best(name: str, work: Path, rounds: int) -> dict[str, Any]:
    """The quickest of some runs of a method, each in a new process."""
    runs = []
    for number in range(rounds):
        place = work / f"{name}-{number}"
        place.mkdir()
        (place / "images").symlink_to(work / ("few" if name in SLOW else "many"))
        command = [sys.executable, __file__, "--data_dir", "-", "--run", name, "--work", str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    best = max(runs, key=lambda run: run["images_per_second"])
    print(f"{name}: {best['images_per_second']:.1f} images/s", file=sys.stderr)
    return {"name": name, **best}


def _contest(name: str, place: Path) -> dict[str, float]:
    """Run one method in this process."""
    files = sorted((place / "images").resolve().iterdir())
    seconds = METHODS[name](files, place)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {
        "images": len(files),
        "images_per_second": len(files) / seconds,
        "peak_mib": peak / 1024,
        "peak_mib_largest_child": children / 1024,
    }


def _floor(files: list[Path], place: Path) -> float:
    from artfp.data import decode_image, encode_image
    from artfp.data.files import write_atomic

    def one(path: Path) -> None:
        pixels = decode_image(path.read_bytes()).pixels
        write_atomic(place / "out" / f"{path.stem}.png", encode_image(pixels))

    start = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(one, files))
    return time.perf_counter() - start


def _floor_decode(files: list[Path], place: Path) -> float:
    from artfp.data import decode_image

    start = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(lambda path: decode_image(path.read_bytes()), files))
    return time.perf_counter() - start


def _artfp_embed(files: list[Path], place: Path, precision: str = "32-true") -> float:
    from artfp.data import open_source
    from artfp.ownership.assignment import draw_fingerprints
    from artfp.watermark import load_encoder
    from artfp.watermark.embed_job import EmbeddingJob
    from artfp.watermark.embed_run import run_embedding
    from artfp.watermark.prediction_loop import make_trainer

    encoder, card = load_encoder("photo128")
    words = draw_fingerprints(card["bits"], place / "out", per_image=False)
    start = time.perf_counter()
    trainer = make_trainer(precision=precision)
    run_embedding(
        EmbeddingJob(open_source(files[0].parent), place / "out", encoder, "", trainer), words
    )
    return time.perf_counter() - start


def _artfp_embed_bf16(files: list[Path], place: Path) -> float:
    return _artfp_embed(files, place, "bf16-mixed")


def _artfp_detect(files: list[Path], place: Path, realign: bool = True) -> float:
    from artfp.data import open_source
    from artfp.watermark import load_decoder
    from artfp.watermark.decode import DecodingJob, run_decoding
    from artfp.watermark.prediction_loop import make_trainer

    decoder, _ = load_decoder("photo128", realign)
    start = time.perf_counter()
    run_decoding(
        DecodingJob(open_source(files[0].parent), place / "found", decoder, "", make_trainer())
    )
    return time.perf_counter() - start


def _artfp_detect_marked(files: list[Path], place: Path) -> float:
    from artfp.watermark.settings import FINGERPRINTED_FOLDER

    _artfp_embed(files, place)
    return _artfp_detect(sorted((place / "out" / FINGERPRINTED_FOLDER).iterdir()), place)


def _artfp_detect_plain(files: list[Path], place: Path) -> float:
    return _artfp_detect(files, place, realign=False)


def _whole_set(files: list[Path]) -> Any:
    """All images as one float tensor, as the published scripts hold them."""
    import torch
    from PIL import Image
    from torchvision.transforms.functional import to_tensor

    return torch.stack([to_tensor(Image.open(path).convert("RGB")) for path in files])


def _published_embed(files: list[Path], place: Path) -> float:
    import torch
    from torchvision.utils import save_image

    from artfp.watermark import build_pair

    encoder = build_pair("stegastamp", 100, SIDE)[0].eval()
    bits = torch.randint(0, 2, (1, 100)).float()
    (place / "out").mkdir()
    start = time.perf_counter()
    images = _whole_set(files)
    with torch.no_grad():
        done = [encoder(part, bits.expand(len(part), -1)) for part in images.split(64)]
    for path, image in zip(files, torch.cat(done), strict=True):
        save_image(image, place / "out" / f"{path.stem}.png")
    return time.perf_counter() - start


def _published_detect(files: list[Path], place: Path) -> float:
    import torch

    from artfp.watermark import build_pair

    decoder = build_pair("stegastamp", 100, SIDE)[1].eval()
    start = time.perf_counter()
    images = _whole_set(files)
    with torch.no_grad():
        torch.cat([decoder(part) > 0 for part in images.split(64)])
    return time.perf_counter() - start


def _invisible(method: str) -> Callable[[list[Path], Path], float]:
    def run(files: list[Path], place: Path) -> float:
        import cv2
        from imwatermark import WatermarkEncoder

        encoder = WatermarkEncoder()
        encoder.set_watermark("bits", [int(bit) for bit in WORD[:32]])
        if method == "rivaGan":
            WatermarkEncoder.loadModel()
        # It refuses images under 256 x 256, so it gets the same content at that size.
        (place / "out").mkdir()
        start = time.perf_counter()
        for path in files:
            image = cv2.resize(cv2.imread(str(path)), (256, 256), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(place / "out" / f"{path.stem}.png"), encoder.encode(image, method))
        return time.perf_counter() - start

    return run


def _blind(files: list[Path], place: Path) -> float:
    import blind_watermark

    blind_watermark.bw_notes.close()
    (place / "out").mkdir()
    start = time.perf_counter()
    for path in files:
        mark = blind_watermark.WaterMark(password_img=1, password_wm=1)
        mark.read_img(str(path))
        mark.read_wm([bit == "1" for bit in WORD[:64]], mode="bit")
        mark.embed(str(place / "out" / f"{path.stem}.png"))
    return time.perf_counter() - start


METHODS: dict[str, Callable[[list[Path], Path], float]] = {
    "floor: decode and encode": _floor,
    "artfp embed": _artfp_embed,
    "artfp embed, bf16": _artfp_embed_bf16,
    "published embed": _published_embed,
    "invisible-watermark dwtDct, 256 px": _invisible("dwtDct"),
    "invisible-watermark dwtDctSvd, 256 px": _invisible("dwtDctSvd"),
    "invisible-watermark rivaGan, 256 px": _invisible("rivaGan"),
    "blind-watermark": _blind,
    "floor: decode": _floor_decode,
    "artfp detect, fingerprinted": _artfp_detect_marked,
    "artfp detect, unmarked": _artfp_detect,
    "artfp detect, --realign false": _artfp_detect_plain,
    "published detect": _published_detect,
}
SLOW = {
    "published embed",
    "blind-watermark",
    "invisible-watermark dwtDct, 256 px",
    "invisible-watermark dwtDctSvd, 256 px",
    "invisible-watermark rivaGan, 256 px",
}


def _report(rows: list[dict[str, Any]], args: argparse.Namespace) -> None:
    """Print the table and write it as JSON."""
    rate = {row["name"]: row["images_per_second"] for row in rows}
    ratios = {
        "embed: artfp / published": rate["artfp embed"] / rate["published embed"],
        "embed: artfp / floor": rate["artfp embed"] / rate["floor: decode and encode"],
        "embed bf16: artfp / published": rate["artfp embed, bf16"] / rate["published embed"],
        "embed bf16: artfp / floor": rate["artfp embed, bf16"] / rate["floor: decode and encode"],
    }
    for kind in ("fingerprinted", "unmarked", "--realign false"):
        mine = rate[f"artfp detect, {kind}"]
        ratios[f"detect, {kind}: artfp / published"] = mine / rate["published detect"]
        ratios[f"detect, {kind}: artfp / floor"] = mine / rate["floor: decode"]
    print(f"{'':40} images/s  peak MiB  largest child")
    for row in rows:
        print(
            f"{row['name']:40} {row['images_per_second']:8.1f} {row['peak_mib']:9.0f}"
            f" {row['peak_mib_largest_child']:14.0f}"
        )
    for name, ratio in ratios.items():
        print(f"{name:40} {ratio:8.2f}")
    report.write(args.output, rows=rows, ratios=ratios)


if __name__ == "__main__":
    main()
