"""Several devices in one picture: each as it is alone, named by what tells it apart."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import pareto
from made_tables import NASTY, make_table
from matplotlib.figure import Figure
from pictures import assert_as_before, assert_readable

import hwbench
from hwbench import plots, shipped
from hwbench.direct_labels import stairs
from hwbench.frontiers.device_picture import Line, draw_devices
from hwbench.frontiers.devices import open_devices, told_apart
from hwbench.inputs.costs import Source
from hwbench.palette import MARKERS, SERIES
from lut.costs import macs
from lut.model import LatencyModel
from lut.table import Table


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of three devices, the last ten times as slow as the first and named to do harm."""
    folder = tmp_path_factory.mktemp("devices")
    for name, device, factor in (("a", "one", 1.0), ("b", "other", 1.7), ("c", NASTY, 10.0)):
        make_table(folder / f"{name}.jsonl", device, lambda block, factor=factor: factor)
    return sorted(folder.glob("*.jsonl"))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures that are saved."""
    figures: list[Figure] = []
    save = plots.save
    monkeypatch.setattr(plots, "save", lambda figure, path: (figures.append(figure), save(figure, path)))
    return figures


def test_each_device_has_what_it_has_alone(tables: list[Path], tmp_path: Path, drawn, capsys) -> None:
    def run(*given: str) -> dict:
        assert pareto.main(["--space", "compofa", *given, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    luts = ["--lut", str(tables[0]), "--lut", f"mine={tables[1]}", "--lut", str(tables[2])]
    rows, picture = tmp_path / "p.csv", tmp_path / "p.svg"
    together = run(*luts, "--csv", str(rows), "--out", str(picture))
    names = ["one", "mine", NASTY]
    assert [device["name"] for device in together["devices"]] == names
    assert together["devices"][1] == {"name": "mine", **run("--lut", str(tables[1]))}
    read = list(csv.DictReader(rows.open()))
    assert Counter(row["device"] for row in read) == dict.fromkeys(names, 1215)
    for device in together["devices"]:
        best = [row["arch"] for row in read if row["device"] == device["name"] and row["on_frontier"] == "1"]
        assert sorted(best) == sorted(point["arch"] for point in device["spaces"][0]["frontier"])
    (figure,) = drawn
    assert "glyphs-v1-test" in figure.get_suptitle() and "mine: other (onnxruntime" in figure.get_suptitle()
    text = picture.read_text()
    assert "&lt;img src=x" in text and "<img" not in text


def test_the_summary_names_each_device(tables: list[Path], capsys) -> None:
    given = [part for path in tables[:2] for part in ("--lut", str(path))]
    assert pareto.main(["--space", "compofa", *given]) == 0
    out = capsys.readouterr().out
    assert out.count("device   ") == 2 and out.index("device   one") < out.index("device   other")


def test_in_python_names_and_lists(tables: list[Path]) -> None:
    found = hwbench.pareto({"x": tables[0], "y": tables[1]}, spaces=["compofa"])
    assert list(found.devices) == ["x", "y"] == list(found.hypervolumes)
    assert list(open_devices(tables[:2], None)) == ["one", "other"]
    slow, quick = (found.frontiers[name]["compofa"][0].latency_ms for name in "yx")
    assert slow == pytest.approx(1.7 * quick, rel=1e-3)
    frame = found.to_frame()
    assert set(frame.device) == {"x", "y"} and len(frame) == 2 * 1215
    assert "y: subnets of glyphs by latency" in repr(found)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["{a}", "{a}"], "is given twice: give each table once"),
        (["x={a}", "x={b}"], "two devices are called 'x'"),
        (["{a}", "no.jsonl"], "no.jsonl: No such file"),
    ],
)
def test_what_does_not_belong_together_is_one_line(
    given: list[str], says: str, tables: list[Path], capsys
) -> None:
    names = {"a": tables[0], "b": tables[1]}
    arguments = [part for one in given for part in ("--lut", one.format(**names))]
    assert pareto.main(["--space", "compofa", *arguments]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert says in error


def test_families_do_not_mix() -> None:
    glyphs, imagenet = (macs(hwbench.get_family(name)) for name in ("glyphs", "imagenet-w1.0"))
    with pytest.raises(
        hwbench.InputError, match=r"of family imagenet-w1\.0, not of glyphs: give tables of one"
    ):
        hwbench.pareto([glyphs, imagenet])
    with pytest.raises(hwbench.InputError, match=r"not of glyphs: say --family imagenet-w1\.0"):
        hwbench.pareto([imagenet, imagenet], family="glyphs")


def test_more_devices_than_markers_are_refused_before_any_work(capsys) -> None:
    luts = [part for i in range(len(MARKERS) + 1) for part in ("--lut", f"{i}.jsonl")]
    assert pareto.main([*luts, "--out", "p.png"]) == 2
    assert "at most 8 devices apart, not 9" in capsys.readouterr().err


def test_names_say_what_differs() -> None:
    table = Table.load(shipped.reference_table("glyphs"))

    def source(name: str, **changes) -> Source:
        header = replace(table.header, target=replace(table.target, **changes))
        return Source(LatencyModel(replace(table, header=header)), Path(name))

    assert told_apart([source("a"), source("b", device="x")]) == ["AMD EPYC", "x"]
    both = [source("a"), source("b", precision="int8", batch=4)]
    assert told_apart(both) == ["AMD EPYC, fp32, batch 1", "AMD EPYC, int8, batch 4"]
    assert told_apart([source("f/a"), source("f/b")]) == ["AMD EPYC (a)", "AMD EPYC (b)"]


LONG = "phone with a long name, int8, batch 16"


def made_up(space: int, device: int, factor: float) -> Line:
    ms = np.linspace(1, 6, 30)
    accuracy = 0.8 - 0.25 / ms**2 - 0.01 * space
    frontier = np.column_stack([factor * ms, accuracy])
    return Line(space, device, frontier, np.column_stack([factor * ms, accuracy + 0.02]) if space else None)


def draw(path: Path, lines: list[Line], devices: list[str], networks: tuple = ()) -> None:
    draw_devices(
        path,
        lines=lines,
        spaces=["compofa", "ofa"],
        devices=devices,
        title="made up: no network",
        targets=[f"{name}: no device" for name in devices],
        cost="latency (ms)",
        accuracy="test accuracy (%, made up)",
        networks=networks,
    )


def test_names_stand_at_the_lines_and_cover_nothing(tmp_path: Path, drawn: list[Figure]) -> None:
    lines = [made_up(space, device, factor) for device, factor in enumerate((1, 4)) for space in (0, 1)]
    draw(tmp_path / "d.png", lines, ["laptop", LONG], ([plots.NamedPoint("a network", 3.0, 0.6)], []))
    (figure,) = drawn
    assert_readable(figure)
    (ax,) = figure.axes
    names = {text.get_text().replace("\n", " "): text for text in ax.texts}
    assert set(names) == {"laptop", LONG, "compofa", "ofa", "a network"}
    assert [names["compofa"].get_color(), names["ofa"].get_color()] == list(SERIES[:2])
    for text in names.values():
        box = text.get_window_extent()
        for line in ax.get_lines():
            points = ax.transData.transform(np.column_stack(line.get_data()))
            covered = (points > (box.x0, box.y0)) & (points < (box.x1, box.y1))
            assert not covered.all(axis=1).any(), text.get_text()
    assert ax.get_xscale() == "log" and "logarithmic" in ax.get_xlabel()
    kinds = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(kinds) == 3 and not set(kinds) & set(names)
    assert_as_before(tmp_path / "d.png", "devices")


def test_what_finds_no_room_stands_in_the_legend(tmp_path: Path, drawn: list[Figure]) -> None:
    everywhere = np.random.default_rng(0).uniform((1, 0.5), (2, 0.9), (240, 2))
    crowded = everywhere[np.argsort(everywhere[:, 0])]
    devices = [f"device {i}" for i in range(8)]
    draw(tmp_path / "d.png", [Line(i % 2, i, crowded) for i in range(8)], devices)
    (figure,) = drawn
    (legend,) = figure.legends
    (*told, kind) = [text.get_text() for text in legend.get_texts()]
    named = [text.get_text() for text in figure.axes[0].texts]
    assert told and kind == "frontier, accuracy measured"
    assert sorted(told + named) == sorted([*devices, "compofa", "ofa"])
    assert_readable(figure)


def test_stairs_keep_their_height() -> None:
    np.testing.assert_array_equal(
        stairs(np.array([[1.0, 5], [2, 6], [4, 7]])), [[1, 5], [2, 5], [2, 6], [4, 6], [4, 7]]
    )
