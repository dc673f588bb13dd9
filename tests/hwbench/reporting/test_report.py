"""`hwbench report` writes one file that needs nothing else."""

import json
import re

import pytest
from made_tables import NASTY

from hwbench import report, shipped


def test_the_page_is_small_and_loads_nothing(written):
    text = written.read_text(encoding="utf-8")
    assert len(text.encode()) < 5e6
    assert "default-src 'none'" in text
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", text)
    assert not re.findall(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", text)


def test_names_are_shown_as_text(written):
    text = written.read_text(encoding="utf-8")
    assert NASTY not in text and "<img" not in text
    assert "&lt;img src=x onerror=alert(1)&gt; $x^2$ &lt;/script&gt;" in text
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    assert NASTY in json.loads(data)["devices"][2]["name"]


def test_every_number_says_where_it_comes_from(written):
    text = written.read_text(encoding="utf-8")
    for words in (
        "predicted by the calibrated table",
        "sum of the table&#39;s entries",
        "each on 2,480 images",
        "points off on held-out subnets",
        "No network was measured beside this table",
        "python -m hwbench.report --lut",
    ):
        assert words in text, words
    assert (
        len(re.findall(r"Error [\d.]+ %, repeatability [\d.]+ %: the (?:model|machine) is the limit", text))
        == 2
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--lut", "none.jsonl"], "none.jsonl"),
        (["--lut", "epyc.jsonl", "--space", "unheard-of"], "unheard-of"),
        (["--lut", "epyc.jsonl", "--out", "page.txt"], "must end in one of .html"),
        (["--lut", "epyc.jsonl", "--accuracy", "epyc.jsonl"], "accurac"),
        (["--lut", "epyc.jsonl", str(shipped.kernels())], "which answers for models: give some with --onnx"),
        (["--lut", str(shipped.kernels()), "--onnx", "model.onnx"], "no table of blocks"),
    ],
)
def test_bad_input_is_one_line_and_leaves_the_old_page(
    folder, tmp_path, monkeypatch, capsys, arguments, words
):
    monkeypatch.chdir(folder)
    old = tmp_path / "old.html"
    old.write_text("old")
    given = arguments if "--out" in arguments else [*arguments, "--out", str(old)]
    assert report.main(given) == 2
    err = capsys.readouterr().err
    assert words in err and len(err.splitlines()) == 1
    assert old.read_text() == "old"
