"""Loss and accuracy of networks on a split, over all processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from thinresnet.result import Score
from thinresnet.training.processes import from_each, share_buffers

Batch = tuple[Tensor, Tensor]


def evaluate(accelerator: Accelerator, model: nn.Module, split: Iterable[Batch], classes: int) -> Score:
    """Measure a network: whole counts over all processes, each image once."""
    (score,) = evaluate_all(accelerator, [model], split, classes)
    return score  # type: ignore[no-any-return]  # inference_mode is untyped here


@torch.inference_mode()
def evaluate_all(
    accelerator: Accelerator, models: Sequence[nn.Module], split: Iterable[Batch], classes: int
) -> list[Score]:
    """Measure networks on the same images, which are read once: whole counts over all processes, each image once.

    They run uncompiled: compiling once more for evaluation, and for the odd last batch, costs more than it saves.
    """
    for model in models:
        share_buffers(accelerator, model)
        model.eval()
    top, images, figures = min(5, classes), 0, []
    for image, target in split:
        images += len(target)
        found = []
        for model in models:
            with accelerator.autocast():
                output = model.forward(image)
            output = output.float()
            hits = output.topk(top).indices == target[:, None]
            loss = nn.functional.cross_entropy(output, target, reduction="sum")
            found.append(torch.stack([hits[:, 0].sum().float(), hits.sum().float(), loss]))
        figures.append(torch.stack(found))
    # A process may have had no batch; integers of this size are exact in every type used.
    here = torch.stack(figures).tolist() if figures else [[[0.0] * 3] * len(models)]
    all_images = round(sum(from_each(accelerator, images)))
    scores = []
    for own in zip(*here, strict=True):
        sums = [sum(from_each(accelerator, sum(column))) for column in zip(*own, strict=True)]
        correct1, correct5, loss_sum = sums
        scores.append(
            Score(all_images, round(correct1), round(correct5) if classes > 5 else None, loss_sum / all_images)
        )
    return scores
