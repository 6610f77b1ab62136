"""timm finds the networks by name, with widths, also the way its own train.py asks for them."""

from __future__ import annotations

import subprocess
import sys

import pytest
import timm
import torch
from timm.data import resolve_data_config

import thinresnet.networks.zoo
from thinresnet.networks import scale
from thinresnet.networks.build import build


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
    for name in thinresnet.networks.zoo.THIN:
        config = timm.get_pretrained_cfg(name)
        assert config is not None
        assert not config.has_weights


def test_there_are_no_pretrained_thin_networks() -> None:
    with pytest.raises((ValueError, RuntimeError)):
        timm.create_model("thin_resnet18", pretrained=True, width=0.5)


def test_one_import_registers_them() -> None:
    code = (
        "import thinresnet.networks.zoo, timm; print(timm.is_model('thin_resnet101'), timm.is_model('wrn40_2_cifar'))"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "True True", run.stderr
    assert "overwrit" not in run.stderr.lower()
