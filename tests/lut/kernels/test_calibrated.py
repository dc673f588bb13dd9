"""Networks are predicted from their kernels, known or not, with intervals that hold; on a machine that is made up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from backends.kernels.kernel import Kernel
from compofa.errors import InputError
from lut.kernels.calibrated import NetworkModel
from lut.kernels.compare import compare
from lut.kernels.describe import group, rows
from lut.kernels.learned import LearnedKernels
from lut.kernels.table import KernelTable

Unseen = list[tuple[dict[Kernel, int], float]]


@pytest.fixture(scope="module")
def model(made_table: Callable[..., KernelTable]) -> NetworkModel:
    return NetworkModel(made_table())


def test_models_whose_files_have_one_name_are_told_apart(made_table: Callable[..., KernelTable]) -> None:
    table = made_table()
    many = len(NetworkModel(table).networks)
    table.networks[:] = [replace(network, name="model") for network in table.networks]
    assert len(NetworkModel(table).networks) == many
    table.networks.append(table.networks[-1])  # measured again
    assert len(NetworkModel(table).networks) == many


def test_unseen_networks_are_predicted(model: NetworkModel, unseen: Unseen) -> None:
    found = [model.predict(counts) for counts, _ in unseen]
    measured = np.array([ms for _, ms in unseen])
    error = np.array([p.latency_ms for p in found]) / measured - 1
    assert np.abs(error).mean() < 0.05
    held = [
        p.low_ms <= ms <= p.high_ms for p, ms in zip(found, measured, strict=True) if p.low_ms and p.high_ms
    ]
    assert len(held) == len(unseen) and 0.8 <= np.mean(held) <= 1.0
    assert max(p.known_share for p in found) < 0.6


def test_what_is_known_is_taken_from_the_table(model: NetworkModel) -> None:
    table = model.table
    entry = table.networks[0]
    counts = {table.by_key[key]: n for key, n in entry.kernels.items()}
    found = model.predict(counts)
    assert found.known_share == 1 and {g.origin for g in found.kernels} == {"measured"}
    assert found.latency_ms == pytest.approx(entry.measurement.latency_ms, rel=0.04)
    assert found.latency_ms > found.sum_ms  # dispatch is not in the sum
    assert found.low_ms and found.high_ms and found.high_ms / found.low_ms < 1.15


def test_less_known_is_less_sure(model: NetworkModel, unseen: Unseen) -> None:
    table = model.table
    entry, (new, _) = table.networks[0], unseen[0]
    known = model.predict({table.by_key[key]: n for key, n in entry.kernels.items()})
    found = model.predict(new)
    assert found.known_share < known.known_share
    assert found.low_ms and found.high_ms and known.low_ms and known.high_ms
    assert found.high_ms / found.low_ms > 1.3 * known.high_ms / known.low_ms - 0.3


def test_few_networks_give_a_plain_sum(made_table: Callable[..., KernelTable], unseen: Unseen) -> None:
    found = NetworkModel(made_table(networks=4)).predict(unseen[0][0])
    assert found.low_ms is None and found.latency_ms == found.sum_ms


def test_too_much_coverage_and_too_few_kernels_are_refused(
    model: NetworkModel, made_table: Callable[..., KernelTable], unseen: Unseen
) -> None:
    with pytest.raises(InputError, match="no coverage above"):
        model.predict(unseen[0][0], coverage=0.99)
    with pytest.raises(InputError, match="20 measured kernels or more"):
        NetworkModel(made_table(networks=1, known=0.1)).predict(unseen[0][0])


def test_a_group_of_few_kernels_is_still_predicted(made_table: Callable[..., KernelTable]) -> None:
    entries = {k: m.latency_ms for k, m in made_table(networks=6).entries.items()}
    fields = next(iter(entries)).to_dict() | {
        "op": "Softmax",
        "inputs": ["float32 64x1000"],
        "outputs": ["float32 64x1000"],
    }
    (ms,) = LearnedKernels(entries).predict_ms([Kernel.from_dict(fields)])
    assert 0.005 < ms < 1


def test_groups_tell_apart_what_runs_other_code() -> None:
    def conv(weights: str, **settings: object) -> str:
        inputs = ["float32 1x64x8x8", f"float32 {weights} constant"]
        fields = {
            "op": "Conv",
            "since": 1,
            "inputs": inputs,
            "outputs": ["float32 1x64x8x8"],
            "attributes": settings,
        }
        return group(Kernel.from_dict(fields))

    assert conv("64x64x1x1") == "Conv pointwise" and conv("64x64x3x3") == "Conv dense"
    assert conv("64x1x3x3", group=64) == "Conv depthwise" and conv("64x8x3x3", group=8) == "Conv grouped"


def test_transpositions_and_resizings_are_told_apart() -> None:
    def named(op: str, **settings: object) -> str:
        fields = {"op": op, "since": 1, "inputs": ["float32 1x4x6x8"], "outputs": ["float32 1x4x6x8"]}
        return group(Kernel.from_dict(fields | {"attributes": settings}))

    assert named("Transpose", perm=[0, 2, 1, 3]) == "Transpose rows"
    assert (
        named("Transpose", perm=[0, 3, 1, 2]) == named("Transpose", perm=[0, 2, 3, 1]) == "Transpose one axis"
    )
    assert named("Transpose", perm=[0, 3, 2, 1]) == named("Transpose") == "Transpose elements"
    assert named("Resize", mode="cubic") == "Resize cubic" and named("Resize") == "Resize nearest"


def test_features_are_finite_for_kernels_of_no_size(made_table: Callable[..., KernelTable]) -> None:
    fields = {
        "op": "Concat",
        "since": 1,
        "inputs": ["float32 0x4", "float32 scalar"],
        "outputs": ["float32 scalar"],
    }
    found = rows([Kernel.from_dict(fields)])
    assert np.isfinite(found.general).all() and (found.prior > 0).all()


def test_tables_are_compared_kernel_by_kernel(made_table: Callable[..., KernelTable]) -> None:
    table = made_table(networks=3)
    here = dict(list(table.entries.items())[:20])
    first = next(iter(here))
    counts = dict.fromkeys(here, 2)
    found = compare(here, counts, table)
    assert found["common"] == found["distinct"] == 20 and found["here_ms"] == pytest.approx(found["there_ms"])
    del table.entries[first]
    assert compare(here, counts, table)["common"] == 19
