"""What is written of docs/thinresnet.md: text and tables from the board and its evaluations, and the two pictures."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path

from thinresnet import public_weights
from thinresnet.errors import InputError
from thinresnet.evaluation import Evaluation
from thinresnet.files import read_text, with_part, write_atomically
from thinresnet.leaderboard import authors_chart as charts
from thinresnet.leaderboard.authors import COPY, Evidence, Measured, Published
from thinresnet.leaderboard.verdicts import CLEARS, LOSES, TIES, UNJUDGED

BEGIN, END = "<!-- begin: written by `thinresnet baseline page` -->", "<!-- end: written -->"
PICTURES = "pictures"
_TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet"}


def pages(evidence: Evidence, page: Path) -> dict[Path, str]:
    """Every file that the command writes, with its text: the page, and the pictures beside it."""
    folder = page.parent / PICTURES
    return {
        page: _with_part(page, part(evidence)),
        folder / "thinresnet-published.svg": charts.svg(charts.published(evidence)),
        folder / f"thinresnet-{COPY}.svg": charts.svg(charts.measured(evidence)),
    }


def write(evidence: Evidence, page: Path) -> list[Path]:
    """Write the page's generated part and its pictures; returns the files."""
    made = pages(evidence, page)
    (page.parent / PICTURES).mkdir(exist_ok=True)
    for path, text in made.items():
        write_atomically(path, text)
    return list(made)


def outdated(evidence: Evidence, page: Path) -> list[Path]:
    """The files that are not as the board and its evaluations have it; nothing is rendered."""
    text = _text(page)
    wanted = {
        "thinresnet-published.svg": charts.fingerprint(charts.published(evidence)),
        f"thinresnet-{COPY}.svg": charts.fingerprint(charts.measured(evidence)),
    }
    found = [] if with_part(page, text, BEGIN, END, part(evidence)) == text else [page]
    for name, fingerprint in wanted.items():
        path = page.parent / PICTURES / name
        if not path.is_file() or fingerprint.encode() not in path.read_bytes():
            found.append(path)
    return found


def part(evidence: Evidence) -> str:
    """The generated part: what is printed, what was measured here, and what is not known."""
    paragraphs = [*_printed(evidence), *_measured(evidence), *_unknown(evidence)]
    return "\n\n".join(map(_wrapped, paragraphs))


def _with_part(page: Path, made: str) -> str:
    return with_part(page, _text(page), BEGIN, END, made)


def _text(page: Path) -> str:
    if not page.is_file():
        raise InputError(f"{page}: no such file; give the page of a checkout, docs/thinresnet.md, with --output")
    return read_text(page)


def _printed(evidence: Evidence) -> Iterable[str]:
    thinner = [one for one in evidence.rows if one.macs_ratio is not None and one.macs_ratio < 1]
    yield "## Printed"
    yield (
        f"Accuracies of {len(evidence.rows)} trainings stand in the docstring of main.py, and here as they are on the "
        "board (`thinresnet leaderboard show --paper tessier2023thinresnet`). Base width 16 is the usual ResNet for "
        "CIFAR, 64 the usual one for ImageNet; **thinner networks with a printed accuracy: "
        f"{len(thinner) or 'none'}.** Where the share of the run is printed at which a figure stood, it is the best of "
        "ten measurements on the test set, of one seed: the board flags it `best-epoch`."
    )
    rows = (
        (_TITLES[e.dataset], e.method, e.resolution, e.top1, "yes" if "best-epoch" in e.flags else "", e.locator)
        for e in evidence.rows
    )
    yield _table(("dataset", "network", "pixels", "top-1", "best epoch", "locator"), rows, "llrrll")
    yield (
        "How published pruning results stand against the bar by the board's usual rule (plain ResNets of any recipe, "
        "on MACs), of which these figures are a part:"
    )
    heads = ("network", "results", "lose", "tie", "clear", "not judged", "best of them", "classic dense", "ThinResNet")
    yield _table(heads, (_standing(one) for one in evidence.published), "l")
    yield "![published results by their verdicts, against MACs](pictures/thinresnet-published.svg)"
    yield _reading(evidence.published)


def _standing(one: Published) -> tuple[object, ...]:
    counts = [one.counted(outcome) for outcome in (LOSES, TIES, CLEARS, UNJUDGED)]
    classic = [e.top1 for e in one.classic if e.top1 is not None]
    between = f"{min(classic)} to {max(classic)}" if classic else ""
    own = " and ".join(str(e.top1) for e in one.printed)
    return (f"{_arch(one.arch)}, {_TITLES[one.dataset]}", len(one.verdicts), *counts, _best(one), between, own)


def _best(one: Published) -> Decimal:
    return max(v.entry.top1 for v in one.verdicts if v.entry.top1 is not None)


def _reading(published: Sequence[Published]) -> str:
    said = []
    for one in published:
        printed = min(e.top1 for e in one.printed if e.top1 is not None)
        better = sum(v.entry.top1 is not None and v.entry.top1 >= printed for v in one.verdicts)
        said.append(f"{better or 'none'} of {len(one.verdicts)} for {_arch(one.arch)}")
    return (
        f"Published pruned networks that reach the accuracy which is printed of the dense one: {', '.join(said)}. "
        "They cost less than it does, so this tells what the recipe is worth, and nothing of shapes. The claim about "
        "shapes, that thin networks are better than pruned ones at equal cost, needs accuracies of thin networks. "
        "Where the cheapest reference is dearer than a result and more accurate, the result is not judged, and waits "
        "for cheaper references."
    )


def _measured(evidence: Evidence) -> Iterable[str]:
    yield "## Measured here"
    yield (
        "The public weights, each with the preprocessing that belongs to it, on images that are not the original's "
        "encoding:"
    )
    yield (
        "```bash\n"
        "thinresnet evaluate resnet*_cifar10_ema.pt --data-dir cifar10-jpeg     # 32 files, one pass over the images\n"
        "thinresnet evaluate resnet50_width*_imagenet_ema.pt --data-dir imagenette-128 --classes data\n"
        "thinresnet import depgraph_resnet56_2.55x.pt                           # channels read off; then evaluate it\n"
        "```"
    )
    thin = {depth: evidence.thin(depth, COPY) for depth in (20, 56)}
    yield (
        f"`{COPY}` is another encoding of CIFAR-10's images: figures on it stand beside each other, never beside "
        "published ones, and without adaptation they favour networks that were trained with strong augmentation. So a "
        "thin network above a pruned one there is an observation, and no verdict on CIFAR-10. Evaluations lie in "
        "`baselines/results/` (rows of the board with `weights: theirs`) and `baselines/evaluations/`."
    )
    yield f"![accuracy on {COPY} against MACs](pictures/thinresnet-{COPY}.svg)"
    first = evidence.others()[0].evaluation
    yield f"On the {first.images:,} test images of `{COPY}`, top-1 in percent with its 95 % interval:"
    yield _table(("weights", "MMACs", "printed on CIFAR-10", COPY), map(_other, evidence.others()), "l")
    yield _table(("base width", "ResNet-20, MMACs", "top-1", "ResNet-56, MMACs", "top-1"), _widths(thin), "")
    yield _beside(evidence, thin[56])
    yield from _of_imagenet(evidence)


def _other(one: Measured) -> tuple[object, ...]:
    arch, found = _arch(one.evaluation.arch), one.evaluation
    printed = one.imported.origin.printed_top1
    return f"{arch}, {charts.kind_of(one)}", f"{found.macs / 1e6:.1f}", "" if printed is None else printed, _top1(found)


def _widths(thin: dict[int, list[Measured]]) -> Iterable[tuple[object, ...]]:
    for one, other in zip(thin[20], thin[56], strict=True):
        assert one.network is not None
        figures = [(f"{each.evaluation.macs / 1e6:.3f}", f"{each.evaluation.top1:.2f}") for each in (one, other)]
        yield (one.network.width, *figures[0], *figures[1])


def _beside(evidence: Evidence, thin: Sequence[Measured]) -> str:
    """The pruned ResNet-56 beside the thin one that costs no more, and beside the classic dense one."""
    others = [one for one in evidence.others() if one.evaluation.arch == "resnet56_cifar"]
    pruned = next(one for one in others if not one.dense)
    classic = next(one for one in others if charts.kind_of(one) == charts.CLASSIC)
    fit = max(
        (one for one in thin if one.evaluation.macs <= pruned.evaluation.macs), key=lambda one: one.evaluation.macs
    )
    assert fit.network is not None
    gaps = [one.evaluation.top1 - pruned.evaluation.top1 for one in (fit, classic)]
    return (
        f"At no more MACs than DepGraph's pruned ResNet-56 ({pruned.evaluation.macs / 1e6:.1f} M), the thin ResNet-56 "
        f"of base width {fit.network.width} ({fit.evaluation.macs / 1e6:.1f} M) is {gaps[0]:.2f} points better on "
        f"these images as they come, and the classic dense ResNet-56 {gaps[1]:.2f}: most of that distance is the "
        "recipe, not the shape."
    )


def _of_imagenet(evidence: Evidence) -> Iterable[str]:
    found = evidence.thin(50, "imagenette-128")
    first = found[0].evaluation
    yield (
        f"ResNet-50 on the {first.images:,} validation images of imagenette at 128 px, predictions restricted to its "
        f"{len(first.classes)} of {first.outputs:,} classes:"
    )
    rows = ((one.evaluation.shape, f"{one.evaluation.macs / 1e6:.1f}", _top1(one.evaluation)) for one in found)
    yield _table(("network", "MMACs at 224 px", "top-1"), rows, "l")


def _unknown(evidence: Evidence) -> Iterable[str]:
    large = next(one for one in evidence.published if one.dataset == "imagenet")
    yield "## Not known"
    yield (
        "- The tables of the paper itself, which could not be read.\n"
        f"- What the {len(large.unmeasured)} thin ResNet-50 reach on ImageNet. Their weights are public: `thinresnet "
        "leaderboard holes --arch resnet50` names the files that would judge rows which nothing judges now, and the "
        "commands; it takes minutes, and ImageNet's validation set.\n"
        "- What the thin networks reach on the original CIFAR-10 and CIFAR-100: the same commands, with those images.\n"
        "- The spread over seeds: one set of weights a width is public."
    )
    costs = [(one, one.cost(classes=public_weights.CLASSES["imagenet"], side_px=224)) for one in large.unmeasured]
    yield "The thin ResNet-50 with public weights and no printed accuracy on ImageNet, at 224 px:"
    yield _table(
        ("network", "GMACs", "M parameters"),
        ((one.name, f"{macs / 1e9:.4f}", f"{params / 1e6:.3f}") for one, (macs, params) in costs),
        "l",
    )


def _wrapped(paragraph: str) -> str:
    """A paragraph or list in lines of the repository's length; tables, commands and pictures stay as they are."""
    if paragraph.startswith(("|", "```", "![")):
        return paragraph
    return "\n".join(_filled(line) for line in paragraph.splitlines())


def _filled(line: str) -> str:
    indent = "  " if line.startswith("- ") else ""
    return textwrap.fill(line, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _top1(found: Evaluation) -> str:
    low, high = found.top1_interval
    return f"{found.top1:.2f} ({low:.2f} to {high:.2f})"


def _arch(arch: str) -> str:
    return f"ResNet-{arch.removeprefix('resnet').removesuffix('_cifar')}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]], left: str) -> str:
    """A Markdown table; the columns named in `left` (`l` a column from the left) hold words, the others figures."""
    rules = ["-" if left[index : index + 1] == "l" else "-:" for index in range(len(heads))]
    lines = [heads, *rows]
    texts = [f"| {' | '.join(str(cell) for cell in line)} |" for line in lines]
    return "\n".join([texts[0], f"|{'|'.join(rules)}|", *texts[1:]])
