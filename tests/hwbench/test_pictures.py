"""The pictures: read without a guess, and as they were when they were last looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from pictures import assert_as_before, assert_readable

import hwbench
from hwbench import plots, roofline, trace
from hwbench.palette import SERIES


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures that are saved."""
    figures: list[Figure] = []
    for module in (plots, roofline):
        save = module.save
        monkeypatch.setattr(module, "save", lambda f, path, save=save: (figures.append(f), save(f, path)))
    return figures


def made_up_series(names: tuple[str, ...], seed: int = 0) -> list[plots.FrontierSeries]:
    rng = np.random.default_rng(seed)
    found = []
    for i, name in enumerate(names):
        ms = rng.gamma(6, 0.02, 400) + 0.05
        accuracy = 0.85 - 0.012 / ms - 0.01 * i - rng.gamma(2, 0.015, 400)
        order = np.argsort(ms)
        best = np.maximum.accumulate(accuracy[order])
        front = order[accuracy[order] >= best]
        points = np.column_stack([ms, accuracy])
        more = {} if i == 0 else {"predicted": points - (0, 0.01), "searched": points[front] + (0, 0.01)}
        found.append(
            plots.FrontierSeries(
                f"{name}, 400 subnets measured",
                points,
                more.get("predicted"),
                points[front],
                more.get("searched"),
            )
        )
    return found


def draw_frontiers(
    path: Path, series: list[plots.FrontierSeries], title: str = "made up: no network"
) -> None:
    plots.draw_frontiers(
        path,
        series=series,
        title=title,
        target="no device (none)",
        cost="latency (ms, made up)",
        accuracy="test accuracy (%, made up)",
    )


def test_frontiers(tmp_path: Path, drawn: list[Figure]) -> None:
    draw_frontiers(tmp_path / "f.png", made_up_series(("compofa", "ofa", "compofa-elastic")))
    assert_readable(drawn[0])
    assert {text.get_text() for text in drawn[0].axes[0].texts} == {"compofa", "ofa", "compofa-elastic"}
    assert_as_before(tmp_path / "f.png", "frontiers")


def test_a_short_frontier_is_not_under_the_legend(tmp_path: Path, drawn: list[Figure]) -> None:
    (one,) = made_up_series(("ofa",))
    points = one.frontier[-2:]
    draw_frontiers(
        tmp_path / "f.png", [plots.FrontierSeries("ofa, 2 subnets measured", points, None, points)]
    )
    figure = drawn[0]
    (legend,) = figure.legends
    assert legend.get_window_extent().y1 <= figure.axes[0].bbox.y0
    assert_readable(figure)


def test_the_legend_tells_each_kind_by_more_than_its_size(tmp_path: Path, drawn: list[Figure]) -> None:
    draw_frontiers(tmp_path / "f.png", made_up_series(("compofa", "ofa")))
    (legend,) = drawn[0].legends
    looks = [
        (line.get_marker(), line.get_linestyle(), line.get_color(), line.get_linewidth() > 3)
        for line in legend.legend_handles
    ]
    assert len(set(looks)) == len(looks) == 6
    assert [look[2] for look in looks[:2]] == list(SERIES[:2])


def test_validation(tmp_path: Path, drawn: list[Figure]) -> None:
    measured = np.linspace(0.081, 0.247, 30)
    wave = 1 + 0.01 * np.sin(np.arange(30))
    panels = [
        plots.Panel("raw sum", 1.09 * wave * measured, 9.0, 0.998),
        plots.Panel("calibrated, leave-one-out", wave * measured, 0.6, None),
    ]
    for count, origin in ((2, "measured"), (1, "modelled")):
        plots.draw_validation(
            tmp_path / f"{count}.png",
            measured_ms=measured,
            panels=panels[:count],
            title="made up, 30 subnets, repeatability 0.6 %",
            target="no device (none, fp32, batch 1, 1 thread)",
            origin=origin,
        )
    for figure in drawn:
        assert_readable(figure)
        for ax in figure.axes:
            assert list(ax.get_xticks()) == list(ax.get_yticks())
            assert 3 <= len(ax.get_xticks()) <= 7
    assert_as_before(tmp_path / "2.png", "validation")


@pytest.mark.parametrize(
    ("target", "words"), [("zcu102-b4096", "depthwise, on the ALU"), ("systolic-16x16", "depthwise")]
)
def test_the_trace_names_its_network_and_where_depthwise_runs(
    tmp_path: Path, drawn: list[Figure], target: str, words: str
) -> None:
    arch = "r16-k3e3_k3e3-k3e3_k3e3-k3e3_k3e3-k3e3_k3e3-k3e3_k3e3"
    path = tmp_path / "t.png"
    assert trace.main(["--target", target, "--arch", arch, "--out", str(path)]) == 0
    (figure,) = drawn
    assert arch in figure.get_suptitle() and "modelled, not measured" in figure.get_suptitle()
    labels = figure.axes[1].get_legend_handles_labels()[1]
    assert words in labels
    assert not any("$" in label.get_text() for ax in figure.axes for label in ax.get_xticklabels())
    if target == "zcu102-b4096":
        assert_as_before(path, "trace")


def test_names_are_text_not_formulas(tmp_path: Path) -> None:
    draw_frontiers(tmp_path / "f.svg", made_up_series(("ofa",)), title="a $x^2$ <b>")
    text = (tmp_path / "f.svg").read_text()
    assert "a $x^2$ &lt;b&gt;" in text


def test_the_axis_tells_the_precision_that_accuracies_were_measured_in(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    found = hwbench.pareto("macs", spaces=["compofa"])
    found.draw(tmp_path / "fp32.png")
    in_int8 = [replace(space, of=replace(space.of, precision="int8")) for space in found.spaces]
    replace(found, spaces=in_int8).draw(tmp_path / "int8.png")
    labels = [figure.axes[0].get_ylabel() for figure in drawn]
    assert labels == ["test accuracy (%, fp32)", "test accuracy (%, int8)"]
