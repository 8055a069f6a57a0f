"""check, train, evaluate, compare, predict: the options of each, one call, and what is printed.

Every heavy import stands inside its command, so that `--help` and a typing error answer at once.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from maskwright.cli import options as given
from maskwright.cli.group import SOME_FAILED
from maskwright.cli.options import argument, flag, value
from maskwright.cli.output import folder_for, print_json, print_table
from maskwright.errors import Interrupted
from maskwright.progress import progress, say, stages


def check(
    data: given.Data,
    classes: given.Classes = None,
    images: given.Images = None,
    masks: given.Masks = None,
    group: given.Group = None,
    snap: given.Snap = False,
    objects: Annotated[
        bool, flag("--objects", "Check the objects that lie beside masks of classes, as Mask R-CNN learns them.")
    ] = False,
    out: Annotated[Path | None, value("DIR", "Write check.json, a contact sheet and the classes; default checks/<data>.")] = None,
    as_json: given.Json = False,
) -> None:
    """Find what would spoil training. Exit code 0: training may start; 1: there are errors, listed."""
    from maskwright.data.check import check as check_data

    with folder_for(out, Path("checks") / data.resolve().name) as folder, progress("checking") as step:
        report = check_data(
            data, classes=classes, images=images, masks=masks, group=group, snap=snap, objects=objects or None, out=folder,
            progress=step,
        )  # fmt: skip
    if as_json:
        print_json(report.to_json())
    else:
        typer.echo("\n".join(report.lines()))
        say(f"Details: {folder}")
    if not report.ok:
        raise typer.Exit(SOME_FAILED)


def train(
    data: given.Data,
    model: Annotated[str | None, value("NAME", "Network, see `maskwright models`; default: chosen for the data.")] = None,
    encoder: Annotated[str | None, value("NAME", "A timm encoder for the network, such as resnet34.")] = None,
    weights: Annotated[str | None, value("W", "Weights to start from: a file, torchvision:NAME, timm:NAME or hf:NAME.")] = None,
    out: Annotated[Path | None, value("RUN", "Run folder; default runs/<data>, never overwritten.")] = None,
    recipe: Annotated[Path | None, value("FILE", "A recipe.yaml laid over the planned settings.")] = None,
    set_: Annotated[list[str] | None, value("KEY=VALUE", "One setting of the recipe; may be repeated.", "--set")] = None,
    minutes: Annotated[float | None, value("M", "Time for the whole training; default: the recipe's steps.")] = None,
    resume: Annotated[bool, flag("--resume", "Go on with an interrupted run, to the same bits.")] = False,
    from_run: Annotated[Path | None, value("RUN", "Start from the weights of an earlier run.", "--from")] = None,
    holdout: Annotated[float | None, value("SHARE", "Choose by this share of the train images and leave val untouched.")] = None,
    classes: given.Classes = None,
    images: given.Images = None,
    masks: given.Masks = None,
    group: given.Group = None,
    holdout_group: given.HoldoutGroups = None,
    fit: Annotated[str | None, value("SPLITS", "Fit to these splits together: train,val; default: train.")] = None,
    snap: given.Snap = False,
    skip_bad: Annotated[bool, flag("--skip-bad", "Leave out the images in which the mask doctor finds errors.")] = False,
    seed: given.Seed = 0,
    device: given.Device = "auto",
    workers: Annotated[int | None, value("N", "Processes that prepare batches; default 1.")] = None,
    track: Annotated[str | None, value("NAME", "Also log to tensorboard or mlflow.")] = None,
    as_json: given.Json = False,
) -> None:
    """Train a model on labelled images. Every setting is chosen, with its reason, and can be set."""
    from maskwright.training import train as train_model

    run = train_model(
        data, model=model, encoder=encoder, weights=weights, out=out, recipe=recipe, settings=given.settings(set_ or []),
        minutes=minutes, resume=resume, from_run=from_run, holdout=holdout, classes=classes, images=images, masks=masks,
        group=group, holdout_groups=holdout_group or (), fit=[name.strip() for name in fit.split(",")] if fit else (), snap=snap,
        skip_bad=skip_bad, seed=seed, device=device, workers=workers, track=track,
    )  # fmt: skip
    if as_json:
        print_json(asdict(run))
    else:
        typer.echo(
            f"{run.folder}: validation {run.score_name} {run.score:.4f} on the {run.split} split after {run.steps} of "
            f"{run.planned} steps and {run.minutes:.1f} min."
        )
        say(f"Next: maskwright evaluate {run.folder} {data}, or maskwright predict {run.folder} IMAGES")


def evaluate(
    predictions: Annotated[
        Path, argument("RUN_OR_MASKS", "A run, a published name, or anybody's masks or objects (folder or file).")
    ],
    data: given.Data,
    split: Annotated[str | None, value("NAME", "Split to score; default: held-out, else test, else val, else all.")] = None,
    json_file: Annotated[Path | None, value("FILE", "Write every number to FILE; - prints them.", "--json")] = None,
    out: Annotated[Path | None, value("DIR", "Scores, pictures and a run's report; default RUN/evaluation.")] = None,
    missing_as_wrong: Annotated[bool, flag("--missing-as-wrong", "Count an image without a prediction as wrong.")] = False,
    classes: given.Classes = None,
    images: given.Images = None,
    masks: given.Masks = None,
    group: given.Group = None,
    holdout_group: given.HoldoutGroups = None,
    snap: given.Snap = False,
    device: given.Device = "auto",
    runtime: given.Runtime = "auto",
    precision: given.Precision = "auto",
    exact: given.Exact = False,
    tile: given.Tile = None,
    flips: given.Flips = False,
    overwrite: Annotated[bool, flag("--overwrite", "Replace an evaluation that is already there.")] = False,
) -> None:
    """Score a run, or anybody's masks or objects. Whole-set and per-image scores with intervals and conventions."""
    from maskwright.evaluation import COLUMNS, evaluate as score_predictions  # noqa: I001
    from maskwright.evaluation.kept import check_free
    from maskwright.report import report_run

    printed = json_file == Path("-")
    if json_file is not None and not printed and not overwrite:
        check_free(json_file)  # before the work, not after it
    is_run = (predictions / "recipe.yaml").is_file()
    default = predictions / "evaluation" if is_run else Path("evaluations") / predictions.resolve().stem
    with folder_for(out, default, overwrite) as folder, progress("scoring") as step:
        found = score_predictions(
            predictions, data, split=split, missing_as_wrong=missing_as_wrong, classes=classes, images=images, masks=masks,
            group=group, holdout_groups=holdout_group or (), snap=snap, device=device, runtime=runtime, precision=precision,  # type: ignore[arg-type]  # checked there
            exact=exact, tile=tile, flips=flips, out=folder, overwrite=overwrite, progress=step,
        )  # fmt: skip
        if is_run:
            report_run(folder / "report.html", f"{predictions.resolve().name} on {found.dataset}", found, predictions)
    if printed:
        print_json(found.to_json())
        return
    if json_file is not None:
        found.save(json_file, overwrite=overwrite)
    typer.echo(f"{found.predictions} on {found.dataset}, split {found.split}: {len(found.per_image)} images")
    print_table(COLUMNS, found.rows())
    typer.echo("\n".join(f"- {line}" for line in found.conventions))
    say(f"evaluation.json, pictures of the worst and the best images{' and report.html' if is_run else ''}: {folder}")


def compare(
    data: given.Data,
    models: Annotated[str, value("NAMES", "Networks to train: unet,segnet:learning_rate=0.01,unet:encoder=resnet18.")] = "",
    runs: Annotated[str, value("RUNS", "Finished run folders, compared without training: A,B.")] = "",
    minutes: Annotated[float | None, value("M", "Time to train each network; or --set steps=N.")] = None,
    out: Annotated[Path | None, value("DIR", "Runs, table, picture and page; default comparisons/<data>.")] = None,
    encoder: Annotated[str | None, value("NAME", "A timm encoder for the networks that take one.")] = None,
    recipe: Annotated[Path | None, value("FILE", "A recipe.yaml laid over the planned settings of every network.")] = None,
    set_: Annotated[list[str] | None, value("KEY=VALUE", "One setting for every network; may be repeated.", "--set")] = None,
    against: Annotated[str, value("NAME", "What differences are taken to: best, first, or one of the names.")] = "best",
    split: Annotated[str | None, value("NAME", "Split to score; default: held-out, else test, else val, else all.")] = None,
    holdout: Annotated[float | None, value("SHARE", "Choose by this share of the train images and leave val untouched.")] = None,
    holdout_group: given.HoldoutGroups = None,
    fit: Annotated[str | None, value("SPLITS", "Fit to these splits together: train,val; default: train.")] = None,
    classes: given.Classes = None,
    images: given.Images = None,
    masks: given.Masks = None,
    group: given.Group = None,
    snap: given.Snap = False,
    skip_bad: Annotated[bool, flag("--skip-bad", "Leave out the images in which the mask doctor finds errors.")] = False,
    seed: given.Seed = 0,
    device: given.Device = "auto",
    exact: given.Exact = False,
    workers: Annotated[int | None, value("N", "Processes that prepare batches; default 1.")] = None,
    as_json: given.Json = False,
) -> None:
    """Train networks on the same budget and compare them in pairs. Interrupted, the same command goes on; with other --models or
    --runs on the same terms it adds them to the table."""
    from maskwright.comparison import compare as compare_models

    found = compare_models(
        data, models, runs=runs, minutes=minutes, out=out, encoder=encoder, recipe=recipe, settings=given.settings(set_ or []),
        against=against, split=split, holdout=holdout, holdout_groups=holdout_group or (),
        fit=tuple(fit.split(",")) if fit else (), classes=classes, images=images, masks=masks, group=group, snap=snap,
        skip_bad=skip_bad, seed=seed, device=device, exact=exact, workers=workers,
    )  # fmt: skip
    if as_json:
        print_json(found.to_json())
    else:
        typer.echo(f"{found.dataset}, split {found.split}: {found.images} images")
        print_table(found.columns, found.rows())
        typer.echo("\n".join(f"- {line}" for line in found.lines()))
        say(f"comparison.html, comparison.png, comparison.json, and the runs: {found.folder}")
    if not found.ok:
        raise typer.Exit(SOME_FAILED)


def convert(
    source: Annotated[Path, argument("SOURCE", "Folder or file of annotations.")],
    target: Annotated[Path, argument("TARGET", "Folder to write; must be empty or not there yet.")],
    to: Annotated[str, value("FORMAT", "coco, yolo, labelme, voc, masks, instance_png, airbus, geojson, or labels.", "--to")],
    from_: Annotated[str | None, value("FORMAT", "What SOURCE is, where several formats fit.", "--from")] = None,
    components: Annotated[bool, flag("--components", "SOURCE has masks of classes; each connected part is an object.")] = False,
    min_px: Annotated[int, value("N", "With --components: leave out smaller parts.")] = 1,
    class_property: Annotated[str | None, value("NAME", "Property of GeoJSON features with the class; default: found.")] = None,
    classes: given.Classes = None,
    images: Annotated[Path | None, value("DIR", "Folder of the images, where SOURCE does not lead to them.")] = None,
    as_json: given.Json = False,
) -> None:
    """Write annotations in another format, images beside them. What the format cannot hold is counted."""
    from maskwright.data.convert import convert as convert_data

    with progress("converting") as step:
        report = convert_data(
            source, target, to=to, format=from_, images=images, classes=classes, components=components, min_px=min_px,
            class_property=class_property, progress=step,
        )  # fmt: skip
    if as_json:
        print_json(report.to_json())
    else:
        typer.echo(f"{target}: {report.images} images, {report.objects} objects, {report.format} to {report.to}.")
        typer.echo(f"  read: {report.source}")
        for code, count in report.counts.items():
            first = next(r.text for r in report.remarks if r.code == code)
            typer.echo(f"  {code}: {count}, as: {first}")
        for failure in report.failures:
            say(f"failed: {failure.text}")
        if report.refused:
            say(f"failed: not all that the source holds is in {target}; what was left out is counted above ({report.refused}).")
    if not report.ok:
        raise typer.Exit(SOME_FAILED)


def optimise(
    run: Annotated[Path, argument("RUN", "A run folder.")],
    data: Annotated[Path | None, argument("[DATA]", "For --int8: the data that the run was trained on.")] = None,
    int8: Annotated[bool, flag("--int8", "Prepare int8 for predict --precision int8, if the score holds.")] = False,
    most_drop: Annotated[float, value("POINTS", "With --int8: points of mean IoU that may be lost.")] = 0.5,
    classes: given.Classes = None,
    as_json: given.Json = False,
) -> None:
    """Measure which runtime is quickest on this machine and answers as eager fp32 does; later predictions take it."""
    from maskwright.evaluation import optimise as optimise_run

    with stages() as report:
        found = optimise_run(run, data, int8=int8, most_drop=most_drop / 100, classes=classes, progress=report)
    if as_json:
        print_json(found.to_json())
    else:
        typer.echo("\n".join(found.lines()))


def predict(
    model: Annotated[Path, argument("MODEL", "A run folder, a .safetensors file of maskwright, or a published name.")],
    sources: Annotated[list[Path], argument("SOURCE...", "Images, volumes, folders of them, and videos.")],
    out: Annotated[Path | None, value("DIR", "Where the masks go; default predictions/<source>.")] = None,
    overlay: Annotated[bool, flag("--overlay", "Write <name>_overlay.png, the mask drawn over its image.")] = False,
    format_: Annotated[
        str | None,
        value("NAMES", "labels, cog, geojson, gpkg; nifti of volumes; of objects ids, coco, labelme, yolo, masks.", "--format"),
    ] = None,
    vector_crs: Annotated[str, value("NAME", "Coordinates of polygons: wgs84, image, pixels; default: auto.")] = "auto",
    simplify: Annotated[float, value("METRES", "Polygons without details below this; neighbours stay neighbours.")] = 0.0,
    min_score: Annotated[float | None, value("S", "Leave out objects with a lower score; default 0.5.")] = None,
    blur_background: Annotated[float | None, value("PX", "Write <name>_blurred.png: sharp objects, blurred background.")] = None,
    slice_axis: Annotated[str, value("AXIS", "Cut NIfTI volumes: auto, axial, coronal, sagittal, 0, 1 or 2.")] = "auto",
    uncertainty: Annotated[int, value("PASSES", "Average passes with dropout on; writes <name>_uncertainty.png.")] = 0,
    probabilities: Annotated[bool, flag("--probabilities", "Write <name>_probs.npy, float16 (classes, H, W).")] = False,
    device: given.Device = "auto",
    runtime: given.Runtime = "auto",
    precision: given.Precision = "auto",
    exact: given.Exact = False,
    tile: given.Tile = None,
    overlap: given.Overlap = None,
    flips: given.Flips = False,
    stored_orientation: Annotated[bool, flag("--stored-orientation", "Masks as the file stores its pixels (EXIF).")] = False,
    workers: Annotated[int, value("N", "Threads that read, and threads that write.")] = 2,
    overwrite: Annotated[bool, flag("--overwrite", "Replace masks that are already there.")] = False,
    as_json: given.Json = False,
) -> None:
    """Segment images, volumes and folders of them. Masks have their image's size; a bad file is listed and the rest goes on."""
    from maskwright.inference.files import predict_files
    from maskwright.inference.journal import interrupted_in, job_of
    from maskwright.inference.predictor import Predictor

    predictor = Predictor.load(
        model, device, runtime=runtime, precision=precision, exact=exact, tile=tile, flips=flips,  # type: ignore[arg-type]
        passes=uncertainty, min_score=min_score, overlap=overlap,
    )  # fmt: skip
    default = Path("predictions") / sources[0].resolve().stem
    wishes: dict[str, Any] = {
        "overlay": overlay, "probabilities": probabilities, "stored_orientation": stored_orientation,
        "formats": [name.strip() for name in (format_ or "").split(",") if name.strip()], "blur_background_px": blur_background,
        "vector_crs": vector_crs, "simplify": simplify, "slice_axis": slice_axis,
    }  # fmt: skip
    if out is None:
        out = interrupted_in(default, job_of(predictor, sources, **wishes))
    with folder_for(out, default, overwrite) as folder, progress("predicting") as step:
        try:
            report = predict_files(predictor, sources, folder, overwrite=overwrite, workers=workers, progress=step, **wishes)
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted; what is finished is in {folder}, each file whole. The same command goes on with the rest."
            ) from None
    if as_json:
        print_json({"out": str(folder), "runtime": predictor.ran_on, **report.to_dict()})
    else:
        images = len(report.done) + len({failure.source for failure in report.failed} - {v.source for v in report.videos})
        if images or not report.videos:
            typer.echo(f"{folder}: masks of {len(report.done)} of {images} images ({predictor.ran_on}).")
        for video in report.videos:
            typer.echo(f"{video} ({predictor.ran_on})")
        for volume in report.volumes:
            typer.echo(f"  {volume}")
            for remark in volume.remarks:
                say(f"{volume.source}: {remark}")
        for line in (*report.remarks, *predictor.refused):
            say(line)
        for failure in report.failed:
            say(f"failed: {failure}")
        if report.failed and (report.done or report.videos):
            say("The same command again tries what failed; the answers that are there are kept.")
    if not report.ok:
        raise typer.Exit(SOME_FAILED)
