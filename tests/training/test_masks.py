"""Weights that are held at zero: through every update, in what starts from them, and until they are released."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from thinresnet import networks
from thinresnet import recipe as recipes
from thinresnet.errors import InputError
from thinresnet.networks.store import read_weights
from thinresnet.result import Result
from thinresnet.training import train
from thinresnet.training.masks import keep_masks

NETWORK = networks.scale("resnet20_cifar", width=0.125, num_classes=10, input_size=(3, 8, 8))
MASKED = ("layer1.0.conv1.weight", "layer3.2.conv2.weight")
torch.set_num_threads(1)


class _Mixing(torch.optim.Optimizer):
    """An optimizer whose updates spread over a whole tensor, as Muon's do."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # nothing here asks for the loss
        for parameter in self.param_groups[0]["params"]:
            parameter.sub_(0.01 * (parameter.grad + parameter.grad.mean() + 0.1))


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
        lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1),
        _Mixing,
    ],
    ids=["sgd", "adamw", "mixing"],
)
def test_masks_last_through_training(optimizer: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(64, 2))
    masks = {name: torch.rand(model.get_parameter(name).shape) < 0.4 for name in ("0.weight", "2.weight")}
    updates = optimizer(model.parameters())

    def update() -> dict[str, Tensor]:
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        updates.zero_grad()
        model(torch.randn(2, 3, 8, 8)).square().sum().backward()
        updates.step()
        return before

    with keep_masks(model, masks):
        for _ in range(3):
            before = update()
            for name, parameter in model.named_parameters():
                mask = masks.get(name, torch.ones_like(parameter, dtype=torch.bool))
                assert not parameter[~mask].any()
                assert parameter.grad is not None
                assert not parameter.grad[~mask].any()
                assert (parameter != before[name])[mask].float().mean() > 0.9
    update()  # behind it nothing is held any longer
    assert all(model.get_parameter(name)[~mask].any() for name, mask in masks.items())


def test_masks_that_do_not_fit_are_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3))
    with pytest.raises(InputError, match=r"no parameter '0\.weights'; did you mean '0\.weight'"):
        keep_masks(model, {"0.weights": torch.ones(8, 3, 3, 3)}).__enter__()
    with pytest.raises(InputError, match=r"'0\.weight' has shape \(8, 3\); the network's is \(8, 3, 3, 3\)"):
        keep_masks(model, {"0.weight": torch.ones(8, 3)}).__enter__()


# --- runs that start from a folder with masks -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with masks beside weights that they were not put on yet, as training from masks at the start has it."""
    folder = tmp_path_factory.mktemp("masked") / "start"
    networks.save(folder, NETWORK, networks.build(NETWORK, seed=0))
    state = read_weights(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    masks = {name: (torch.rand(state[name].shape, generator=generator) < 0.5).to(torch.uint8) for name in MASKED}
    save_file(masks, folder / "masks.safetensors")
    return folder


def run(folder: Path, start: Path, **options: Any) -> Result:
    changes = {"epochs": 1, "warmup_epochs": 0, "batch_size": 512, "model_ema": True, "model_ema_decay": 0.5}
    recipe = recipes.load("digits", {**changes, "initial_checkpoint": str(start)})
    return train(recipe, NETWORK, folder=folder, **options)


def zeros(folder: Path, masks: Path, weights: str = "model.safetensors") -> tuple[int, int]:
    """How many masked weights are zero, and how many are masked."""
    state = read_weights(folder / weights)
    gone = [state[name][mask == 0] for name, mask in read_weights(masks / "masks.safetensors").items()]
    return sum(int((own == 0).sum()) for own in gone), sum(len(own) for own in gone)


def test_zeros_stay_in_what_starts_from_masks_and_in_what_starts_from_that(masked: Path, tmp_path: Path) -> None:
    first = run(tmp_path / "first", masked)
    second = run(tmp_path / "second", tmp_path / "first" / "model.safetensors")
    for result in (first, second):
        gone, of = zeros(result.folder, masked)
        assert gone == of > 0
        assert zeros(result.folder, masked, "model_ema.safetensors") == (gone, of)
        assert result.masks is not None
        assert (result.masks["zeros"], result.masks["weights"]) == (of, 2 * 3 * 3 * 2 + 8 * 8 * 3 * 3)
        assert Result.read(result.folder).masks == result.masks


def test_masks_are_released_only_where_that_is_said(masked: Path, tmp_path: Path) -> None:
    released = run(tmp_path / "run", masked, release_masks=True)
    assert released.masks is None
    assert zeros(released.folder, masked)[0] == 0
    assert not (released.folder / "masks.safetensors").exists()
    with pytest.raises(InputError, match="belongs to another run: its holding is None, here it is"):
        run(tmp_path / "run", masked)


def test_masks_of_another_network_are_refused_before_anything_is_written(masked: Path, tmp_path: Path) -> None:
    start = tmp_path / "start"
    networks.save(start, NETWORK, networks.build(NETWORK, seed=0))
    save_file({"conv1.weight": torch.ones(1, 3, 3, 3)}, start / "masks.safetensors")
    with pytest.raises(InputError, match=r"masks: 'conv1\.weight' has shape"):
        run(tmp_path / "run", start)
    assert not (tmp_path / "run").exists()
