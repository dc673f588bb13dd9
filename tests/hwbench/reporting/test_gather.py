"""What goes into one picture, and what does not."""

import numpy as np
import pytest
from commands import build_lut
from made_tables import make_table

from compofa.errors import InputError
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from hwbench import shipped
from hwbench.reporting.gather import gather, group_tables
from hwbench.reporting.page import apart
from lut.calibration import Calibration, calibration_path, load_model
from lut.table import Table


@pytest.fixture
def modelled(tmp_path):
    def build(name, *more):
        path = tmp_path / name
        assert build_lut.main(["--backend", "fpga", "--out", str(path), *more]) == 0
        return path

    return build


def test_another_precision_and_another_family_stand_apart(modelled):
    luts = [
        shipped.reference_table("glyphs"),
        modelled("a.jsonl"),
        modelled("b.jsonl", "--family", "imagenet-w1.0"),
    ]
    groups = gather(luts, spaces=["compofa"])
    assert [group.name for group in groups] == [
        "glyphs, fp32, batch 1",
        "glyphs, int8, batch 1",
        "imagenet-w1.0, int8, batch 1",
    ]
    assert not groups[0].notes
    assert "accuracies are of fp32 subnets; the latencies are of int8 ones" in groups[1].notes
    assert not groups[2].spaces and "no accuracies are shipped" in groups[2].notes[0]
    views = [
        {"name": g.name, "family": g.family.name, "precision": g.precision, "batch": g.batch} for g in groups
    ]
    number_format, family = apart(views)
    assert "number format" in number_format and "another family" in family


def test_an_empty_table_is_left_out_and_said_so(tmp_path):
    full = shipped.reference_table("glyphs")
    empty = tmp_path / "empty.jsonl"
    empty.write_bytes(full.read_bytes().split(b"\n")[0] + b"\n")
    (group,) = group_tables([empty, full])
    assert [device.path for device in group.devices] == [full]
    assert group.notes == [f"{empty} has no entry and is left out: finish it with hwbench build_lut"]
    with pytest.raises(InputError, match="has no entry"):
        group_tables([empty])


def test_devices_of_one_name_are_told_apart(tmp_path):
    for name in ("a", "b", "c"):
        make_table(tmp_path / f"{name}.jsonl", "Same" if name < "c" else "Other", lambda block: 1.0)
    (group,) = group_tables([tmp_path / f"{name}.jsonl" for name in ("a", "b", "c")])
    assert [device.name for device in group.devices] == ["Same (a.jsonl)", "Same (b.jsonl)", "Other"]
    with pytest.raises(InputError, match="twice"):
        group_tables([tmp_path / "a.jsonl", tmp_path / "a.jsonl"])


def test_accuracies_of_a_family_without_a_table_are_refused(modelled):
    with pytest.raises(InputError, match="glyphs, of which no table is given"):
        gather([modelled("b.jsonl", "--family", "imagenet-w1.0")], [shipped.accuracies("glyphs", "ofa")])


def test_a_calibration_that_is_no_sum_is_not_added_up(tmp_path):
    """A device that launches while it works: the page would add up what is no sum."""
    path, space, rng = tmp_path / "t.jsonl", get_space("ofa", GLYPHS), np.random.default_rng(0)
    make_table(path, "A GPU", lambda block: 0.01 + block.macs / 1e7)
    table = Table.load(path)
    archs = tuple(dict.fromkeys(space.sample(rng) for _ in range(40)))
    sums = np.array([table.latency_ms(space.blocks(arch)) for arch in archs])
    measured = np.maximum(np.median(sums), sums)
    Calibration(table, archs, tuple(measured.tolist())).save(calibration_path(path))
    assert load_model(path).as_lookup() is None
    (group,) = group_tables([path])
    (device,) = group.devices
    assert not device.model.calibrated and "are no sums over blocks" in (device.model.caution or "")
    assert device.calibration is not None  # how far it is to be trusted is shown all the same
