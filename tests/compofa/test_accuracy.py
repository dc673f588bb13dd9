import json
from dataclasses import replace

import pytest

from compofa.accuracy import Accuracies, Header, append
from compofa.families import GLYPHS
from compofa.spaces import get_space

HEADER = Header("glyphs", "glyphs-ofa", "0" * 64, "glyphs-v1-test", 100, 512)
ARCHS = list(get_space("compofa", GLYPHS).enumerate([16]))[:10]


def test_round_trip_and_growth(tmp_path):
    path = tmp_path / "a.jsonl"
    append(path, HEADER, [(arch, i) for i, arch in enumerate(ARCHS[:5])])
    append(path, HEADER, [(arch, i) for i, arch in enumerate(ARCHS[5:], start=5)])
    table = Accuracies.load(path)
    assert table.header == HEADER
    assert table.correct == {arch: i for i, arch in enumerate(ARCHS)}
    assert table.accuracy(ARCHS[7]) == 0.07
    genotypes, accuracies = table.arrays()
    assert genotypes.shape == (10, 1 + GLYPHS.slots)
    assert accuracies[3] == 0.03
    assert table.standard_error(0.5) == 0.05


def test_what_a_killed_run_tore_is_dropped_and_the_rest_kept(tmp_path):
    path = tmp_path / "a.jsonl"
    append(path, HEADER, [(arch, 1) for arch in ARCHS[:3]])
    path.write_bytes(path.read_bytes()[:-7])
    assert len(Accuracies.load(path).correct) == 2
    append(path, HEADER, [(arch, 1) for arch in ARCHS[2:]])
    assert list(Accuracies.load(path).correct) == ARCHS


def test_each_result_is_on_disk_before_the_next_is_asked_for(tmp_path):
    path = tmp_path / "a.jsonl"

    def measured():
        for i, arch in enumerate(ARCHS):
            if i:
                assert len(Accuracies.load(path).correct) == i
            yield arch, 1

    append(path, HEADER, measured())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{}", "line 2: 'arch'"),
        ("[1]", "line 2"),
        ("x", "line 2"),
        (json.dumps({"arch": str(ARCHS[0]), "correct": 101}), "between 0 and 100"),
        (json.dumps({"arch": str(ARCHS[0]), "correct": 0.5}), "between 0 and 100"),
        (json.dumps({"arch": "r17-k3e3", "correct": 1}), "units"),
        ("{}\n".join([json.dumps({"arch": str(ARCHS[0]), "correct": 1}) + "\n"] * 2), "line 3"),
    ],
)
def test_broken_lines_are_named(tmp_path, line, message):
    path = tmp_path / "a.jsonl"
    append(path, HEADER, [])
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=message):
        Accuracies.load(path)


@pytest.mark.parametrize("content", ["", "{}\n", "hello\n", '{"format": "hwbench-table"}\n', "\0\n"])
def test_foreign_files_are_refused(tmp_path, content):
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(ValueError, match="does not hold accuracies"):
        Accuracies.load(path)


def test_another_runs_file_is_refused(tmp_path):
    append(tmp_path / "a.jsonl", HEADER, [])
    with pytest.raises(ValueError, match="not of this run"):
        append(tmp_path / "a.jsonl", replace(HEADER, supernet_sha256="1" * 64), [])
