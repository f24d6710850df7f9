"""Detect in many small images with Ray Data: memory over time, speed, and that nothing is lost.

    python benchmarks/ray_predict.py --images 20000 --actors 2 --out /tmp/ray_predict

Draws images of 64 x 48 pixels, each once, and detects in them by an untrained model of that input,
so that Ray's own costs show: with `detect_files` and its actors, and in this process with the same
`Detector` (`--compared` images). The memory is that of this process and of all that Ray starts,
pages that several share counted once (PSS), sampled every second; each tenth of the time has its
maximum.
"""

import argparse
import os
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import ray
from PIL import Image
from pyarrow import parquet

from keras_retinanet.config.files import load_config
from keras_retinanet.inference import Detector, detect_files
from keras_retinanet.modeling import RetinaNet, save_model

WIDTH, HEIGHT = 64, 48
SETTINGS = {
    "model.fpn.channels": 16,
    "model.head.channels": 16,
    "model.head.depth": 1,
    "model.head.prior": 0.3,
    "model.detections.max_detections": 20,
    "model.preprocessing.short_side": HEIGHT,
    "model.preprocessing.long_side": WIDTH,
}
PARTS = 10


def draw(folder: Path, count: int) -> list[Path]:
    """Write `count` images of colored noise, those that are missing."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:06d}.jpg" for number in range(count)]
    for path in paths:
        small = random.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        if not path.exists():
            Image.fromarray(small).resize((WIDTH, HEIGHT)).save(path)
    return paths


class Memory(threading.Thread):
    """Samples the memory of this process and of those below it until it is stopped."""

    def __init__(self):
        super().__init__(daemon=True)
        self.samples: list[float] = []
        self._over = threading.Event()

    def run(self) -> None:
        process = psutil.Process()
        while not self._over.wait(1):
            total = 0
            for each in [process, *process.children(recursive=True)]:
                try:
                    total += each.memory_full_info().pss
                except psutil.Error:  # it has ended meanwhile
                    continue
            self.samples.append(total / 2**20)

    def stop(self) -> list[float]:
        """Return the maximum in MiB of each tenth of the time."""
        self._over.set()
        self.join()
        return [max(part) for part in np.array_split(self.samples, PARTS) if len(part)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--compared", type=int, default=1000)
    parser.add_argument("--out", type=Path, required=True, help="new folder")
    args = parser.parse_args()
    paths = draw(args.out / "images", args.images)
    model = args.out / "model.keras"
    save_model(RetinaNet(load_config("shapes", SETTINGS).model, ["a", "b"]), model)

    detector = Detector(model)
    detector.rows(paths[:8])  # traces its graph
    compared = paths[: args.compared]
    start = time.perf_counter()
    wanted = detector.rows(compared)
    alone = len(compared) / (time.perf_counter() - start)
    print(f"one process: {alone:.1f} images/s, over {len(compared):,} images", flush=True)

    # No report over the network; and Ray's niceness of 15 waits for all else that runs.
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    ray.init("local", num_cpus=max(2, args.actors), include_dashboard=False, log_to_driver=False)
    memory = Memory()
    memory.start()
    start = time.perf_counter()
    detect_files(paths, model, args.out / "found", actors=args.actors)
    seconds = time.perf_counter() - start
    tenths = memory.stop()
    ray.shutdown()
    print(
        f"{args.actors} actors: {len(paths) / seconds:.1f} images/s in {seconds:.0f} s with start"
    )
    print("memory in MiB by tenth of the time:", *(f"{each:.0f}" for each in tenths))

    table = parquet.read_table(args.out / "found", columns=["path", "scores", "error"]).to_pylist()
    found = {row["path"]: row["scores"] for row in table if row["error"] is None}
    if not len(table) == len(found) == len(paths):
        raise SystemExit(
            f"{len(paths):,} images, {len(table):,} rows, {len(found):,} different ones"
        )
    gap = max(
        float(np.abs(np.array(found[os.path.abspath(path)]) - row["scores"]).max(initial=0))
        for path, row in zip(compared, wanted, strict=True)
    )
    print(f"{len(table):,} rows, each image once; largest gap of a score {gap:.1e}")


if __name__ == "__main__":
    main()
