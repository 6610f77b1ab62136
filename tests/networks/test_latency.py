"""Latency tables: predictions in closed form, budgets never exceeded, the same every time, files that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.networks.made_up_latency import FIXED_MS, MACHINE, layers_ms, made_up_table, made_up_timings
from thinresnet.budget import Budget, Costs
from thinresnet.errors import InputError
from thinresnet.networks import Network, fit, latency_measuring, scale
from thinresnet.networks.cost import macs_and_params
from thinresnet.networks.latency import LatencyTable, LayerTimes, read_table, write_table
from thinresnet.networks.search import Limits

ARCH: dict[str, Any] = {"arch": "resnet20_cifar", "input_size": (3, 8, 8), "depths": [1, 1, 1]}


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> LatencyTable:
    return made_up_table(scale(**ARCH), monkeypatch, batch_size=4)


def ms_by_hand(network: Network) -> float:
    return FIXED_MS + 2 * layers_ms(network)


@pytest.mark.parametrize("factors", [{}, {"width": 0.5}, {"width": 0.37}, {"interior": 0.6}])
def test_a_prediction_is_the_sum_over_layers_and_the_rest(table: LatencyTable, factors: dict[str, float]) -> None:
    network = scale(**ARCH, **factors)
    assert table.predict_ns(network.channels) == pytest.approx(1e6 * ms_by_hand(network), abs=1)
    assert table.dense_ns == pytest.approx(1e6 * ms_by_hand(scale(**ARCH)), abs=1)


@given(
    rows=st.lists(st.lists(st.floats(0, 100), min_size=3, max_size=3), min_size=3, max_size=3),
    cells=st.tuples(*(st.integers(1, 40) for _ in range(4))),
)
def test_more_channels_never_take_less_time_whatever_was_measured(
    rows: list[list[float]], cells: tuple[int, int, int, int]
) -> None:
    times = LayerTimes("conv", {}, (4, 8, 16), (2, 10, 32), tuple(map(tuple, rows)))
    inputs, outputs, more_inputs, more_outputs = cells
    assert times.at(inputs, outputs) <= times.at(inputs + more_inputs, outputs + more_outputs) + 1e-9


def test_times_that_are_in_order_stay_as_measured_and_are_proportional_beyond() -> None:
    times = LayerTimes("conv", {}, (4, 8), (2, 10), ((1.0, 3.0), (2.0, 6.0)))
    assert times.monotone == times.ms
    assert [times.at(4, 2), times.at(8, 10), times.at(6, 6), times.at(1, 1)] == [1.0, 6.0, 3.0, 1.0]
    assert times.at(16, 10) == 12.0


@pytest.mark.parametrize("scaling", ["width", "interior"])
@pytest.mark.parametrize("share", [90, 75, 62.5])
def test_fit_keeps_the_latency_and_spends_it(table: LatencyTable, scaling: str, share: float) -> None:
    network = fit(**ARCH, latency=f"{share}%", latency_table=table, scaling=scaling)
    limit = share / 100 * table.dense_ns
    spent = table.predict_ns(network.channels)
    assert 0.97 * limit < spent <= limit
    assert network == fit(**ARCH, latency=f"{share}%", latency_table=table, scaling=scaling)
    absolute = f"{int(limit)}ns"
    assert network == fit(**ARCH, latency=absolute, latency_table=table, scaling=scaling)


def test_both_budgets_are_kept(table: LatencyTable) -> None:
    dense = macs_and_params(scale(**ARCH))
    network = fit(**ARCH, latency="80%", params="20%", latency_table=table)
    assert macs_and_params(network).params <= 0.2 * dense.params
    assert network == fit(**ARCH, params="20%")
    assert fit(**ARCH, latency="60%", params="99%", latency_table=table) == fit(
        **ARCH, latency="60%", latency_table=table
    )


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        ({"latency": "1ms"}, "--latency 1ms: no width scaling of resnet20_cifar costs so little; the smallest takes"),
        ({"latency": "50%", "scaling": "depth"}, "--latency: tables hold the layers of one depth"),
        ({"macs": "50%"}, "--latency-table: is for --latency"),
        ({"latency": "12G"}, "a time such as 12ms"),
    ],
)
def test_refusals(table: LatencyTable, budget: dict[str, str], says: str) -> None:
    with pytest.raises(InputError, match=says) as refusal:
        fit(**ARCH, **budget, latency_table=table)
    assert "\n" not in str(refusal.value)


def test_a_table_serves_its_own_architecture_alone(table: LatencyTable) -> None:
    other = {**ARCH, "depths": [2, 1, 1]}
    with pytest.raises(
        InputError, match=r"--latency-table: it is of resnet20_cifar depths=\[1, 1, 1\] at 3x8x8, not of"
    ):
        fit(**other, latency="50%", latency_table=table)
    assert fit(**ARCH, num_classes=5, latency="80%", latency_table=table).kwargs["num_classes"] == 5


def test_a_latency_budget_is_never_asked_of_costs_without_one(table: LatencyTable) -> None:
    budgets = [Budget.parse("latency", "50%")]
    with pytest.raises(InputError, match="takes a latency table"):
        Limits("toy", budgets, Costs(1, 1))
    with pytest.raises(TypeError):
        Limits("toy", budgets, Costs(1, 1), table=table).allow(Costs(1, 1))


def test_files_come_back_and_what_is_no_table_is_refused(table: LatencyTable, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    write_table(path, table)
    again = read_table(path)
    assert (again, again.sha256, again.dense_ns) == (table, table.sha256, table.dense_ns)
    assert fit(**ARCH, latency="70%", latency_table=path) == fit(**ARCH, latency="70%", latency_table=table)
    good = json.loads(path.read_text(encoding="utf-8"))
    for change, says in (
        ({"format": 9}, "not of format 1"),
        ({"layers": {"conv1": 99}}, "layers: conv1: 99, but there are times of"),
        ({"times": [{**good["times"][0], "ms": [[1.0]]}]}, "ms: takes"),
        ({"times": [{**good["times"][0], "ms": [[-1.0] * 5]}]}, "at least 0"),
        ({"networks": []}, "networks"),
    ):
        path.write_text(json.dumps({**good, **change}), encoding="utf-8")
        with pytest.raises(InputError, match=says):
            read_table(path)
    with pytest.raises(InputError, match="no such file; thinresnet time ARCH --table FILE"):
        fit(**ARCH, latency="70%", latency_table=tmp_path / "missing.json")


def test_the_table_of_this_machine_is_measured_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THINRESNET_CACHE", str(tmp_path))
    table = made_up_table(scale(**ARCH), monkeypatch)
    measured: list[Network] = []

    def measure_one(network: Network, **how: Any) -> LatencyTable:
        measured.append(network)
        return table

    monkeypatch.setattr(latency_measuring, "measured_table", measure_one)
    first = fit(**ARCH, latency="70%")
    assert first == fit(**ARCH, latency="70%") == fit(**ARCH, latency="70%", latency_table=table)
    assert len(measured) == 1


def test_what_was_found_is_measured_where_the_table_was(table: LatencyTable, monkeypatch: pytest.MonkeyPatch) -> None:
    network = scale(**ARCH, width=0.5)
    record = latency_measuring.latency_record(table, network)
    assert (record["device"], record["batch_size"], record["table_sha256"]) == (MACHINE, 4, table.sha256)
    assert (record["measured_ms"], record["measured_dense_ms"]) == (None, None)
    assert record["predicted_ms"] == pytest.approx(ms_by_hand(network), abs=1e-5)
    monkeypatch.setattr(latency_measuring, "machine_of", lambda device: MACHINE)
    record = latency_measuring.latency_record(table, network)
    assert record["measured_ms"] > 0 < record["measured_dense_ms"]


def test_a_real_table_has_all_layers_and_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Depthwise and linear layers are built at every number of channels; how long they take is not looked at."""
    network = scale("mobilenetv2_cifar", input_size=(3, 8, 8), num_classes=4)
    monkeypatch.setattr(latency_measuring, "SHARES", (0.5,))
    monkeypatch.setattr(latency_measuring, "_WARM_UP_RUNS", 0)
    monkeypatch.setattr(latency_measuring, "measure", made_up_timings)
    table = latency_measuring.measured_table(network, runs=3)
    assert {times.kind for times in table.times} == {"conv", "depthwise", "linear", "norm"}
    assert table.dense_ns > 0
