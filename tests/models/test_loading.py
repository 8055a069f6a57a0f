"""Weights into models: encoders alone, whole nets, renamed ones; what starts anew, and what is refused without a trace."""

from __future__ import annotations

import inspect

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.testing import assert_close

from maskwright import models
from maskwright.errors import CheckpointError
from maskwright.models import loading
from maskwright.models.deeplab import DeepLabV3, DeepLabV3Plus
from maskwright.models.fcn import FCN
from maskwright.models.fcn_resnet import FCNResNet
from maskwright.models.loading import load_weights
from maskwright.models.segnet import SegNet
from maskwright.models.unet import UNet
from maskwright.models.vgg import VGG16, VGG16Encoder

TINY_FCN = {"width": 4, "fc_width": 8}


@pytest.fixture
def stored(tmp_path):
    """Write tensors, or those of a model, to a file and return its name."""

    def write(given: nn.Module | dict[str, Tensor], name: str = "weights.safetensors") -> str:
        state = given.state_dict() if isinstance(given, nn.Module) else given
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, tmp_path / name)
        return str(tmp_path / name)

    return write


def deeplab(**changes: int) -> DeepLabV3:
    return DeepLabV3(**{"channels": 3, "classes": 21, "encoder": "test_resnet", "width": 8, "auxiliary_width": 4, **changes})


def as_torchvision(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our names of DeepLabV3 and FCN-ResNet turned into torchvision's, by hand."""
    theirs = {"encoder.net.": "backbone.", "head.": "classifier.", "auxiliary.": "aux_classifier."}
    return {theirs[p] + key.removeprefix(p): t for key, t in state.items() for p in theirs if key.startswith(p)}


def equal(model: nn.Module, other: nn.Module, part: str = "") -> bool:
    theirs = other.state_dict()
    return all(torch.equal(t, theirs[key]) for key, t in model.state_dict().items() if key.startswith(part))


# Whole nets


def test_torchvisions_names_fill_every_weight(stored):
    trained, model = deeplab(), deeplab()
    assert not equal(model, trained)
    loaded = load_weights(model, stored(as_torchvision(trained.state_dict())))
    assert equal(model, trained)
    assert (loaded.fresh, loaded.first_layer, loaded.licence) == ((), "as stored", None)


def test_another_number_of_classes_starts_its_layers_anew(stored):
    trained, model = deeplab(), deeplab(classes=5)
    before = {key: t.clone() for key, t in model.state_dict().items()}
    loaded = load_weights(model, stored(as_torchvision(trained.state_dict())))
    # The last layer of the head and that of the auxiliary head, weight and bias.
    assert len(loaded.fresh) == 4
    assert {key.partition(".")[0] for key in loaded.fresh} == {"head", "auxiliary"}
    assert all(torch.equal(model.state_dict()[key], before[key]) for key in loaded.fresh)
    assert equal(model, trained, "encoder.")


def test_a_part_that_the_file_does_not_have_starts_anew(stored):
    trained = FCNResNet(3, 4, encoder="test_resnet", width=4)
    model = FCNResNet(3, 4, encoder="test_resnet", width=4)
    state = {key: t for key, t in as_torchvision(trained.state_dict()).items() if not key.startswith("aux_")}
    loaded = load_weights(model, stored(state))
    assert {key.partition(".")[0] for key in loaded.fresh} == {"auxiliary"}
    assert equal(model, trained, "head.")


def test_a_run_of_the_same_net_fits(stored):
    trained, model = UNet(1, 2, width=4, depth=1), UNet(1, 2, width=4, depth=1)
    assert load_weights(model, stored(trained)).fresh == ()
    assert equal(model, trained)


@pytest.mark.parametrize("encoder", ["resnet18", "tu-resnet18d"])  # the second has a convolution conv1.0 in its encoder
def test_a_unet_of_segmentation_models_pytorch_answers_the_same(stored, encoder):
    smp = pytest.importorskip("segmentation_models_pytorch")
    theirs = smp.Unet(encoder, encoder_weights=None, classes=4).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
    ours = UNet(3, 4, encoder=encoder.removeprefix("tu-"), up="nearest", head_px=3).eval()
    assert load_weights(ours, stored(theirs)).fresh == ()
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        assert_close(ours(image), theirs(image), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("prefix", ["module.", "module._orig_mod."])
def test_what_a_tool_wrapped_is_unwrapped(stored, prefix):
    trained, model = UNet(1, 2, width=4, depth=1), UNet(1, 2, width=4, depth=1)
    load_weights(model, stored({prefix + key: t for key, t in trained.state_dict().items()}))
    assert equal(model, trained)


# Encoders


def test_vgg_fills_the_convolutions_and_fully_connected_layers_of_fcn(stored):
    vgg, model = VGG16(3, 10, **TINY_FCN), FCN(32, 3, 4, **TINY_FCN)
    loaded = load_weights(model, stored(vgg))
    assert torch.equal(model.encoder.features[28].weight, vgg.features[28].weight)
    # Row by row the 7 x 7 maps of each of the 32 channels.
    assert torch.equal(model.fc6.weight.flatten(1), vgg.classifier[0].weight)
    assert torch.equal(model.fc7.weight[..., 0, 0], vgg.classifier[3].weight)
    assert {key.partition(".")[0] for key in loaded.fresh} == {"head"}


def test_layers_of_nothing_but_nan_start_anew(stored):
    """torchvision's VGG16_Weights.IMAGENET1K_FEATURES has such ones in place of a classifier."""
    state = VGG16(3, 10, **TINY_FCN).state_dict()
    features = {key: torch.full_like(t, torch.nan) if key.startswith("classifier.") else t for key, t in state.items()}
    model = FCN(32, 3, 4, **TINY_FCN)
    loaded = load_weights(model, stored(features))
    assert {key.partition(".")[0] for key in loaded.fresh} == {"fc6", "fc7", "head"}
    assert torch.equal(model.encoder.features[28].weight, state["features.28.weight"])
    assert model.fc6.weight.isfinite().all()
    state["classifier.0.weight"][0, 0] = torch.nan  # one alone is a mistake
    with pytest.raises(CheckpointError, match=r"1 not finite \(fc6.weight\)"):
        load_weights(model, stored(state))


@pytest.mark.parametrize(
    "model",
    [
        DeepLabV3Plus(3, 4, encoder="test_resnet", width=8, low_width=4),
        UNet(3, 2, encoder="test_resnet", decoder=[8, 8, 8, 8, 8]),
    ],
    ids=["deeplabv3plus", "unet"],
)
def test_a_segmentation_nets_encoder_fills_another_nets(stored, model):
    trained = deeplab()
    theirs = as_torchvision(trained.state_dict())
    assert any(key.startswith("aux_classifier.") for key in theirs)
    load_weights(model, stored(theirs))
    assert equal(model.encoder, trained.encoder)


def test_vgg_fills_the_encoder_of_segnet(stored):
    vgg, model = VGG16(3, 10, batch_norm=True, **TINY_FCN), SegNet(3, 4, width=4)
    loaded = load_weights(model, stored(vgg))
    assert torch.equal(model.encoder.features[41].running_mean, vgg.features[41].running_mean)
    assert {key.partition(".")[0] for key in loaded.fresh} == {"decoder"}


def test_vgg_fills_an_encoder_alone(stored):
    vgg, encoder = VGG16(3, 10, **TINY_FCN), VGG16Encoder(3, width=4)
    assert load_weights(encoder, stored(vgg)).fresh == ()
    assert torch.equal(encoder.features[0].weight, vgg.features[0].weight)


@pytest.mark.parametrize(("channels", "first_layer"), [(1, "sum over 3 channels"), (5, "3 channels repeated to 5, times 3/5")])
def test_a_first_layer_of_three_channels_is_fitted(stored, channels, first_layer):
    vgg, model = VGG16(3, 10, **TINY_FCN), FCN(32, channels, 4, **TINY_FCN)
    assert load_weights(model, stored(vgg)).first_layer == first_layer
    three = vgg.features[0].weight
    expected = three.sum(1, keepdim=True) if channels == 1 else three[:, [0, 1, 2, 0, 1]] * 3 / 5
    assert_close(model.encoder.features[0].weight, expected)


def test_a_timm_classifier_fills_the_encoder_of_a_whole_net(stored):
    classifier = timm.create_model("test_resnet", pretrained=False)
    model = UNet(3, 2, encoder="test_resnet", decoder=[8, 8, 8, 8, 8])
    loaded = load_weights(model, stored(classifier))
    assert torch.equal(model.encoder.net.state_dict()["bn1.weight"], classifier.bn1.weight)
    assert {key.partition(".")[0] for key in loaded.fresh} == {"expanding", "head"}
    assert loaded.mean == (0.5, 0.5, 0.5)  # timm lists it for test_resnet


def test_a_classifiers_head_is_not_taken_for_ours(stored):
    """test_convnext calls its classifier `head`, as UNet calls its last layer."""
    classifier = timm.create_model("test_convnext", pretrained=False)
    model = UNet(3, 2, encoder="test_convnext", decoder=[8, 8, 8, 8, 8])
    assert "head.weight" in load_weights(model, stored({**classifier.state_dict(), "head.weight": torch.zeros(9, 3)})).fresh


# What the registry promises

PROMISED = [(name, form) for name, entry in models.MODELS.items() for form in entry.weights]


def published(form: str, default_encoder: str) -> dict[str, Tensor]:
    """A state dict of the shapes of what a row of the registry names, without numbers."""
    kind, _, name = form.partition(":")
    with torch.device("meta"):
        if kind == "torchvision":
            options = {"weights_backbone": None, "aux_loss": True} if "_resnet" in name else {}
            options = {"weights_backbone": None} if name.startswith("maskrcnn") else options
            options = {"init_weights": False} if name == "googlenet" else options
            return torchvision.models.get_model(name, weights=None, **options).state_dict()
        return timm.create_model(default_encoder, pretrained=False).state_dict()


@pytest.mark.parametrize(("name", "form"), PROMISED, ids=[f"{name}-{form}" for name, form in PROMISED])
def test_what_a_row_of_the_registry_names_fits(name, form):
    """In full size, on torch's device for shapes: every name is known, and the parts that are there are there as a whole."""
    arguments = inspect.signature(models.MODELS[name].build).parameters
    default = arguments["encoder"].default or "resnet34" if "encoder" in arguments else ""
    encoder = "tf_efficientnet_lite0" if form.startswith("pip:") else default
    with torch.device("meta"):
        model = models.build(name, channels=3, classes=5, **({"encoder": encoder} if encoder else {}))
    own = model.state_dict()
    tensors, unexpected = loading._under_own_names(published(form, encoder), model, own)
    assert unexpected == []
    assert loading._missing(tensors, own) == []
    assert any(key.startswith("encoder.") for key in tensors)
    of_other_shape = [key for key, found in tensors.items() if found.shape != own[key].shape]
    assert all(loading._is_class_layer(tensors[key], own[key], 5) and not key.startswith("encoder.") for key in of_other_shape)


# What does not fit changes nothing


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {k: t for k, t in s.items() if k != "backbone.bn1.bias"}, r"1 missing \(encoder.net.bn1.bias\)\."),
        (lambda s: s | {"neck.weight": torch.zeros(2)}, r"1 unexpected \(neck.weight\)\."),
        (lambda s: s | {"backbone.bn1.bias": torch.zeros(5)}, r"1 of another shape \(encoder.net.bn1.bias \(5,\) instead of"),
        (lambda s: s | {"backbone.bn1.bias": torch.full_like(s["backbone.bn1.bias"], torch.nan)}, r"1 not finite \(encoder"),
        (lambda s: {f"other.{k}": t for k, t in s.items()}, r"\d+ missing \(.*, \.\.\.\); \d+ unexpected \(other\."),
        (lambda _s: {"a": torch.zeros(1)}, r"\d+ missing .*; 1 unexpected \(a\)"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(stored, change, message):
    model = deeplab()
    before = {key: t.clone() for key, t in model.state_dict().items()}
    source = stored(change(as_torchvision(deeplab().state_dict())))
    with pytest.raises(CheckpointError, match=message) as caught:
        load_weights(model, source)
    assert str(caught.value).startswith(f"{source}: not weights of DeepLabV3 on the encoder 'test_resnet': ")
    assert all(torch.equal(t, before[key]) for key, t in model.state_dict().items())


def test_weights_of_a_deeper_net_are_refused(stored):
    deep = timm.create_model("resnet18", pretrained=False)
    with pytest.raises(CheckpointError, match=r"not weights of UNet on the encoder 'test_resnet': .*unexpected"):
        load_weights(UNet(3, 2, encoder="test_resnet", decoder=[8, 8, 8, 8, 8]), stored(deep))
