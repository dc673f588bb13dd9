"""The bottom shelf: replacing at once, adding under a lock, reading with bounds."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from compofa import files
from compofa.errors import InputError
from compofa.files import (
    AppendFile,
    FileBusy,
    atomic,
    parse_json,
    parse_toml,
    parse_yaml,
    parsing,
    read_text,
    replacing,
)


def test_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_atomically(path, "old")

    def fail_half_way() -> None:
        with replacing(path) as beside:
            beside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_disk_that_is_full_leaves_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    files.write_atomically(path, "old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    path, read = tmp_path / "pipe.csv", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read.append(path.read_text()))
    reader.start()
    files.write_atomically(path, "new")
    reader.join(timeout=20)
    assert read == ["new"] and stat.S_ISFIFO(path.stat().st_mode)
    assert os.listdir(tmp_path) == ["pipe.csv"]


@pytest.mark.parametrize("name", ["/dev/null", "/dev/stdout", "/dev/full", "/proc/self/fd/1"])
def test_devices_count_as_streams(name: str) -> None:
    """That is all there is between them and being replaced, by whoever may."""
    assert atomic._is_stream(Path(name))


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "a.txt", tmp_path / "a.txt"
    target.write_text("old")
    link.symlink_to(target)
    files.write_atomically(link, "new")
    assert link.is_symlink() and target.read_text() == "new"


def test_two_that_write_one_file_leave_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    texts = [letter * 50_000 for letter in "abcd"]
    files.write_atomically(path, texts[0])
    seen = set()

    def write(text: str) -> None:
        for _ in range(50):
            try:
                files.write_atomically(path, text)
            except FileBusy:
                continue  # the other was putting its own in place at that moment

    writers = [threading.Thread(target=write, args=(text,)) for text in texts]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        seen.add(path.read_text())
    assert seen <= set(texts)
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_the_mode_follows_the_umask(tmp_path: Path, mask: int) -> None:
    old = os.umask(mask)
    try:
        files.write_atomically(tmp_path / "a.txt", "a")
        with AppendFile(tmp_path / "b.txt") as file:
            file.append(b"b\n")
        with replacing(tmp_path / "c.txt") as beside:
            made_anew(beside)
        with files.replacing_folder(tmp_path / "d") as folder:
            made_anew(folder / "d.txt")
    finally:
        os.umask(old)
    for name in ("a.txt", "b.txt", "c.txt", "d/d.txt"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~mask, name


def made_anew(path: Path) -> None:
    """As safetensors writes a file."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))


def test_what_was_added_is_there_and_a_torn_line_goes(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"one\ntw")
    with AppendFile(path) as file:
        assert (file.content, file.torn) == (b"one\n", b"tw")
        assert path.read_bytes() == b"one\ntw"  # nothing is lost by looking
        file.append(b"two\n")
        file.append(b"three\n")
        assert file.content == path.read_bytes() == b"one\ntwo\nthree\n"


def test_what_does_not_fit_on_the_disk_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    with AppendFile(path) as file:
        file.append(b"one\n")
        write = os.write

        def half(handle: int, data: bytes) -> int:
            if len(data) < 4:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(handle, data[:2])

        monkeypatch.setattr(os, "write", half)
        with pytest.raises(OSError, match="No space"):
            file.append(b"two\n")
        monkeypatch.undo()
        assert path.read_bytes() == b"one\n"
        file.append(b"three\n")
    assert path.read_bytes() == b"one\nthree\n"


def test_one_process_adds_at_a_time_and_nobody_replaces_what_it_adds_to(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AppendFile(path) as file:
        file.append(b"one\n")
        with pytest.raises(FileBusy, match="being written"):
            AppendFile(path)
        with pytest.raises(FileBusy, match="being written"):
            files.write_atomically(path, "other")
        file.append(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"
    files.write_atomically(path, "other\n")


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    code = (
        "import sys, os, signal; from pathlib import Path; from compofa.files import AppendFile\n"
        "file = AppendFile(Path(sys.argv[1])); file.append(b'one\\n'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=Path(__file__).parents[2])
    with AppendFile(path) as file:
        assert file.content == b"one\n"


# --- reading with bounds ---

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGE_BOMB = "a: &a {k: v}\nb: {<<: [*a, *a]}\n"


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "{" * 5_000, '{"a":' * 50_000, "1" * 10_000, "NaN", "-Infinity", "{", "", "\ud800"],
    ids=lambda text: text[:6],
)
def test_json_that_is_damaged_or_hostile_is_one_kind_of_error(text: str) -> None:
    with pytest.raises(InputError, match="not JSON"):
        parse_json(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{a: " * 50_000,
        "- " * 50_000,
        BOMB,
        MERGE_BOMB,
        "!!python/object:os.system {}",
        "a: [",
        "\0",
    ],
    ids=lambda text: text[:6],
)
def test_yaml_that_is_damaged_or_hostile_is_one_kind_of_error(text: str) -> None:
    with pytest.raises(InputError, match="YAML"):
        parse_yaml(text)


def test_yaml_in_a_process_of_its_own_does_not_overflow_the_stack() -> None:
    code = "from compofa.files import parse_yaml\ntry: parse_yaml('[' * 1_000_000)\nexcept ValueError: print('fine')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "fine\n"


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a =", "a = 1\na = 2"], ids=lambda text: text[:6])
def test_toml_that_is_damaged_or_hostile_is_one_kind_of_error(text: str) -> None:
    with pytest.raises(InputError, match="not TOML"):
        parse_toml(text)


def test_what_is_well_formed_is_read() -> None:
    assert parse_json(b'{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}
    assert parse_yaml("a:\n  b: [1, 2.5]\n") == {"a": {"b": [1, 2.5]}}
    assert parse_toml("[a]\nb = 1\n") == {"a": {"b": 1}}


def test_text_is_utf8_with_or_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfm\xc3\xbcde")
    assert read_text(path) == "müde"
    path.write_bytes(b"m\xfcde")
    with pytest.raises(InputError, match="UTF-8"):
        read_text(path)


def test_a_file_that_is_too_large_is_refused_before_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 101)
    with pytest.raises(InputError, match="larger"):
        read_text(path, most_bytes=100)


def test_a_pipe_that_nobody_fills_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="regular"):
        read_text(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("parse", "most", "unit"),
    [
        (files.parse_json, parsing.MAX_JSON_BYTES, b"1"),
        (files.parse_toml, parsing.MAX_TOML_BYTES, "#"),
        (files.parse_yaml, parsing.MAX_YAML_BYTES, b"a"),
    ],
)
def test_what_is_larger_than_any_file_of_ours_is_not_parsed(parse: Any, most: int, unit: Any) -> None:
    with pytest.raises(InputError, match=f"larger than {most // 1024} KiB"):
        parse(unit * (most + 1))


@pytest.mark.parametrize(
    "error",
    [
        KeyError("x"),
        ValueError("x"),
        TypeError("x"),
        AttributeError("x"),
        IndexError("x"),
        OverflowError("x"),
    ],
)
def test_what_a_file_lacks_is_said_of_the_file(error: Exception, tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"f\.json: not a thing, or a damaged one: .*x"),
        files.reading(tmp_path / "f.json", "a thing"),
    ):
        raise error
    with pytest.raises(InputError, match=r"f\.json: known$"), files.reading(tmp_path / "f.json", "a thing"):
        raise InputError("known")
    with pytest.raises(ZeroDivisionError), files.reading(tmp_path / "f.json", "a thing"):
        raise ZeroDivisionError  # a bug stays one


def test_a_seal_tells_any_change() -> None:
    content = {"a": [1, 2.5, None], "b": {"c": "\u00e9"}}
    whole = files.sealed(content)
    files.check_seal(json.loads(json.dumps(whole, indent=3)))
    files.check_seal(content)
    for other in ({"a": [1, 2.5, 0]}, {"b": {"c": "e"}}, {"d": 1}, {"sha256": "0"}, {"sha256": None}):
        with pytest.raises(InputError, match="damaged, or edited by hand"):
            files.check_seal({**whole, **other})
