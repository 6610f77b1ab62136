"""Labels of charts: axes that go there and back, labels on no mark and on no other label."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinresnet.studies.labels import Axis, labels_placed


@given(
    values=st.lists(st.floats(1e3, 1e15), min_size=1, max_size=5), logarithmic=st.booleans(), downwards=st.booleans()
)
def test_axes_hold_all_values_with_the_margin_and_go_there_and_back(
    values: list[float], logarithmic: bool, downwards: bool
) -> None:
    axis = Axis.around(values, 400, margin=(20, 20), logarithmic=logarithmic, downwards=downwards)
    for value in values:
        assert 19 < axis.place(value) < 381
        assert axis.value(axis.place(value)) == pytest.approx(value, rel=1e-3)


def test_labels_of_points_in_one_place_do_not_hide_one_another() -> None:
    # Fifteen networks of one budget: one cost, accuracies close together.
    points = [(100.0, 70 + 0.2 * number) for number in range(15)] + [(200.0, 72.0)]
    texts = [f"method {number}, fine-tuned" for number in range(15)] + ["dense"]
    x = Axis.around([cost for cost, _ in points], 620, margin=(24, 24))
    y = Axis.around([top1 for _, top1 in points], 420, margin=(24, 24), downwards=True)
    placed = labels_placed(points, texts, x, y)
    boxes = [box for box in placed if box is not None]
    assert len(boxes) == len(texts)
    assert not any(one.meets(other) for one, other in itertools.combinations(boxes, 2))
    for box in boxes:
        assert (box.left >= 0, box.top >= 0, box.right <= 620, box.bottom <= 420) == (True,) * 4
        for cost, top1 in points:
            inside = box.left < x.place(cost) < box.right and box.top < y.place(top1) < box.bottom
            assert not inside


def test_a_label_without_a_place_is_left_out_and_the_first_have_the_first_choice() -> None:
    points = [(100.0, 70.0)] * 60
    x = Axis.around([90.0, 110.0], 400, margin=(24, 24))
    y = Axis.around([69.0, 71.0], 120, margin=(24, 24), downwards=True)
    placed = labels_placed(points, ["a label of some length"] * 59 + [""], x, y)
    boxes = [box for box in placed if box is not None]
    assert 0 < len(boxes) < 59
    assert placed[0] is not None
    assert placed[-1] is None
    assert not any(one.meets(other) for one, other in itertools.combinations(boxes, 2))
