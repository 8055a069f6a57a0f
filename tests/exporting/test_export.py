"""An export runs alone, answers as eager fp32 does, and comes with its certificate; one that falls short leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile

import maskwright
from maskwright.errors import CheckpointError, InputError, MissingExtraError
from maskwright.exporting import alone as alone_scripts
from maskwright.exporting import artefacts, certificate
from maskwright.exporting.alone.pictures import read
from maskwright.exporting.exporting import READS
from maskwright.io.read import read_image
from maskwright.transforms.preprocess import LUMA

from .conftest import scene

KINDS = [("onnx", "fp32"), ("openvino", "fp32"), ("torch", "fp32"), ("onnx", "bf16"), ("openvino", "bf16"), ("torch", "bf16")]


@pytest.fixture(scope="module")
def exported(run, data, tmp_path_factory):
    """Each kind, exported once."""
    made: dict[tuple[str, str], maskwright.Export] = {}

    def get(to: str, precision: str) -> maskwright.Export:
        if (to, precision) not in made:
            out = tmp_path_factory.mktemp("exports") / "deep" / f"{to}-{precision}"
            made[to, precision] = maskwright.export(
                run, data, to=to, precision=precision, out=out, triton=to != "torch", resamples=50
            )
        return made[to, precision]

    return get


@pytest.mark.parametrize(("to", "precision"), KINDS)
def test_alone_it_answers_as_eager_fp32(exported, alone, run, data, tmp_path, to, precision):
    made = exported(to, precision)
    picture, mask = data / "val" / "images" / "08.png", tmp_path / "mask.png"
    said = alone(made.folder, picture, mask, tmp_path)
    exact = maskwright.load(run, exact=True)(picture).labels
    found = np.asarray(PIL.Image.open(mask))
    assert found.shape == exact.shape
    assert (found == exact).mean() >= (0.9999 if precision == "fp32" else 0.998)
    assert set(np.unique(found)) == {0, 7}
    assert "square" in said


def photo(path: Path) -> Path:
    """A picture whose file says that it is to be turned by a quarter."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.fromarray(scene(8)[0]).save(path, quality=95, exif=exif)
    return path


def saved(path: Path, mode: str) -> Path:
    PIL.Image.fromarray(scene(8)[0]).convert(mode).save(path)
    return path


def deep(path: Path, *, grey: bool) -> Path:
    pixels = scene(8)[0].astype(np.uint16) * 257
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels[..., 0]) if grey else pixels))
    return path


@pytest.mark.parametrize(
    "draw",
    [
        lambda folder: photo(folder / "photo.jpg"),
        lambda folder: saved(folder / "grey.png", "L"),
        lambda folder: saved(folder / "palette.png", "P"),
        lambda folder: saved(folder / "clear.png", "RGBA"),
    ],
    ids=["photo", "grey", "palette", "alpha"],
)
def test_alone_it_reads_a_picture_as_we_do(exported, alone, run, tmp_path, draw):
    picture = draw(tmp_path)
    alone(exported("onnx", "fp32").folder, picture, tmp_path / "mask.png", tmp_path)
    found, exact = np.asarray(PIL.Image.open(tmp_path / "mask.png")), maskwright.load(run, exact=True)(picture).labels
    assert found.shape == exact.shape
    assert (found == exact).mean() >= 0.9999
    assert 7 in found


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA"])
def test_a_model_of_grey_pictures_gets_grey(tmp_path, mode):
    picture = saved(tmp_path / "picture.png", mode)
    ours = read_image(picture).pixels.astype(float) @ ([1] if mode in ("L", "LA") else LUMA)
    theirs = read(str(picture), 1, "uint8")
    assert theirs.shape == (1, *ours.shape, 1)
    assert np.abs(theirs[0, ..., 0] - ours).max() <= 1  # rounded


def test_alone_it_refuses_in_a_sentence(exported, alone, data, tmp_path):
    (tmp_path / "notes.png").write_text("no picture")
    whole = (data / "val" / "images" / "08.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    for picture, says in (
        (deep(tmp_path / "grey16.png", grey=True), "it has more than 8 bits a colour, the model takes 8"),
        (deep(tmp_path / "rgb16.png", grey=False), "it has more than 8 bits a colour, the model takes 8"),
        (tmp_path / "none.png", "No such file"),
        (tmp_path / "notes.png", "cannot identify image file"),
        (tmp_path / "cut.png", "cannot be used"),
    ):
        said = alone(exported("onnx", "fp32").folder, picture, tmp_path / "mask.png", tmp_path, ends=2)
        assert says in said
        assert len(said.splitlines()) == 1
    assert not (tmp_path / "mask.png").exists()


def test_a_script_holds_all_of_ours_that_it_needs():
    for script in sorted(Path(alone_scripts.__file__).parent.glob("*with_*.py")):
        assert READS in script.read_text()


def test_int8_is_calibrated_and_certified(alone, run, data, tmp_path):
    told: list[tuple[str, int, int]] = []
    made = maskwright.export(
        run, data, to="openvino", precision="int8", tolerance=5.0, out=tmp_path / "out", resamples=10,
        progress=lambda *step: told.append(step),
    )  # fmt: skip
    assert list(dict.fromkeys(stage for stage, *_ in told)) == ["scoring int8 against fp32", "calibrating int8", "certifying"]
    assert all(0 < done <= total for _, done, total in told)
    measured = made.certificate["int8"]
    assert measured["before"] - measured["after"] <= measured["most_drop"] == 0.05
    assert measured["images"] == 6
    scores = made.certificate["scores"]["mean_iou"]
    assert scores["after"]["value"] == pytest.approx(measured["after"], abs=0.005)  # read back, a few pixels round otherwise
    assert "class ids found: [0, 7]" in alone(made.folder, data / "val" / "images" / "07.png", tmp_path / "m.png", tmp_path)


def test_int8_is_not_calibrated_on_the_images_that_judge_it(run, data, tmp_path):
    shutil.copytree(data / "val", tmp_path / "only" / "val")
    shutil.copy(data / "classes.yaml", tmp_path / "only")
    with pytest.raises(InputError, match=r"only: has no split train, and int8 is calibrated on training images; .* with --data"):
        maskwright.export(run, tmp_path / "only", to="openvino", precision="int8", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_sixteen_bit_images_go_in_as_they_are(alone, run, data, tmp_path, to):
    root = tmp_path / "deep"
    shutil.copytree(data, root)
    for path in root.glob("*/images/*.png"):
        tifffile.imwrite(path.with_suffix(".tif"), np.asarray(PIL.Image.open(path)).astype(np.uint16) * 257, photometric="rgb")
        path.unlink()
    made = maskwright.export(run, root, to=to, out=tmp_path / "out", resamples=10)
    assert made.certificate["agreement"]["pixels"] >= 0.9999
    facts = json.loads((made.folder / "classes.json").read_text())
    assert (facts["dtype"], facts["value_range"]) == ("uint16", [0, 65535])
    exact = maskwright.load(run, exact=True)
    for picture in (root / "val" / "images" / "08.tif", deep(tmp_path / "08.png", grey=False)):
        alone(made.folder, picture, tmp_path / "mask.png", tmp_path)
        assert (np.asarray(PIL.Image.open(tmp_path / "mask.png")) == exact(picture).labels).mean() >= 0.9999
    shallow = data / "val" / "images" / "08.png"
    said = alone(made.folder, shallow, tmp_path / "mask.png", tmp_path, ends=2)
    assert "08.png cannot be used: it is uint8 of shape (74, 54, 3), the model takes uint16 with 3 channel(s)" in said
    for name in ("none.tif", "empty.tif"):
        (tmp_path / "empty.tif").touch()
        assert len(alone(made.folder, tmp_path / name, tmp_path / "mask.png", tmp_path, ends=2).splitlines()) == 1


@pytest.mark.parametrize(("to", "precision"), KINDS[:3])
def test_the_certificate_says_what_was_measured_on_what(exported, run, to, precision):
    made = exported(to, precision)
    stored = json.loads((made.folder / "certificate.json").read_text())
    assert stored == made.certificate
    assert stored["weights_sha256"] == hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
    assert stored["artefact"] == {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in made.files}
    assert stored["data"]["split"] == "val"
    assert stored["data"]["images"] == 4
    assert stored["agreement"]["pixels"] >= 0.9999
    assert set(stored["agreement"]["classes"]) == {"background", "square"}
    scores = stored["scores"]["mean_iou"]
    assert 0.7 < scores["before"]["value"] <= 1
    assert scores["before"]["low"] <= scores["before"]["value"] <= scores["before"]["high"]
    assert scores["difference"]["value"] == pytest.approx(scores["after"]["value"] - scores["before"]["value"])
    assert min(stored["speed"].values()) > 0
    assert {"torch", "numpy", "maskwright", "python"} <= set(stored["versions"])
    assert stored["hardware"]["threads"] >= 1
    assert [(c["id"], c["name"]) for c in json.loads((made.folder / "classes.json").read_text())["classes"]] == [
        (0, "background"),
        (7, "square"),
    ]


def test_classes_stand_in_the_metadata(exported):
    import onnx

    from maskwright.inference.telemetry import openvino_core

    props = {p.key: p.value for p in onnx.load(exported("onnx", "fp32").files[0]).metadata_props}
    assert json.loads(props["classes"])[1]["name"] == "square"
    model = openvino_core("this test").read_model(exported("openvino", "bf16").folder / "model.xml")
    assert json.loads(model.get_rt_info(["maskwright", "classes"]).astype(str))[1]["id"] == 7
    assert model.get_rt_info(["maskwright", "precision"]).astype(str) == "bf16"


def test_no_pickle_is_inside_a_pt2(exported):
    with zipfile.ZipFile(exported("torch", "fp32").files[0]) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    # A pickle starts with 0x80 and its protocol; torch.save's zips start with PK.
    assert [
        name
        for name, data in held.items()
        if data[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"PK") and "weight_" not in name
    ] == []
    assert not any(b'"use_pickle": true' in data for name, data in held.items() if name.endswith(".json"))


@pytest.mark.parametrize("hw", [(1, 1), (3, 70), (60, 4), (5, 5)])
@pytest.mark.parametrize("to", ["onnx", "openvino", "torch"])
def test_no_image_is_too_small(exported, run, to, hw):
    pixels = scene(0)[0][: hw[0], : hw[1]]
    (found,) = artefacts.TARGETS[to].load(exported(to, "fp32").files[-1], "fp32")(pixels[None])
    assert (found[0] == maskwright.load(run, exact=True)(pixels).labels).all()


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_triton_repository(exported, to):
    made = exported(to, "fp32")
    repository = made.folder / "triton" / "unet"
    config = (repository / "config.pbtxt").read_text()
    assert 'input [ { name: "image" data_type: TYPE_UINT8 dims: [ -1, -1, -1, 3 ] } ]' in config
    assert 'output [ { name: "labels" data_type: TYPE_UINT8 dims: [ -1, -1, -1 ] } ]' in config
    for file in made.files:
        assert (repository / "1" / file.name).read_bytes() == file.read_bytes()


def test_weights_of_bf16_are_half_as_large(exported):
    size = {p: exported("openvino", p).folder.joinpath("model.bin").stat().st_size for p in ("fp32", "bf16")}
    assert size["bf16"] < 0.6 * size["fp32"]


def test_one_that_falls_short_leaves_nothing_behind(run, data, tmp_path, monkeypatch):
    def nonsense(file, precision):
        return lambda image: (np.zeros(image.shape[:3], np.uint8),)

    monkeypatch.setitem(artefacts.TARGETS, "torch", artefacts.Target("model.pt2", {}, ("fp32",), artefacts.write_torch, nonsense))
    with pytest.raises(
        InputError, match=r"to torch in fp32 falls short on 4 images: .*% of the pixels changed class .*IoU of square moved"
    ):
        maskwright.export(run, data, to="torch", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, sys, torch
from pathlib import Path
from maskwright.exporting.artefacts import write_torch
program = torch.export.export(torch.nn.Conv2d(3, 1024, 3), (torch.zeros(1, 3, 8, 8),))
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    write_torch(program, Path(sys.argv[1]), {}, (), "fp32")
except OSError:
    print("said")
"""


def test_a_full_disk_does_not_end_the_process(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL_DISK, tmp_path / "model.pt2"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "said\n"), done.stderr


def test_int8_is_judged_by_what_the_score_loses():
    square = np.zeros((10, 10), np.uint8)
    square[:5] = 7
    worse = square.copy()
    worse[4, 5:] = 0
    found = certificate.PixelComparison(maskwright.ClassMap((0, 7), ("background", "square")))
    for labels, tallies in ((square, found.before), (worse, found.after)):
        tallies.append(certificate.tally_of(certificate.count_pairs(square, labels, found.classes)[0]))
    found.between.update(square, worse)
    # IoU of the square 45 / 50, of the background 50 / 55: the mean falls from 1 to 0.9045
    assert found.shortfalls("int8", 9.0) == ["mean IoU fell by 9.55 points (9.0 allowed)"]
    assert found.shortfalls("int8", 10.0) == []
    assert "5.000% of the pixels changed class (0.2% allowed)" in found.shortfalls("bf16", 10.0)


def test_what_is_there_is_kept_without_overwrite(exported, run, data):
    made = exported("torch", "fp32")
    with pytest.raises(InputError, match=r"is already there; give --overwrite"):
        maskwright.export(run, data, to="torch", out=made.folder)
    stale = made.folder.with_name("stale")
    shutil.copytree(made.folder, stale)
    (stale / "old.txt").write_text("old")
    maskwright.export(run, data, to="torch", out=stale, overwrite=True, resamples=10)
    assert not (stale / "old.txt").exists()
    assert (stale / "certificate.json").is_file()
    assert [p.name for p in stale.parent.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("script", sorted(p.name for p in Path(alone_scripts.__file__).parent.glob("*with_*.py")))
def test_a_script_says_how_it_is_called(script):
    path = Path(alone_scripts.__file__).with_name(script)
    done = subprocess.run([sys.executable, str(path), "picture.png"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "python predict.py picture.png mask.png" in done.stderr
    assert "Traceback" not in done.stderr


def test_only_an_export_is_replaced(run, data, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"holds something else than an export, which would be lost"):
        maskwright.export(run, data, to="torch", out=tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").is_file()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"to": "tflite"}, r"--to 'tflite' is unknown; known: onnx, openvino, torch"),
        ({"to": "onnx", "precision": "int4"}, r"--precision 'int4' cannot be had with --to onnx; known: fp32, bf16"),
        ({"to": "onnx", "precision": "int8"}, r"--precision 'int8' cannot be had with --to onnx"),
        ({"to": "torch", "triton": True}, r"--triton needs --to onnx or openvino"),
        ({"to": "torch", "split": "no"}, r"no"),
        ({"to": "torch", "tolerance": float("nan")}, r"--tolerance nan: expected points that the score may fall by, from 0 to"),
        ({"to": "torch", "tolerance": float("inf")}, r"--tolerance inf: expected points"),
        ({"to": "torch", "tolerance": -0.1}, r"--tolerance -0\.1: expected points"),
    ],
)
def test_wrong_wishes(run, data, tmp_path, given, message):
    with pytest.raises(InputError, match=message):
        maskwright.export(run, data, out=tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_run(data, tmp_path):
    with pytest.raises(CheckpointError, match="not a run folder"):
        maskwright.export(tmp_path, data, to="onnx")


def test_data_that_is_not_known(run, tmp_path):
    with pytest.raises(InputError, match=r"does not say what it was trained on; name labelled images with --data"):
        maskwright.export(run, to="torch", out=tmp_path / "out")


def test_what_masks_store_is_said_where_the_data_does_not(run, data, tmp_path):
    """Masks with 255 for the square, which the run's own classes leave out as ignored."""
    bare = tmp_path / "bare"
    shutil.copytree(data, bare)
    (bare / "classes.yaml").unlink()
    for path in bare.glob("*/masks/*.png"):
        PIL.Image.fromarray(np.where(np.asarray(PIL.Image.open(path)) == 7, 255, 0).astype(np.uint8)).save(path)
    with pytest.raises(InputError, match=r"say with --classes what the files store"):
        maskwright.export(run, bare, to="torch", out=tmp_path / "out")
    stored = maskwright.ClassMap((0, 7), ("background", "square"), values=((0,), (255,)), ignore_values=())
    (tmp_path / "stored.yaml").write_text(stored.to_yaml())
    made = maskwright.export(run, bare, to="torch", classes=tmp_path / "stored.yaml", out=tmp_path / "out", resamples=10)
    assert made.certificate["scores"]["mean_iou"]["before"]["value"] > 0.7


def test_images_of_two_kinds_are_named(run, data, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(data, mixed)
    path = mixed / "val" / "images" / "09.png"
    PIL.Image.fromarray(np.asarray(PIL.Image.open(path))[..., 0]).save(path)
    with pytest.raises(InputError, match=r"09\.png: uint8, 1 channels.*but the images before it are uint8, 3 channels"):
        maskwright.export(run, mixed, to="torch", out=tmp_path / "out")


def test_data_without_masks(run, data, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(data, bare)
    for path in (*(bare / "train" / "masks").iterdir(), *(bare / "val" / "masks").iterdir()):
        if path.stem != "00":
            path.unlink()
    with pytest.raises(InputError, match=r"no split 'val'; there are: train"):
        maskwright.export(run, bare, to="torch", split="val", out=tmp_path / "out")


@pytest.mark.skipif(os.geteuid() != 0 or not Path("/proc/version").exists(), reason="needs a folder that nobody may write")
def test_a_place_that_may_not_be_written(run, data):
    with pytest.raises(InputError, match=r"/proc/exports: cannot be written .*Choose another folder"):
        maskwright.export(run, data, to="torch", out="/proc/exports")


def test_a_missing_extra_is_said(monkeypatch):
    monkeypatch.setattr(artefacts, "find_spec", lambda name: None)
    with pytest.raises(
        MissingExtraError, match=r"an export to onnx needs the package 'onnx': pip install 'maskwright\[export\]'"
    ):
        artefacts.target_of("onnx", "fp32")


def test_the_command(run, data, tmp_path, capsys, monkeypatch):
    from maskwright.cli import app

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        app(["export", str(run), "--to", "torch", "--data", str(data), "--out", "out"], prog_name="maskwright")
    out, err = capsys.readouterr()
    assert not ended.value.code
    assert "of the pixels as eager fp32 answers them" in out
    assert "mean iou" in out
    assert "predict.py" in err
