"""Names in a figure: cut with a mark, and never on one another, on a mark or across the bar."""

from __future__ import annotations

import pytest

from thinresnet.leaderboard.labels import LINE, place_labels, short_name, width_of

SIZE = (560.0, 360.0)


@pytest.mark.parametrize(
    ("method", "shown"),
    [
        ("HRank, third model", "HRank"),
        ("OTOv2 (DHSPG, 40% group sparsity)", "OTOv2"),
        ("resnet20_cifar thinresnet20-w8, weights of ThinResNet authors", "thinresnet20-w8"),
        ("PFEC pruned-B scratch-train", "PFEC pruned-B scratch-tra…"),
        ("PruningBench BNScale + GroupNorm", "PruningBench BNScale + Gr…"),
        ("a name that is twenty-six!", "a name that is twenty-six!"),
    ],
)
def test_names_say_which_network_and_where_they_were_cut(method: str, shown: str) -> None:
    assert short_name(method, "resnet20_cifar") == shown


def box_of(mark: tuple[float, float, str], place: tuple[int, int, str]) -> tuple[float, float, float, float]:
    (x, y, label), (dx, dy, align) = mark, place
    left = x + dx - {"left": 0.0, "center": 0.5, "right": 1.0}[align] * width_of(label)
    return left, y + dy - LINE / 2, left + width_of(label), y + dy + LINE / 2


def test_labels_lie_on_nothing_and_within_the_figure() -> None:
    marks = [(float(20 + 37 * i % 520), float(20 + 91 * i % 320), f"NORTON {i}") for i in range(60)]
    places = place_labels(marks, SIZE, [])
    boxes = [box_of(mark, place) for mark, place in zip(marks, places, strict=True) if place]
    assert 10 < len(boxes) < 60
    for number, one in enumerate(boxes):
        assert one[0] >= 0 <= one[1]
        assert one[2] <= SIZE[0]
        assert one[3] <= SIZE[1]
        for other in boxes[:number]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_a_label_keeps_off_the_line() -> None:
    mark = (300.0, 200.0, "HRank")
    assert place_labels([mark], SIZE, []) == [(-7, -6, "right")]
    level = [[(0.0, 194.0), (280.0, 194.0)]]  # through the first place, above to the left
    assert place_labels([mark], SIZE, level) == [(8, 8, "left")]
    upright = [[(310.0, 0.0), (310.0, 360.0)], [(285.0, 0.0), (285.0, 360.0)]]
    assert place_labels([mark], SIZE, upright) == [None]


def test_capitals_are_wider_than_small_letters() -> None:
    assert width_of("NORTON") > width_of("norton") > width_of("tillit")
