"""Whether annotations of COCO's size stay flat in memory over epochs and worker processes.

    python benchmarks/annotation_memory.py [--images 118000] [--objects 7] [--workers 4] [--epochs 3]

Draws a COCO json of that many images and objects (polygons of 24 vertices), opens it, and lets forked workers read every object
of every image, epoch after epoch, as a training loader does. Reported is the proportional set size of all processes together:
what they take from the machine, with shared pages counted once. Python objects would be copied page by page as each worker
counts its references; arrays of bytes are not.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
from record import record

from maskwright.annotations.drawn import Annotations
from maskwright.annotations.formats import read_annotations

MIB = 1 << 20


def write_json(path: Path, images: int, objects: int) -> None:
    """One image a line, so that drawing it takes no more memory than a line."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)

    def polygons() -> Iterator[str]:
        for k in range(images * objects):
            x, y, r = rng.uniform(40, 400, 3) * (1, 1, 0.1)
            ring = np.round(np.stack([x + r * np.cos(angles), y + r * np.sin(angles)], 1).ravel(), 2).tolist()
            row = {"id": k + 1, "image_id": k // objects + 1, "category_id": k % 80 + 1, "segmentation": [ring], "iscrowd": 0}
            yield json.dumps(row)

    with path.open("w") as file:
        categories = [{"id": i + 1, "name": f"class {i + 1}"} for i in range(80)]
        listed = (json.dumps({"id": i + 1, "file_name": f"{i:012}.jpg", "width": 640, "height": 480}) for i in range(images))
        file.write('{"categories": ' + json.dumps(categories) + ', "images": [' + ",\n".join(listed) + '], "annotations": [')
        for k, row in enumerate(polygons()):
            file.write((",\n" if k else "") + row)
        file.write("]}")


def pss_mib() -> float:
    """Of this process: its own pages, and its share of those that it shares."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / MIB
    return float("nan")


def work(annotations: Annotations, first: int, step: int, epochs: int, barrier: Barrier, told: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    for epoch in range(epochs):
        for k in range(first, len(annotations.images), step):
            annotations.objects(k)
        barrier.wait()  # all measure at the same time, and nobody goes on before all have
        told.put((epoch, pss_mib()))
        barrier.wait()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=int, default=118_000)
    arguments.add_argument("--objects", type=int, default=7, help="an image")
    arguments.add_argument("--workers", type=int, default=4)
    arguments.add_argument("--epochs", type=int, default=3)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "instances_train.json"
        write_json(file, given.images, given.objects)
        size_mib, start, before = file.stat().st_size / MIB, time.monotonic(), pss_mib()
        annotations = read_annotations(file)
        opened_s, opened = time.monotonic() - start, pss_mib()
    context = multiprocessing.get_context("fork")
    told, barrier = context.Queue(), context.Barrier(given.workers + 1)
    workers = [
        context.Process(target=work, args=(annotations, k, given.workers, given.epochs, barrier, told))
        for k in range(given.workers)
    ]
    for worker in workers:
        worker.start()
    rows: list[dict[str, str | float]] = [{"after": "opening", "MiB of all processes": opened - before, "seconds": opened_s}]
    for epoch in range(given.epochs):
        start = time.monotonic()
        barrier.wait()
        own = pss_mib()
        spent = time.monotonic() - start
        total = own + sum(told.get()[1] for _ in workers)
        barrier.wait()
        rows.append(
            {"after": f"epoch {epoch + 1}, {given.workers} workers", "MiB of all processes": total - before, "seconds": spent}
        )
    for worker in workers:
        worker.join()
    record(
        "annotation_memory",
        rows,
        command=f"python benchmarks/annotation_memory.py --images {given.images} --objects {given.objects} "
        f"--workers {given.workers} --epochs {given.epochs}",
        notes=[
            f"{given.images} images, {given.images * given.objects} polygons of 24 vertices, a json of {size_mib:.0f} MiB",
            "proportional set size above that of the interpreter; each worker brings a few MiB of its own",
        ],
    )


if __name__ == "__main__":
    main()
