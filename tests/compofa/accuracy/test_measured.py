import json
import os
from dataclasses import replace

import pytest

from compofa.accuracy import Accuracies, AccuracyFile, Header, append
from compofa.errors import InputError
from compofa.files import FileBusy
from compofa.spaces.layout import layout
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space

HEADER = Header("glyphs", "glyphs-ofa", "0" * 64, "glyphs-v1-test", 100, 512)
FIRST_LINE = (
    json.dumps(
        {
            "format": "hwbench-accuracy",
            "schema": 1,
            "family": "glyphs",
            "supernet": "glyphs-ofa",
            "supernet_sha256": "0" * 64,
            "data": "glyphs-v1-test",
            "images": 100,
            "calibration_images": 512,
        }
    ).encode()
    + b"\n"
)
"""As version 0.1.0 wrote it."""
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
    assert genotypes.shape == (10, 1 + layout(GLYPHS).slots)
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
    path.write_bytes(FIRST_LINE)
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


FULL = replace(HEADER, classes=62, class_names_sha256="a" * 64, precision="fp32")


def test_what_an_old_file_does_not_say_is_unknown_and_it_is_gone_on_with(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(FIRST_LINE + json.dumps({"arch": str(ARCHS[0]), "correct": 3}).encode() + b"\n")
    assert Accuracies.load(path).header == HEADER
    assert not HEADER.differences(FULL) and not FULL.differences(HEADER)
    append(path, FULL, [(ARCHS[1], 4)])
    assert Accuracies.load(path).correct == {ARCHS[0]: 3, ARCHS[1]: 4}


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"supernet_sha256": "1" * 64}, "supernet sha256: 000000000000, not 111111111111"),
        ({"data": "digits-test"}, "data: glyphs-v1-test, not digits-test"),
        ({"images": 99}, "images: 100, not 99"),
        ({"calibration_images": 200}, "calibration images: 512, not 200"),
        ({"classes": 61}, "classes: 62, not 61"),
        ({"class_names_sha256": "b" * 64}, "class names sha256: aaaaaaaaaaaa, not bbbbbbbbbbbb"),
        ({"precision": "int8"}, "precision: fp32, not int8"),
    ],
)
def test_accuracies_of_something_else_are_not_mixed(tmp_path, other, words):
    path = tmp_path / "a.jsonl"
    append(path, FULL, [(ARCHS[0], 1)])
    before = path.read_bytes()
    with pytest.raises(InputError, match=words):
        append(path, replace(FULL, **other), [(ARCHS[1], 1)])
    assert path.read_bytes() == before


def test_a_header_alone_and_an_empty_file_do_not_block(tmp_path):
    path = tmp_path / "a.jsonl"
    for content in (FIRST_LINE, b"", FIRST_LINE[:20]):
        path.write_bytes(content)
        append(path, FULL, [(ARCHS[0], 1)])
        assert Accuracies.load(path).header == FULL
        assert list(Accuracies.load(path).correct) == [ARCHS[0]]


def test_a_run_that_measures_nothing_leaves_no_file(tmp_path):
    path = tmp_path / "a.jsonl"

    def fails():
        raise RuntimeError
        yield

    with pytest.raises(RuntimeError):
        append(path, HEADER, fails())
    assert not path.exists()


def test_ctrl_c_after_the_first_result_was_written_keeps_it(tmp_path, monkeypatch):
    def interrupted(handle):
        raise KeyboardInterrupt

    path = tmp_path / "a.jsonl"
    file = AccuracyFile(path, HEADER)
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        file.add(ARCHS[0], 50)
    file.close()
    assert Accuracies.load(path).correct == {ARCHS[0]: 50}


@pytest.mark.parametrize("content", [b"hello", b"hello\n", b'{"format": "hwbench-table"}\n{}\n', b"\0" * 9])
def test_a_file_of_something_else_is_left_alone(tmp_path, content):
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match="does not hold accuracies"):
        append(path, HEADER, [(ARCHS[0], 1)])
    assert path.read_bytes() == content


def test_two_do_not_write_one_file(tmp_path):
    with (
        AccuracyFile(tmp_path / "a.jsonl", HEADER) as file,
        pytest.raises(FileBusy),
        AccuracyFile(tmp_path / "a.jsonl", HEADER),
    ):
        pass
    file.close()


def test_resolutions_are_those_of_the_rows():
    assert Accuracies(HEADER, dict.fromkeys(ARCHS, 1)).resolutions == (16,)


@pytest.mark.parametrize(
    "field", [{"images": 0}, {"images": "9"}, {"images": 10**400}, {"data": 3}, {"x": 1}, {"family": []}]
)
def test_a_header_of_wrong_types_is_refused(tmp_path, field):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(json.loads(FIRST_LINE) | field) + "\n")
    if field == {"images": 10**400}:
        path.write_text(path.read_text().replace("512", "1e999"))
    with pytest.raises(InputError, match="does not hold accuracies"):
        Accuracies.load(path)
