"""timm finds the networks by name, with widths, also the way its own train.py asks for them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from timm.data import resolve_data_config
from timm.models import save_for_hf
from torch import nn

import thinresnet.networks.zoo
from thinresnet.errors import InputError
from thinresnet.networks import count, fit, load, read_off, save, scale
from thinresnet.networks.build import build
from thinresnet.networks.hub import write_config
from thinresnet.preprocessing import Preprocessing


@pytest.mark.parametrize("name", ["thin_resnet50", "thin_resnet18", "thin_resnet20_cifar", "thin_shufflenet_v2_x1_0"])
def test_timm_makes_thin_networks(name: str) -> None:
    model = timm.create_model(name, width=0.5, num_classes=7)
    expected = build(scale(name.removeprefix("thin_"), width=0.5, num_classes=7))
    assert [p.shape for p in model.parameters()] == [p.shape for p in expected.parameters()]


def test_as_timms_train_py_asks() -> None:
    """Its factory call passes what its flags hold; its data settings come from the model's configuration."""
    model = timm.create_model(
        "thin_resnet20_cifar",
        pretrained=False,
        in_chans=3,
        num_classes=10,
        drop_rate=0.1,
        drop_path_rate=0.05,
        width=0.5,
    )
    config = resolve_data_config({}, model=model)
    assert config["input_size"] == (3, 32, 32)
    assert model.num_classes == 10
    assert model.train()(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_every_thin_name_has_a_configuration() -> None:
    plain = [name for name in timm.list_models() if not name.startswith("thin")]
    assert {*thinresnet.networks.zoo.THIN} == {f"thin_{name}" for name in plain}
    for name in (*thinresnet.networks.zoo.THIN, "thin_network"):
        config = timm.get_pretrained_cfg(name)
        assert config is not None
        assert not config.has_weights


def test_there_are_no_pretrained_thin_networks() -> None:
    with pytest.raises((ValueError, RuntimeError)):
        timm.create_model("thin_resnet18", pretrained=True, width=0.5)


def test_one_import_registers_them() -> None:
    code = (
        "import gc; gc.disable()\n"
        "import thinresnet.networks.zoo, timm\n"
        "print(timm.is_model('thin_resnet101'), timm.is_model('wrn40_2_cifar'))"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "True True", run.stderr
    assert "overwrit" not in run.stderr.lower()


NETWORK = scale("resnet20_cifar", width=0.125, num_classes=3, input_size=(3, 8, 8))


def _answers(one: nn.Module, other: nn.Module, side: int = 8) -> None:
    images = torch.randn(2, 3, side, side)
    with torch.inference_mode():
        torch.testing.assert_close(one.eval()(images), other.eval()(images), atol=0, rtol=0)


def test_timm_fits_within_a_budget() -> None:
    model = timm.create_model("thin_resnet20_cifar", macs="50%", params="40%", round_to=4, num_classes=7)
    expected = fit("resnet20_cifar", macs="50%", params="40%", round_to=4, num_classes=7)
    assert read_off(model) == expected
    assert count(model).macs <= count(scale("resnet20_cifar")).macs / 2
    with pytest.raises(InputError, match="give one of them"):
        timm.create_model("thin_resnet20_cifar", macs="50%", width=0.5)


def test_timm_makes_any_network_of_any_description(tmp_path: Path) -> None:
    model = build(NETWORK)
    save(tmp_path, NETWORK, model)
    text = NETWORK.to_json()
    for network in (NETWORK, text, json.loads(text), str(tmp_path), str(tmp_path / "network.json")):
        loaded = timm.create_model("thin_network", network=network, checkpoint_path=tmp_path / "model.safetensors")
        _answers(loaded, model)
    assert timm.create_model("thin_network", network=text, num_classes=5).num_classes == 5
    for wrong, said in (({}, "say which network"), ({"network": text, "in_chans": 1}, "takes 3 channels")):
        with pytest.raises(InputError, match=said):
            timm.create_model("thin_network", **wrong)


def test_a_run_folder_is_a_model_of_timm(tmp_path: Path) -> None:
    model = build(NETWORK)
    save(tmp_path, NETWORK, model)
    write_config(tmp_path, NETWORK, Preprocessing((0.1, 0.2, 0.3), (0.5, 0.6, 0.7), 10, 8, "bicubic"), ["a", "b", "c"])
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    _answers(loaded, model)
    config = resolve_data_config({}, model=loaded)
    assert (tuple(config["mean"]), tuple(config["std"])) == ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    assert (tuple(config["input_size"]), config["crop_pct"], config["interpolation"]) == ((3, 8, 8), 0.8, "bicubic")
    assert loaded.pretrained_cfg["label_names"] == ["a", "b", "c"]
    other = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, num_classes=7)  # a new classifier, as in timm
    assert torch.equal(other.conv1.weight, model.conv1.weight)


@pytest.mark.parametrize("how", ["loaded", "thin name", "dense"])
def test_what_goes_to_the_hub_comes_back(how: str, tmp_path: Path) -> None:
    if how == "loaded":
        save(tmp_path, NETWORK, build(NETWORK))
        _, model = load(tmp_path)
    elif how == "dense":
        model = build("resnet20_cifar", num_classes=3)
    else:
        model = timm.create_model("thin_resnet20_cifar", width=0.25, num_classes=3)
    save_for_hf(model, tmp_path / "hub", safe_serialization=True)
    _answers(timm.create_model(f"local-dir:{tmp_path / 'hub'}", pretrained=True), model)


def test_feature_maps_have_thin_channels() -> None:
    model = timm.create_model("thin_resnet18", width=0.25, features_only=True, out_indices=(1, -1))
    maps = model(torch.randn(1, 3, 64, 64))
    assert [each.shape[1] for each in maps] == model.feature_info.channels() == [16, 128]
    assert model.feature_info.reduction() == [4, 32]
    with pytest.raises(InputError, match="timm names no feature maps of shufflenet"):
        timm.create_model("thin_shufflenet_v2_x1_0", width=0.5, features_only=True)
    with pytest.raises(InputError, match="resnet18 has the maps 0 to 4"):
        timm.create_model("thin_resnet18", features_only=True, out_indices=(5,))


@pytest.mark.parametrize("arch", ["vgg16_bn", "convnext_atto"])
def test_a_classifier_of_a_thin_network_can_be_replaced(arch: str) -> None:
    model = build(arch, width=0.25)
    model.reset_classifier(7)
    assert model.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 7)
