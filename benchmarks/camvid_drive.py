"""CamVid by drives: fit on the train frames of two drives, score all frames of the third.

    python benchmarks/camvid_drive.py DATA [--minutes 8] [--only unet_lite0,segnet] [--out runs/camvid]

DATA is camvid. Every file of configs/camvid is trained for the same minutes on 0006R0 and 0016E5 (305 frames; weights are
chosen on val) and scored on the 62 train frames of 0001TP. val is seven seconds of a drive that train also holds: its score
is reported beside, and flatters. Interrupted, the same command goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from record import record

import maskwright

CONFIGS = Path(__file__).parents[1] / "configs" / "camvid"
GROUP, HELD_OUT = r"^([^_]+)_", ("0001TP",)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--minutes", type=float, default=8.0)
    arguments.add_argument("--only", default="", help="names of files in configs/camvid, with commas between them")
    arguments.add_argument("--out", type=Path, default=Path("runs/camvid"))
    arguments.add_argument("--name", default="camvid_drive", help="name of the result file")
    given = arguments.parse_args()
    names = (
        given.only.split(",")
        if given.only
        else sorted(path.stem for path in CONFIGS.glob("*.yaml") if not path.stem.endswith("min"))
    )
    runs = [trained(given.data, name, given.minutes, given.out / name) for name in names]
    found = maskwright.compare(
        given.data, runs=[run.folder for run in runs], group=GROUP, holdout_groups=HELD_OUT, out=given.out / "comparison"
    )
    spent = [run.minutes for run in runs]
    rows = []
    for one in found.scored:
        val = maskwright.evaluate(one.run, given.data, split="val", group=GROUP, holdout_groups=HELD_OUT)
        run = next(r for r in runs if r.folder == one.run)
        rows.append(
            {
                "config": one.run.name,
                "mean IoU, 0001TP": f"{one.score():.4f} ({one.evaluation.intervals['mean_iou'].bounds})",
                "minus the best, 95 % paired": str(one.differences["mean_iou"]) if one.differences else "-",
                "class accuracy": f"{one.score('mean_pixel_accuracy'):.4f}",
                "global accuracy": f"{one.score('pixel_accuracy'):.4f}",
                "boundary F1": f"{one.score('boundary_f1'):.4f}",
                "mean IoU, val (flatters)": f"{val.scores.mean_iou:.4f}",
                "million parameters": f"{one.parameters / 1e6:.2f}",
                "ms an image": f"{one.milliseconds:.0f}",
                "minutes": f"{run.minutes:.1f} ({run.steps} steps)",
            }
        )
    record(
        given.name,
        rows,
        command=f"python benchmarks/camvid_drive.py DATA --minutes {given.minutes:g}",
        notes=[
            f"the trainings lasted {min(spent):.1f} to {max(spent):.1f} minutes; asked for: {given.minutes:g}",
            "fit on 0006R0 and 0016E5, scored on the 62 frames of 0001TP; 480 x 360",
            "0001TP was looked at in three ten-minute trial runs while the recipes were made, so it is not wholly unseen",
            "val is seven seconds of 0016E5, which is fitted to as well: its score flatters",
            *found.notes,
        ],
    )


def trained(data: Path, name: str, minutes: float, folder: Path) -> maskwright.Run:
    """The run of a config, finished; one that was interrupted goes on."""
    if (folder / "state" / "last.safetensors").is_file():
        return maskwright.train(data, out=folder, resume=True)
    return maskwright.train(
        data, recipe=CONFIGS / f"{name}.yaml", group=GROUP, holdout_groups=HELD_OUT, minutes=minutes, out=folder
    )


if __name__ == "__main__":
    main()
