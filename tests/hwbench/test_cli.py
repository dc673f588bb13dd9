"""Commands answer --help at once, fail in one line with a code that says why, and print one JSON document."""

from __future__ import annotations

import argparse
import errno
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backends.base import BackendUnavailable
from compofa.errors import InputError
from hwbench import cli
from lut.lookup import MissingEntry
from lut.store import TableBusy


def raising(error: BaseException) -> int:
    def execute(_: argparse.Namespace) -> int:
        raise error

    return cli.run(cli.command_parser("validate"), execute, [])


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("no such thing"), 2, "no such thing"),
        (InputError("two\n  lines"), 2, "two lines"),
        (FileNotFoundError(errno.ENOENT, "No such file", "x.jsonl"), 2, "x.jsonl: No such file"),
        (OSError(errno.ENOSPC, "No space left on device", "x.jsonl"), 1, "x.jsonl: No space left on device"),
        (BackendUnavailable("no GPU"), 3, "no GPU"),
        (MissingEntry("no entry for x"), 1, "no entry for x"),
        (TableBusy("being written"), 1, "being written"),
        (
            ValueError("bad shape"),
            1,
            "ValueError: bad shape (a bug; HWBENCH_DEBUG=1 shows where)",
        ),
        (KeyError("k"), 1, "KeyError: 'k' (a bug; HWBENCH_DEBUG=1 shows where)"),
        (
            ZeroDivisionError("division by zero"),
            1,
            "ZeroDivisionError: division by zero (a bug; HWBENCH_DEBUG=1 shows where)",
        ),
    ],
)
def test_each_kind_of_failure_is_one_line_and_a_code(
    error: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raising(error) == code
    assert capsys.readouterr() == ("", f"hwbench validate: error: {line}\n")


def test_ctrl_c_says_what_was_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(KeyboardInterrupt("3 of 4 blocks are in t.jsonl")) == 130
    assert capsys.readouterr().err == "hwbench validate: interrupted: 3 of 4 blocks are in t.jsonl\n"


def test_debugging_keeps_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWBENCH_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        raising(ZeroDivisionError())


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_help_loads_nothing_heavy(name: str) -> None:
    heavy = "{'torch', 'onnx', 'onnxruntime', 'matplotlib', 'sklearn', 'scipy', 'rich', 'numpy'}"
    script = (
        f"import sys\nfrom hwbench.cli import main\ncode = main([{name!r}, '--help'])\n"
        f"sys.stderr.write(' '.join(sorted({heavy} & set(sys.modules))))\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.startswith(f"usage: hwbench {name} ")


def test_the_overview_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown and text in shown for name, text in cli.COMMANDS.items())
    assert cli.main([]) == 2


def test_an_unknown_command_lists_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["mesure"]) == 2
    assert capsys.readouterr().err == (
        f"hwbench: error: unknown command 'mesure'; there are {', '.join(cli.COMMANDS)}\n"
    )


@pytest.mark.parametrize("arguments", [["--jsn"], ["--batch", "0"], ["--resolutions", "8:4:2"], ["stray"]])
def test_a_wrong_argument_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["build-lut", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("hwbench build_lut: error: ")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("128", (128,)),
        ("160,128,160", (128, 160)),
        ("128:224:32", (128, 160, 192, 224)),
        ("16,20:29:4", (16, 20, 24, 28)),
    ],
)
def test_resolutions_are_lists_or_ranges(text: str, expected: tuple[int, ...]) -> None:
    assert cli.resolutions(text) == expected


@pytest.mark.parametrize("text", ["", "a", "-8", "0", "1.5", "8:16", "8:16:0", "16:8:4", "1,,2", "²"])
def test_what_is_no_list_of_resolutions_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        cli.resolutions(text)


def test_an_output_that_cannot_be_written_is_refused_without_a_trace(tmp_path: Path) -> None:
    kept = tmp_path / "kept.png"
    kept.write_text("old")
    cli.check_writable(kept, (".png",))
    cli.check_writable(tmp_path / "new.png", (".png",))
    assert kept.read_text() == "old"
    assert list(tmp_path.iterdir()) == [kept]
    for path in (tmp_path, tmp_path / "no" / "x.png", kept / "x.png", Path("/proc/x.png")):
        with pytest.raises(ValueError, match="cannot write"):
            cli.check_writable(path)
    with pytest.raises(ValueError, match=r"must end in one of \.png, \.svg"):
        cli.check_writable(tmp_path / "x.bmp", (".png", ".svg"))


def test_json_is_one_document_without_nan(capsys: pytest.CaptureFixture[str]) -> None:
    cli.emit_json({"a": [1, None]})
    assert json.loads(capsys.readouterr().out) == {"a": [1, None]}
    with pytest.raises(ValueError, match="JSON"):
        cli.emit_json({"a": float("nan")})


def test_progress_away_from_a_terminal_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([0.0, 4.0, 12.0, 14.0, 25.0])
    with cli.progress("measuring", 8, clock=lambda: next(times)) as advance:
        for _ in range(4):
            advance(2)
    assert capsys.readouterr().err == "measuring 4/8, 12 s left\nmeasuring 8/8, 0 s left\n"


def test_a_reader_that_goes_away_is_no_error() -> None:
    script = (
        "import sys\nfrom hwbench import cli\n"
        "def execute(args):\n    for _ in range(100000): print('x' * 100)\n"
        "sys.exit(cli.run(cli.command_parser('validate'), execute, []))"
    )
    done = subprocess.run(
        f'"{sys.executable}" -c "$SCRIPT" | head -1',
        shell=True,
        env={**os.environ, "SCRIPT": script},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


@pytest.mark.parametrize(
    "given", [["--out", "a", "--out", "b"], ["--out=a", "--ou", "b"], ["--seed", "1", "--seed=1"]]
)
def test_an_option_that_counts_once_is_refused_twice(given: list[str]) -> None:
    parser = cli.command_parser("pareto")
    parser.add_argument("--out")
    parser.add_argument("--many", action="append")
    parser.add_mutually_exclusive_group().add_argument("--seed", type=int)
    with pytest.raises(cli.UsageError, match=f"{given[0].split('=')[0][:4]}.* is given twice"):
        parser.parse_args(given)
    # Each parse begins anew.
    for _ in range(2):
        assert parser.parse_args(["--out", "a", "--many", "x", "--many", "y"]).many == ["x", "y"]


def test_every_command_refuses_an_option_given_twice() -> None:
    """Whatever is added to a parser, in groups and subcommands too."""
    for command in cli.COMMANDS:
        parser = importlib.import_module(f"hwbench.{command}").parser()
        for action in parser._actions:
            single = action.nargs is None and isinstance(action, argparse._StoreAction)
            assert not single or isinstance(action, cli._StoreOnce), (command, action.dest)
