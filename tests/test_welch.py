"""Student's t against a printed table, and Welch's interval against an example worked out by hand."""

from __future__ import annotations

import math

import pytest
from scipy.stats import t as student

from thinresnet.welch import Sample, half_interval, t_cdf, t_quantile


@pytest.mark.parametrize(
    ("freedom", "printed"),
    # The two-sided 95 % column of the usual table.
    [
        (1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (6, 2.447), (7, 2.365), (8, 2.306), (9, 2.262),
        (10, 2.228), (15, 2.131), (20, 2.086), (30, 2.042), (60, 2.000), (120, 1.980), (1e9, 1.960),
    ],
)  # fmt: skip
def test_the_printed_table(freedom: float, printed: float) -> None:
    assert t_quantile(0.975, freedom) == pytest.approx(printed, abs=5e-4)


@pytest.mark.parametrize("freedom", [0.5, 1.3, 2.02, 3.7, 12.5, 400])
@pytest.mark.parametrize("probability", [0.5, 0.6, 0.9, 0.975, 0.9999, 0.025])
def test_broken_degrees_of_freedom(freedom: float, probability: float) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(student.ppf(probability, freedom), rel=1e-9, abs=1e-9)


def test_closed_forms() -> None:
    # With one degree of freedom t is Cauchy's; with two, its distribution has no special function either.
    assert t_quantile(0.975, 1) == pytest.approx(math.tan(math.pi * 0.475))
    assert t_cdf(1.5, 2) == pytest.approx(0.5 + 1.5 / (2 * math.sqrt(2 + 1.5**2)))


def test_an_interval_by_hand() -> None:
    # Variances of the means 0.09/3 = 0.03 and 0.16/4 = 0.04; se = sqrt(0.07) = 0.264575;
    # freedom = 0.07^2 / (0.03^2/2 + 0.04^2/3) = 0.0049 / 0.000983333 = 4.98305; t = 2.5730.
    half = half_interval(Sample(3, 0.3), Sample(4, 0.4))
    assert half == pytest.approx(student.ppf(0.975, 4.983050847) * math.sqrt(0.07), rel=1e-9)
    assert half == pytest.approx(0.681, abs=1e-3)
    # Equal samples: twice n - 1 degrees of freedom.
    assert half_interval(Sample(3, 1.0), Sample(3, 1.0)) == pytest.approx(2.776445 * math.sqrt(2 / 3), rel=1e-6)
    assert half_interval(Sample(3, 0.0), Sample(3, 0.0)) == 0
