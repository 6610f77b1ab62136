"""FFCV's own Loader: batches are a function of seed, epoch and image, whatever is compiled, threaded or resumed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from thinresnet.errors import InputError
from thinresnet.recipe import Recipe
from thinresnet.training.data import Data, beton, open_data
from thinresnet.training.data.plan import Plan
from thinresnet.training.data.resample import CROP_DRAWS, random_boxes

Folder = Callable[..., Path]
CPU = torch.device("cpu")
# Hashes are products modulo 2^64.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in scalar")
SEED, KEEP = np.uint64(7), {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "hflip": 0.0}


def recipe_for(root: Path, **rest: object) -> Recipe:
    basic = Recipe(data_dir=str(root), img_size=16, batch_size=4, color_jitter=None, crop_pct=1.0, workers=1, seed=3)
    return basic.replace(**rest)


def opened(recipe: Recipe, **rest: Any) -> Data:
    return open_data(recipe, input_size=(3, 16, 16), device=CPU, loader="ffcv", **rest)


def pixels(batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    return torch.cat([images for images, _ in batches])


def test_compiled_threaded_and_in_python_it_gives_the_same(folder: Folder, ffcv_in_python: Any) -> None:
    """What users run is the compiled code; compiling it takes longer than all other tests here."""
    recipe = recipe_for(folder(uneven=True, suffix=".png"))
    with opened(recipe) as data:
        expected = pixels(data.train.epoch(1))
    ffcv_in_python.Compiler.set_enabled(True)
    with opened(recipe.replace(workers=2)) as data:
        assert torch.equal(pixels(data.train.epoch(1)), expected)
        assert torch.equal(pixels(data.train.epoch(1, 5)), expected[20:])


def test_boxes_fall_as_timm_s_do(ffcv_in_python: Any) -> None:
    keys = [ffcv_in_python.key_of(SEED, np.uint64(row)) for row in range(4000)]
    scale, ratio = (0.08, 1.0), (3 / 4, 4 / 3)
    found = np.array([ffcv_in_python.random_box(60, 80, scale, ratio, key) for key in keys])
    assert (found >= 0).all()
    assert (found[:, 0] + found[:, 2] <= 60).all()
    assert (found[:, 1] + found[:, 3] <= 80).all()
    drawn = torch.rand(4000, CROP_DRAWS, generator=torch.Generator().manual_seed(0))
    theirs = random_boxes(drawn, torch.full((4000,), 60), torch.full((4000,), 80), scale, ratio).numpy()
    for column in range(4):
        assert stats.ks_2samp(found[:, column], theirs[:, column]).pvalue > 1e-3


@pytest.mark.parametrize(("height", "width"), [(8, 400), (400, 8)])
def test_a_box_that_nothing_fits_is_the_largest_in_the_middle(ffcv_in_python: Any, height: int, width: int) -> None:
    key = ffcv_in_python.key_of(SEED, np.uint64(1))
    top, left, box_height, box_width = ffcv_in_python.random_box(height, width, (1.0, 1.0), (3 / 4, 4 / 3), key)
    assert ((left, box_width) if width > height else (top, box_height)) == ((400 - 11) // 2, 11)
    assert ((top, box_height) if width > height else (left, box_width)) == (0, 8)


def test_draws_are_even_and_no_row_s_are_another_s(ffcv_in_python: Any) -> None:
    keys = {
        int(ffcv_in_python.key_of(SEED, np.uint64(draw << 32 | image))) for draw in range(40) for image in range(40)
    }
    assert len(keys) == 1600
    drawn = [ffcv_in_python.uniform(np.uint64(key), number) for key in sorted(keys) for number in (0, 1000)]
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("mode", ["constant", "reflect"])
@pytest.mark.parametrize(("side", "padding"), [(6, 3), (3, 7), (1, 2)])  # more than an image can reflect at once
def test_padded_crops_are_numpy_s(ffcv_in_python: Any, mode: str, side: int, padding: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), mode=mode)  # type: ignore[call-overload]
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            found = np.empty_like(image)
            ffcv_in_python.cut_padded(image, found, top, left, padding, mode == "reflect")
            assert np.array_equal(found, padded[top : top + side, left : left + side])
    ffcv_in_python.flip_in_place(found)
    assert np.array_equal(found, padded[top : top + side, left : left + side][:, ::-1])


@pytest.mark.parametrize("settings", [{}, {"crop_padding": 2, "crop_padding_mode": "reflect"}])
def test_a_crop_belongs_to_its_seed_epoch_and_image(
    folder: Folder, ffcv_in_python: Any, settings: dict[str, object]
) -> None:
    root = folder(size=(16, 16), suffix=".png")
    by_image: list[dict[int, torch.Tensor]] = []
    for size in (4, 9):  # in other batches, in another order
        with opened(recipe_for(root, batch_size=size, **settings)) as data:
            order = data.train.plan.order(1)
            by_image.append(dict(zip(order.tolist(), pixels(data.train.epoch(1)), strict=True)))
            others = dict(zip(data.train.plan.order(2).tolist(), pixels(data.train.epoch(2)), strict=True))
    assert all(torch.equal(by_image[0][image], by_image[1][image]) for image in range(36))
    assert sum(torch.equal(by_image[0][image], others[image]) for image in range(36)) < 12


def test_repeats_of_an_image_differ_whatever_the_number_of_processes(folder: Folder, ffcv_in_python: Any) -> None:
    root = folder(classes=2, train=6, suffix=".png")
    with opened(recipe_for(root, batch_size=6, aug_repeats=3)) as one:
        whole = next(one.train.epoch(0))[0]
    assert len({round(float(image.double().sum()), 6) for image in whole[:3]}) == 3
    halves = []
    for process in range(2):
        with opened(recipe_for(root, batch_size=3, aug_repeats=3), process_index=process, process_count=2) as data:
            halves.append(next(data.train.epoch(0))[0])
    assert torch.equal(torch.stack(halves, 1).flatten(0, 1), whole)


def test_what_is_not_cropped_is_what_the_file_holds(folder: Folder, ffcv_in_python: Any) -> None:
    with opened(recipe_for(folder(suffix=".png"), mean=(0, 0, 0), std=(1, 1, 1), **KEEP)) as data:
        order = data.train.plan.order(0)
        found = (pixels(data.train.epoch(0)) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        source = data.train.loader.betons["train"]  # type: ignore[attr-defined]
        assert np.array_equal(found, np.stack([source.pixels(int(image)) for image in order]))


def test_an_epoch_left_half_way_ends_its_threads(folder: Folder, ffcv_in_python: Any) -> None:
    with opened(recipe_for(folder(suffix=".png"))) as data:
        before = threading.active_count()
        assert len(list(islice(data.train.epoch(0), 2))) == 2
        assert threading.active_count() == before


def test_what_fails_in_ffcv_s_thread_reaches_the_user(
    folder: Folder, ffcv_in_python: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFCV leaves the consumer waiting for ever."""
    with opened(recipe_for(folder(suffix=".png"))) as data:
        monkeypatch.setattr(ffcv_in_python, "resize_crop", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            next(data.train.epoch(0))


def test_an_image_that_cannot_be_decoded_is_named(folder: Folder, tmp_path: Path, ffcv_in_python: Any) -> None:
    """FFCV trains on what lies in the memory there."""
    from thinresnet.training.data.info import Encoding, write_betons

    written, _ = write_betons(Recipe(data_dir=str(folder())), encoding=Encoding("jpg"), output=tmp_path / "own")
    file = beton.Beton(written)
    start = int(file._starts[5])
    with written.open("r+b") as broken:
        broken.seek(start)
        broken.write(b"no JPEG any more")
    with opened(recipe_for(tmp_path / "own")) as data, pytest.raises(InputError, match=r"image 5 cannot be decoded"):
        list(data.train.epoch(0))


def test_sizes_that_change_within_an_epoch(folder: Folder, ffcv_in_python: Any) -> None:
    recipe = recipe_for(folder(suffix=".png"), train_img_sizes=(8, 12))
    with opened(recipe) as data:
        whole = [images for images, _ in data.train.epoch(1)]
        assert {images.shape[-1] for images in whole} == {8, 12}
        again = [images for images, _ in data.train.epoch(1, 4)]
        assert all(torch.equal(one, other) for one, other in zip(whole[4:], again, strict=True))


def test_crop_padding_takes_images_of_one_size(folder: Folder, ffcv_in_python: Any) -> None:
    root = folder(uneven=True, suffix=".png")
    with (
        opened(recipe_for(root, crop_padding=2)) as data,
        pytest.raises(InputError, match=r"image 1 is 17x18; crop_padding takes images of 16x16 only"),
    ):
        next(data.train.epoch(0))


def test_rows_hold_image_and_epoch() -> None:
    from thinresnet.training.data.ffcv_loader import rows_of

    plan = Plan(2**31, 2, seed=0)
    rows = rows_of(plan, 10**6, 0, torch.tensor([5, 2**31 - 1]))
    assert (rows & 0xFFFFFFFF).tolist() == [5, 2**31 - 1]
    assert set((rows >> 32).tolist()) == {10**6 << 7}


def test_torch_keeps_its_threads(ffcv_in_python: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFCV sets them to one where it is imported, and to those of its Loader afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        monkeypatch.setattr(beton.importlib, "import_module", lambda name: torch.set_num_threads(1))
        beton.parts("ffcv_parts")
        assert torch.get_num_threads() == 3
        ffcv_in_python.Compiler.set_num_threads(1)
        assert (torch.get_num_threads(), ffcv_in_python.Compiler.num_threads) == (3, 1)
    finally:
        torch.set_num_threads(before)
