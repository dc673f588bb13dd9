"""The zoo's networks are those that were measured, by their operations."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from backends.fpga.layers import total_macs
from backends.fpga.zoo import NETWORKS, measurements


def published_gops(name: str) -> float:
    """Operations in billions, two for each multiply-accumulate, that a zoo name ends with."""
    size = name.rsplit("_", 1)[1]
    return float(size[:-1]) / (1000 if size.endswith("M") else 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_the_operations_of_its_name(name: str) -> None:
    """Within 2.5 %: the names are rounded, and the zoo's 0.5 MobileNet has two digits."""
    assert 2 * total_macs(NETWORKS[name]()) / 1e9 == pytest.approx(published_gops(name), rel=0.025)


@pytest.mark.parametrize("name", [n for n in NETWORKS if "mobilenet" in n or "vgg" in n])
def test_a_plain_network_is_a_chain(name: str) -> None:
    for before, after in pairwise(NETWORKS[name]()):
        assert before.out_shape == after.in_shape


def test_both_boards_have_measurements_of_known_networks(zoo_csv: Path) -> None:
    for board, least in (("kv260", 17), ("zcu102", 18)):
        rows = measurements(board, zoo_csv)
        assert len(rows) >= least
        assert all(row.network in NETWORKS and row.latency_ms > 0 for row in rows)


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no measurements of board 'vck190'; there are kv260, zcu102"):
        measurements("vck190")
    with pytest.raises(ValueError, match="give the zoo's CSV"):
        measurements("zcu102")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no CSV of the zoo's throughput"):
        measurements("zcu102", tmp_path / "x.csv")
