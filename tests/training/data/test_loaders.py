"""The three loaders behind one interface: the same rules of order, resuming, sharding and refusing for all of them."""

from __future__ import annotations

import io
import multiprocessing
import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import AugMixDataset, create_transform
from timm.data.scheduled_sampler import ScheduledBatchSampler
from torchvision.transforms import InterpolationMode

from thinresnet.errors import InputError
from thinresnet.recipe import Recipe
from thinresnet.training.data import Data, open_data
from thinresnet.training.data.torch_loader import seeded, train_transform

Folder = Callable[..., Path]
CPU = torch.device("cpu")


@pytest.fixture(params=["memory", "torch", "beton"])
def loader(request: pytest.FixtureRequest) -> str:
    if request.param == "beton":
        request.getfixturevalue("ffcv_installed")
    return str(request.param)


def recipe_for(root: Path, **rest: object) -> Recipe:
    basic = Recipe(data_dir=str(root), img_size=16, batch_size=4, color_jitter=None, crop_pct=1.0, workers=0, seed=3)
    return basic.replace(**rest)


def opened(recipe: Recipe, loader: str, **rest: object) -> Data:
    return open_data(recipe, input_size=(3, 16, 16), device=CPU, loader=loader, **rest)  # type: ignore[arg-type]


def same(one: Iterator[tuple[torch.Tensor, torch.Tensor]], other: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return bool(pairs) and all(torch.equal(a, b) and torch.equal(c, d) for (a, c), (b, d) in pairs)


@pytest.mark.parametrize("settings", [{}, {"aa": "rand-m9-mstd0.5-inc1", "reprob": 0.5}, {"crop_padding": 2}])
def test_an_epoch_resumes_at_any_step(folder: Folder, loader: str, settings: dict[str, object]) -> None:
    recipe = recipe_for(folder(), **settings)
    with opened(recipe, loader) as data:
        assert data.loader == loader
        assert data.train.steps_per_epoch == 9
        whole = list(data.train.epoch(1))
        assert [len(targets) for _, targets in whole] == [4] * 9
        assert whole[0][0].shape == (4, 3, 16, 16)
        assert whole[0][0].dtype == torch.float32
        assert whole[0][1].dtype == torch.int64
        for start in (0, 4, 8):
            assert same(iter(whole[start:]), data.train.epoch(1, start))
        assert not torch.equal(whole[0][0], next(data.train.epoch(2))[0])
    with opened(recipe, loader) as again:
        assert same(iter(whole), again.train.epoch(1))
    with opened(recipe.replace(seed=4), loader) as other:
        assert not torch.equal(whole[0][0], next(other.train.epoch(1))[0])


def test_global_random_states_are_left_alone(folder: Folder, loader: str) -> None:
    with opened(recipe_for(folder(), aa="rand-m9", reprob=0.5), loader) as data:
        states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
        list(data.train.epoch(0))
        list(data.test)
        assert random.getstate() == states[0]
        assert np.random.get_state()[1].tolist() == states[1]
        assert torch.equal(torch.get_rng_state(), states[2])


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_see_together_what_one_sees(folder: Folder, loader: str, processes: int) -> None:
    root = folder()
    with opened(recipe_for(root, batch_size=6, crop_padding=2), loader, holdout=0.25) as one:
        parts = [
            opened(recipe_for(root, batch_size=6 // processes, crop_padding=2), loader, holdout=0.25,
                   process_index=index, process_count=processes)
            for index in range(processes)
        ]  # fmt: skip
        assert {part.train.images_per_epoch for part in parts} == {one.train.images_per_epoch} == {24}
        for whole, *shares in zip(one.train.epoch(0), *(part.train.epoch(0) for part in parts), strict=True):
            if loader == "torch":  # its seeds belong to images, so that the order inside a batch differs and no more
                together = torch.cat([images for images, _ in shares]).sum((1, 2, 3)).sort().values
                assert torch.allclose(together, whole[0].sum((1, 2, 3)).sort().values)
            else:
                assert torch.equal(torch.stack([images for images, _ in shares], 1).flatten(0, 1), whole[0])
        for name in ("test", "holdout"):
            expected = torch.cat([images for images, _ in getattr(one, name)])
            found = [torch.cat([images for images, _ in getattr(part, name)]) for part in parts]
            assert sum(map(len, found)) == len(expected) == getattr(one, name).count
            assert torch.equal(torch.cat(found).sum((1, 2, 3)).sort().values, expected.sum((1, 2, 3)).sort().values)
        for part in parts:
            part.close()


def test_a_share_may_be_empty(folder: Folder) -> None:
    root = folder(classes=2, test=1)
    with opened(recipe_for(root, batch_size=2), "memory", process_index=2, process_count=3) as data:
        assert (data.test.count, len(data.test), list(data.test)) == (2, 0, [])


def test_a_hold_out_is_not_trained_on(folder: Folder, loader: str) -> None:
    with opened(
        recipe_for(folder(), scale=(1, 1), ratio=(1, 1), hflip=0.0, batch_size=1), loader, holdout=0.25
    ) as data:
        assert data.holdout is not None
        trained = torch.cat([images for images, _ in data.train.epoch(0)]).flatten(1)
        held = torch.cat([images for images, _ in data.holdout]).flatten(1)
        assert (len(trained), len(held), data.train.count) == (27, 9, 27)
        assert torch.cdist(trained, held).min() > 1
        assert torch.bincount(torch.cat([targets for _, targets in data.holdout])).tolist() == [3, 3, 3]


@pytest.mark.parametrize("settings", [{}, {"crop_padding": 2}, {"aa": "rand-m9-mstd0.5-inc1", "reprob": 0.5}])
def test_beton_gives_the_batches_of_the_memory_loader(
    folder: Folder, ffcv_installed: None, settings: dict[str, object]
) -> None:
    """Crops, flips and what follows are drawn alike; resizing differs by a level of 255 at most here and there."""
    recipe = recipe_for(folder(size=(20, 20)), img_size=20, batch_size=9, **settings)
    with opened(recipe, "memory") as one, opened(recipe, "beton") as other:
        for (first, targets), (second, same_targets) in zip(one.train.epoch(0), other.train.epoch(0), strict=True):
            assert torch.equal(targets, same_targets)
            if "aa" not in settings:  # equalizing and the like make much of one level
                assert (first - second).abs().max() < 2.01 / 255 / 0.224
            assert (first - second).abs().mean() < 0.03


@pytest.mark.parametrize("loader", ["torch", "beton", "ffcv"])
def test_images_of_any_size_are_tested_as_timm_tests_them(folder: Folder, ffcv_installed: None, loader: str) -> None:
    root = folder(size=(24, 20), uneven=True)
    recipe = recipe_for(root, crop_pct=0.9, interpolation="bilinear", batch_size=7)
    transform = create_transform(16, interpolation="bilinear", crop_pct=0.9)
    files = sorted((root / "val").rglob("*.jpg"))
    expected = torch.stack([transform(Image.open(file).convert("RGB")) for file in files])
    with opened(recipe, loader) as data:
        assert torch.allclose(torch.cat([images for images, _ in data.test]), expected, atol=1e-5)


def test_the_torch_loader_augments_as_timm_does_image_by_image(folder: Folder) -> None:
    root = folder(size=(24, 20), uneven=True)
    recipe = recipe_for(root, aa="rand-m7-mstd0.5-inc1", color_jitter=0.3, batch_size=36)
    theirs = create_transform(
        16, is_training=True, auto_augment=recipe.aa, color_jitter=0.3, interpolation="random", use_prefetcher=True
    )
    ours = train_transform(recipe, 16)
    image = Image.open(next((root / "train").rglob("*.jpg"))).convert("RGB")
    for seed in range(20):
        found = []
        for transform in (ours, theirs):
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            found.append(transform(image))
        assert torch.equal(*found)


def test_the_strongest_posterize_of_timm_does_not_stop_a_run(folder: Folder) -> None:
    """Pillow 13 refuses to keep no bits, which timm asks for at a level of 10."""
    with opened(recipe_for(folder(), aa="rand-m10-n8-p1-inc1"), "torch") as data:
        list(data.train.epoch(0))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(folder: Folder, workers: int) -> None:
    root = folder(uneven=True)
    settings = {"aa": "augmix-m3", "reprob": 0.3}
    with (
        opened(recipe_for(root, **settings), "torch") as one,
        opened(recipe_for(root, **settings, workers=workers), "torch") as other,
    ):
        assert same(one.train.epoch(0), other.train.epoch(0))
        assert same(one.train.epoch(1, 3), other.train.epoch(1, 3))
        broken = islice(other.train.epoch(2), 2)  # left half-way, as by Ctrl-C or a NaN
        assert len(list(broken)) == 2
        assert same(one.train.epoch(3), other.train.epoch(3))


def test_workers_of_the_test_set_stay_from_one_evaluation_to_the_next(folder: Folder) -> None:
    root = folder()
    with opened(recipe_for(root, workers=1), "torch") as data:
        first = [images.clone() for images, _ in data.test]
        before = {child.pid for child in multiprocessing.active_children()}
        next(iter(data.test))  # an evaluation that was given up half-way
        again = [images.clone() for images, _ in data.test]
        assert {child.pid for child in multiprocessing.active_children()} == before
        assert len(before) == 1
        assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert not multiprocessing.active_children()


def test_training_sizes_other_than_the_test_size(folder: Folder, loader: str) -> None:
    recipe = recipe_for(folder(), train_img_sizes=(8, 12), train_size_schedule="progressive", epochs=10,
                        train_size_schedule_spread=0.0, train_size_random_mix=0.0)  # fmt: skip
    with opened(recipe, loader) as data:
        sides = [{images.shape[-1] for images, _ in data.train.epoch(epoch)} for epoch in (0, 4, 5, 9)]
        assert sides == [{8}, {8}, {12}, {12}]
        assert next(iter(data.test))[0].shape[-1] == 16


def test_sizes_of_a_constant_schedule_are_mixed_alike_when_resumed(folder: Folder) -> None:
    with opened(recipe_for(folder(train=40), train_img_sizes=(8, 12)), "memory") as data:
        sides = [images.shape[-1] for images, _ in data.train.epoch(1)]
        assert set(sides) == {8, 12}
        assert [images.shape[-1] for images, _ in data.train.epoch(1, 11)] == sides[11:]


def test_repeated_augmentation_shows_an_image_several_ways(folder: Folder, loader: str) -> None:
    with opened(recipe_for(folder(classes=2, train=6), aug_repeats=3, batch_size=6, crop_padding=4), loader) as data:
        images, targets = next(data.train.epoch(0))
        assert targets.tolist() == [targets[0].item()] * 3 + [targets[3].item()] * 3
        assert len({round(float(image.double().sum()), 6) for image in images}) > 2


def test_the_loader_is_chosen_by_what_the_images_are(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    from thinresnet.training.data import beton

    even, uneven = recipe_for(folder("even")), recipe_for(folder("uneven", uneven=True))
    with opened(even, "auto") as data:
        assert data.loader == "memory"
    with opened(even.replace(aa="augmix-m3"), "auto") as data:
        assert data.loader == "torch"
    monkeypatch.setattr(beton, "available", lambda: False)
    beton.decoder.cache_clear()
    with opened(uneven, "auto") as data:
        assert data.loader == "torch"
    with opened(recipe_for(Path("unused"), dataset="digits", img_size=8, hflip=0.0), "auto") as data:
        assert data.loader == "memory"
        assert data.num_classes == 10
    with pytest.raises(InputError, match=r"FFCV is not installed: apt-get install .* pip install"):
        opened(even, "ffcv")


def test_beton_is_chosen_for_photographs(folder: Folder, ffcv_installed: None) -> None:
    with opened(recipe_for(folder(uneven=True)), "auto") as data:
        assert data.loader == "beton"


def test_decoded_images_are_kept_and_made_anew_when_a_file_changes(folder: Folder, cache: Path) -> None:
    root = folder()
    said: list[str] = []
    recipe = recipe_for(root, scale=(1, 1), ratio=(1, 1), hflip=0.0)

    def first_image() -> torch.Tensor:
        with opened(recipe, "memory", progress=lambda what, done, total: said.append(f"{what} {done}/{total}")) as data:
            return next(iter(data.test))[0][0]

    before = first_image()
    assert said == ["reading training images 36/36", "reading test images 15/15"]
    assert torch.equal(first_image(), before)
    assert len(said) == 2
    Image.new("RGB", (16, 16), (200, 0, 0)).save(root / "val" / "class0" / "000.jpg")
    assert not torch.equal(first_image(), before)
    assert len(said) == 3
    assert not list(cache.glob("*.part"))


def damaged_caches() -> Iterator[bytes]:
    yield b""
    yield b"half"
    for kept in (np.zeros((36, 16, 16, 3), np.float32), np.zeros((1, 16, 16, 3), np.uint8), np.zeros(3, np.uint8)):
        content = io.BytesIO()
        np.save(content, kept)
        yield content.getvalue()
    yield content.getvalue()[:-1]
    yield content.getvalue().replace(b"}", b"{")


def test_a_damaged_cache_costs_only_time(folder: Folder, cache: Path) -> None:
    recipe = recipe_for(folder())
    with opened(recipe, "memory") as data:
        expected = next(iter(data.test))[0]
    kept = list(cache.rglob("*.npy"))
    assert len(kept) == 2
    for content in damaged_caches():
        for path in kept:
            path.unlink()  # what is mapped into memory stays
            path.write_bytes(content)
        with opened(recipe, "memory") as data:
            assert torch.equal(next(iter(data.test))[0], expected)


def test_a_cache_that_cannot_be_written_costs_only_time(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("THINRESNET_CACHE", str(tmp_path / "file" / "cache"))
    with opened(recipe_for(folder()), "memory") as data:
        assert len(list(data.test)) == 4


def test_a_broken_image_ends_in_one_line_with_its_path(folder: Folder, loader: str, cache: Path) -> None:
    root = folder()
    bad = root / "train" / "class1" / "003.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    with pytest.raises(InputError) as caught, opened(recipe_for(root, workers=1), loader) as data:
        list(data.train.epoch(0))
    assert str(caught.value).startswith(f"{bad}: not an image that can be decoded")
    assert not list(cache.glob("*.beton"))
    assert not list(cache.glob("*.npy"))


def refused(recipe: Recipe, loader: str = "auto", **rest: object) -> str:
    with pytest.raises(InputError) as caught:
        opened(recipe, loader, **rest)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_served_is_said(folder: Folder) -> None:
    root = folder()
    uneven = folder("uneven", uneven=True)
    recipe = recipe_for(root)
    assert "takes one of auto, memory, beton, ffcv, torch" in refused(recipe, "fast")
    assert "has no batched form of aa augmix-m3" in refused(recipe.replace(aa="augmix-m3"), "memory")
    assert "is 17x18, the images before it 16x16" in refused(recipe_for(uneven), "memory")
    assert "num_classes: 10, but pictures has 3 classes; give --num-classes 3" in refused(
        recipe.replace(num_classes=10)
    )
    assert "images are 16x16 and the training size is 8" in refused(recipe.replace(crop_padding=2, img_size=8))
    assert "36 training images make no batch of 64" in refused(recipe.replace(batch_size=64))
    assert "--holdout 2" in refused(recipe, holdout=2.0)
    with pytest.raises(InputError, match="the network takes 1 channels"):
        open_data(recipe, input_size=(1, 16, 16), device=CPU)
    with pytest.raises(InputError, match="give --img-size"):
        open_data(recipe.replace(img_size=None), input_size=None, device=CPU)


def test_images_in_memory_are_no_use_to_ffcv(ffcv_installed: None) -> None:
    assert "use --loader memory" in refused(Recipe(dataset="digits", img_size=8, batch_size=8), "ffcv")


# --- what timm's transforms alone do ----------------------------------------------------------------------------------

ALONE: list[dict[str, object]] = [
    {"vflip": 0.5},
    {"no_aug": True, "interpolation": "bilinear"},
    {"train_crop_mode": "rkrc"},
    {"train_crop_mode": "rkrr", "train_interpolation": "bilinear"},
    {"color_jitter": 0.4, "color_jitter_prob": 0.5, "grayscale_prob": 0.5, "gaussian_blur_prob": 0.5},
]


@pytest.mark.parametrize("flags", ALONE)
def test_flags_reach_timm_s_transforms(folder: Folder, flags: dict[str, object]) -> None:
    recipe = recipe_for(folder(size=(20, 24)), **flags)
    theirs = create_transform(
        16, is_training=True, no_aug=recipe.no_aug, train_crop_mode=recipe.train_crop_mode, scale=recipe.scale,
        ratio=recipe.ratio, hflip=recipe.hflip, vflip=recipe.vflip, color_jitter=recipe.color_jitter,
        color_jitter_prob=recipe.color_jitter_prob, grayscale_prob=recipe.grayscale_prob,
        gaussian_blur_prob=recipe.gaussian_blur_prob, use_prefetcher=True,
        interpolation=recipe.interpolation if recipe.no_aug else recipe.train_interpolation,
    )  # fmt: skip
    image = Image.open(next((folder("more", size=(20, 24)) / "train").rglob("*.jpg")))
    for seed in range(8):
        with seeded(seed):
            ours = train_transform(recipe, 16)(image)
        with seeded(seed):
            assert torch.equal(ours, theirs(image))
    with opened(recipe, "auto") as data:
        assert data.loader == "torch"
    name = next(name for name in flags if name not in ("color_jitter", "interpolation"))
    with pytest.raises(InputError, match=f"--loader memory: has no batched form of {name}; use --loader torch"):
        opened(recipe, "memory")


def test_versions_of_an_image_are_those_of_timm_s_augmix_dataset(folder: Folder) -> None:
    recipe = recipe_for(folder(), aa="rand-m9-mstd0.5-inc1", aug_splits=3, jsd_loss=True)
    image = Image.open(next((Path(str(recipe.data_dir)) / "train").rglob("*.jpg")))
    parts = create_transform(
        16, is_training=True, auto_augment=recipe.aa, color_jitter=None, interpolation="random", use_prefetcher=True,
        separate=True,
    )  # fmt: skip
    theirs = AugMixDataset(SimpleNamespace(transform=parts), num_splits=3)
    theirs.dataset = [(parts[0], 0)]
    for seed in range(6):
        with seeded(seed):
            ours = train_transform(recipe, 16)(image)
        with seeded(seed):
            theirs.dataset = [(parts[0](image), 0)]
            versions, _ = theirs[0]
        assert all(torch.equal(one, other) for one, other in zip(ours, versions, strict=True))


def test_versions_stand_one_after_the_other_and_the_first_may_stay_unerased(folder: Folder) -> None:
    recipe = recipe_for(folder(), aug_splits=3, jsd_loss=True, reprob=1.0, remode="const", scale=(1.0, 1.0))
    recipe = recipe.replace(ratio=(1.0, 1.0), hflip=0.0, mean=(0.0,), std=(1.0,))
    for resplit in (False, True):
        with opened(recipe.replace(resplit=resplit), "torch") as data:
            images, targets = next(data.train.epoch(0))
            assert same(data.train.epoch(0, 3), data.train.epoch(0, 3))
        assert images.shape == (12, 3, 16, 16)
        assert torch.equal(targets, targets[:4].repeat(3))
        first, second, third = images.chunk(3)
        erased = [bool((part == 0).all(1).flatten(1).any(1).all()) for part in (first, second, third)]
        assert erased == [not resplit, True, True]
        assert not torch.equal(second, third)  # in other places


def test_no_augmentation_erases_nothing(folder: Folder) -> None:
    recipe = recipe_for(folder(), no_aug=True, reprob=1.0, remode="const")
    with opened(recipe, "torch") as data, opened(recipe.replace(reprob=0.0), "torch") as plain:
        assert same(data.train.epoch(0), plain.train.epoch(0))


@pytest.mark.parametrize("schedule", ["constant", "progressive"])
def test_the_sizes_of_the_steps_are_timm_s(folder: Folder, schedule: str) -> None:
    recipe = recipe_for(folder(), train_img_sizes=(8, 12, 16), train_size_schedule=schedule, epochs=5, batch_size=3)
    recipe = recipe.replace(train_size_probs=(1.0, 1.0, 2.0), warmup_epochs=0)
    theirs = ScheduledBatchSampler(
        range(36), [3] * 3, [1.0, 1.0, 2.0], seed=3, choice_schedule=schedule,
        schedule_epochs=5 if schedule == "progressive" else None,
    )  # fmt: skip
    with opened(recipe, "memory") as data:
        for epoch in range(5):
            theirs.set_epoch(epoch)
            expected = [(8, 12, 16)[batch[0][1]] for batch in theirs]
            assert [images.shape[-1] for images, _ in data.train.epoch(epoch)] == expected


def test_trivial_augment_has_one_filter_in_every_loader(folder: Folder) -> None:
    """torchvision's has; `random` of other policies would be either, drawn for each image."""
    for wanted in ("random", "bilinear"):
        policy = train_transform(recipe_for(folder(f"of_{wanted}"), aa="ta_wide", train_interpolation=wanted), 16)
        assert policy.transforms[1].interpolation == InterpolationMode.BILINEAR
    recipe = recipe_for(folder(), aa="ta_wide", crop_padding=1)
    with opened(recipe, "memory") as either, opened(recipe.replace(train_interpolation="bilinear"), "memory") as one:
        assert same(either.train.epoch(0), one.train.epoch(0))
