"""A file is the old one or the new one, never half of either."""

from __future__ import annotations

from pathlib import Path

import pytest

from lut.atomic import write_atomically


def test_what_was_there_is_replaced_and_nothing_is_left_beside(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text in ("old\n", "new\n"):
        write_atomically(path, text)
    assert path.read_text() == "new\n"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, "old\n")
    (tmp_path / "a.json.tmp").mkdir()
    with pytest.raises(OSError, match=r"a\.json\.tmp"):
        write_atomically(path, "new\n")
    assert path.read_text() == "old\n"
