"""Networks on disk, and the shape of networks that other tools have pruned."""

from __future__ import annotations

import errno
import pickle
import resource
import signal
from pathlib import Path

import pytest
import timm
import torch
import torch_pruning
import torchvision
from torch import nn

from thinresnet.errors import InputError
from thinresnet.networks import Network, build, count, load, load_weights, parse_network, read_off, save, scale


def _randomised(model: nn.Module) -> nn.Module:
    """Statistics that no fresh network has, so that a lost buffer shows."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def test_the_same_logits_bit_for_bit(tmp_path: Path) -> None:
    network = scale("resnet18", width=0.3)
    model = _randomised(build(network)).to(memory_format=torch.channels_last)
    save(tmp_path, network, model)
    images = torch.randn(2, 3, 64, 64)
    found, loaded = load(tmp_path)
    assert found == network
    assert torch.equal(loaded.eval()(images), model.to(memory_format=torch.contiguous_format)(images))
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), model.state_dict().values(), strict=True)
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "network.json"]


def test_a_limit_on_file_size_keeps_the_old_weights_and_is_the_system_s_own_error(tmp_path: Path) -> None:
    """Not safetensors' words for it, which nothing turns into a line."""
    network = scale("resnet20_cifar", width=0.25)
    save(tmp_path, network, build(network, seed=0))
    old = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    before = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[0][1]))
        with pytest.raises(OSError, match="File too large") as caught:
            save(tmp_path, network, build(network, seed=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before[0])
        signal.signal(signal.SIGXFSZ, before[1])
    assert caught.value.errno == errno.EFBIG
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == old


def test_weights_of_another_network_are_refused_and_change_nothing(tmp_path: Path) -> None:
    save(tmp_path, scale("resnet20_cifar", width=0.5), build("resnet20_cifar", width=0.5))
    network = scale("resnet20_cifar", width=0.75)
    model = build(network)
    before = model.conv1.weight.clone()
    with pytest.raises(InputError, match=r"model\.safetensors: conv1.weight has shape \(8, 3, 3, 3\)"):
        load_weights(model, network, tmp_path / "model.safetensors")
    assert torch.equal(model.conv1.weight, before)
    with pytest.raises(InputError, match=r"conv1\.weight has shape"):
        save(tmp_path / "new", network, build("resnet20_cifar"))
    assert not (tmp_path / "new").exists()


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("kind", ["pickle", "torch", "text", "empty", "truncated", "missing"])
def test_hostile_weights_are_never_unpickled(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    network = scale("resnet20_cifar", width=0.25)
    save(tmp_path, network, build(network))
    file = tmp_path / "model.safetensors"
    whole = file.read_bytes()
    if kind == "pickle":
        file.write_bytes(pickle.dumps(_Bomb()))
    elif kind == "torch":
        torch.save({"conv1.weight": _Bomb()}, file)
    else:
        file.write_bytes({"text": b"weights", "empty": b"", "truncated": whole[:-100], "missing": b""}[kind])
    if kind == "missing":
        file.unlink()
    with pytest.raises(InputError, match=r"model.safetensors: "):
        load(tmp_path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("arch", ["resnet18", "mobilenetv2_100", "regnety_004"])
def test_reads_off_what_torch_pruning_pruned(arch: str, tmp_path: Path) -> None:
    model = timm.create_model(arch, num_classes=7).eval()
    image = torch.randn(1, 3, 64, 64)
    pruner = torch_pruning.pruner.MagnitudePruner(
        model,
        image,
        importance=torch_pruning.importance.MagnitudeImportance(),
        pruning_ratio=0.45,
        ignored_layers=[model.get_classifier()],
    )
    pruner.step()
    network = read_off(model, input_size=(3, 64, 64))
    assert count(network).params == sum(parameter.numel() for parameter in model.parameters())
    save(tmp_path, network, _randomised(model))
    _, loaded = load(tmp_path)
    assert torch.equal(loaded.eval()(image), model(image))


def test_reads_off_scaled_networks_of_all_kinds() -> None:
    for arch in ("resnet20_cifar", "densenetbc100_cifar", "shufflenet_v2_x1_0", "res2net50_26w_4s", "convnext_atto"):
        network = scale(arch, width=0.4)
        assert read_off(build(network), arch) == network


def test_what_no_channel_counts_explain_is_refused() -> None:
    model = build("resnet20_cifar")
    model.layer1[0].conv1 = nn.Conv2d(16, 9, 3, padding=1, bias=False)
    with pytest.raises(InputError, match=r"layer1.0.(conv1|bn1|conv2)"):
        read_off(model, "resnet20_cifar")
    with pytest.raises(InputError, match="which architecture"):
        read_off(nn.Sequential(nn.Conv2d(3, 4, 1)))


def test_a_model_of_another_library_is_refused_by_the_layer_that_it_lacks() -> None:
    with pytest.raises(InputError, match=r"read_off: the model has no conv_stem\.weight, as the architecture has"):
        read_off(torchvision.models.mobilenet_v2(), "mobilenetv2_100")


def test_a_folder_without_a_network(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"network\.json: cannot be read"):
        load(tmp_path)
    assert isinstance(parse_network(scale("resnet20_cifar").to_json()), Network)
