"""Commands answer --help at once, fail in one line with a code that says why, and print one JSON document."""

from __future__ import annotations

import argparse
import errno
import importlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from shutil import which

import pytest

from backends.base import BackendUnavailable
from compofa.errors import InputError
from compofa.files import FileBusy
from compofa.stopping import SIGNALS, deferred
from hwbench import cli
from hwbench.argument_types import input_shape
from hwbench.command_list import EXAMPLES, TASKS
from hwbench.parser import _AppendOnce, _StoreOnce, _StoreTrue
from lut.lookup import MissingEntry


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
        (FileBusy("being written"), 1, "being written"),
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
    whole = " ".join(shown.split())
    assert all(f"\n  {name} " in shown and text in whole for name, text in cli.COMMANDS.items())
    assert all(f"\n{task}:\n" in shown for task in TASKS)
    assert cli.main([]) == 2


@pytest.mark.parametrize("columns", [40, 80, 300])
def test_the_overview_keeps_within_the_terminal(columns: int, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert cli.main(["--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= columns


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_each_help_ends_with_examples_that_parse(name: str) -> None:
    command = importlib.import_module(f"hwbench.{name}")
    _, _, lines = command.parser().format_help().partition("\nexamples:\n")
    found = [shlex.split(line) for line in lines.splitlines()]
    assert found == [["hwbench", name, *shlex.split(arguments)] for arguments in EXAMPLES[name]] and found
    for _, _, *arguments in found:
        command.parser().parse_args(arguments)


@pytest.mark.parametrize(("columns", "in_records"), [(40, True), (200, False)])
def test_a_table_that_does_not_fit_the_terminal_is_shown_row_by_row(
    columns: int, in_records: bool, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    cells = ("a device of some length", "12.5", "0.999")
    cli.print_table("a title", ("model", "MAPE (%)", "Spearman"), [cells])
    shown = capsys.readouterr().out
    assert all(cell in shown for cell in cells) and ("┃" not in shown) == in_records
    assert not re.search(r"\x1b\[[\d;]*3\dm", shown), "a colour"
    assert max(len(re.sub(r"\x1b\[[\d;]*m", "", line)) for line in shown.splitlines()) <= columns


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_every_command_and_its_options(shell: str, capsys) -> None:
    pytest.importorskip("shtab", reason="shtab is not installed: pip install 'hwbench[completion]'")
    assert cli.main(["--print-completion", shell]) == 0
    script = capsys.readouterr().out
    for name in cli.COMMANDS:
        (option, *_) = importlib.import_module(f"hwbench.{name}").parser()._actions[-1].option_strings or [
            name
        ]
        assert name in script and option in script, name
    checked = (
        subprocess.run([shell, "-n"], input=script, text=True, capture_output=True) if which(shell) else None
    )
    assert checked is None or (checked.returncode, checked.stderr) == (0, "")
    assert cli.main(["--print-completion", "klingon"]) == 2
    assert "there is completion for bash, " in capsys.readouterr().err


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
    with cli.showing(), cli.progress("measuring", 8, clock=lambda: next(times)) as advance:
        for _ in range(4):
            advance(2)
    assert capsys.readouterr().err == "measuring 4/8, 12 s left\nmeasuring 8/8, 0 s left\n"


def test_progress_of_nothing_yet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Work whose first part needed no step, as all of it had been done."""
    times = iter([0.0, 11.0, 12.0])
    with cli.showing(), cli.progress("measuring", 8, clock=lambda: next(times)) as advance:
        advance(0)
        advance(4)
    assert capsys.readouterr().err == "measuring 4/8, 12 s left\n"


# --- streams and signals, most in a process of their own ---


PRINTS = "for _ in range(100000): print('x' * 100)"
TABLE = "cli.print_table('t', ('a', 'b'), [('x' * 50, '1')] * 3000)"
"""More than a pipe holds."""


def script(body: str) -> str:
    """A command whose work is `body`."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return (
        f"import os, sys, time\nfrom hwbench import cli\ndef execute(args):\n{lines}\n"
        "sys.exit(cli.run(cli.command_parser('validate'), execute, sys.argv[1:]))"
    )


def shell(line: str, body: str = PRINTS) -> subprocess.CompletedProcess[str]:
    """`line` in bash, in which $RUN is the command."""
    run = f'{sys.executable} -c "$SCRIPT"'
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line.replace("$RUN", run)],
        env={**os.environ, "SCRIPT": script(body)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("body", [PRINTS, TABLE, "print('x')"])
def test_a_reader_that_goes_away_is_no_error(body: str) -> None:
    done = shell("$RUN | true", body)
    assert done.stderr == "" and done.returncode in (141, 0 if body == "print('x')" else 141)


@pytest.mark.parametrize("body", [PRINTS, TABLE, "print('x')", "cli.emit_json({})"])
def test_a_full_stdout_is_one_line(body: str) -> None:
    done = shell("$RUN > /dev/full", body)
    assert (done.returncode, done.stderr) == (
        1,
        "hwbench validate: error: stdout: No space left on device\n",
    )
    assert shell("$RUN --help > /dev/full").returncode == 1


def test_a_file_that_cannot_be_written_is_not_taken_for_stdout(tmp_path: Path) -> None:
    body = "from pathlib import Path\nfrom compofa.files import write_atomically\n"
    done = shell("ulimit -f 1; $RUN", body + f"write_atomically(Path({str(tmp_path / 'x')!r}), b'1' * 10000)")
    assert done.returncode == 1
    assert done.stderr == f"hwbench validate: error: {tmp_path / 'x'}: File too large\n"


def test_closed_streams_receive_nothing_and_nothing_goes_elsewhere(tmp_path: Path) -> None:
    done = shell("$RUN >&-")
    assert done.returncode == 2 and "stdout is closed" in done.stderr and done.stderr.count("\n") == 1
    done = shell("$RUN --nonsense 2>&-")
    assert (done.returncode, done.stdout) == (2, "")
    opened = f"file = open({str(tmp_path / 'data')!r}, 'w')\nos.write(2, b'noise')\nfile.close()"
    assert shell("$RUN 2>&- <&-", opened).returncode == 0
    assert (tmp_path / "data").read_text() == ""


WORK = """
import subprocess
child = subprocess.Popen(["sleep", "600"])
try:
    os.write(1, f"at work {child.pid}\\n".encode())  # no print: a signal within it may make it print twice
    time.sleep(600)
finally:
    child.kill()
    child.wait()
    print("saved", flush=True)
"""
CODES = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@pytest.mark.parametrize(("number", "code"), CODES)
@pytest.mark.parametrize("times", [1, 2])
def test_each_way_to_end_a_command_is_orderly(number: int, code: int, times: int) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", script(WORK)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert run.stdout
    child = int(run.stdout.readline().split()[-1])
    for _ in range(times if number != signal.SIGINT else 1):
        run.send_signal(number)
    out, err = run.communicate(timeout=120)
    # A signal in the middle of a print may print it again.
    assert (run.returncode, out.splitlines()[-1:], err) == (
        code,
        ["saved"],
        "hwbench validate: interrupted\n",
    )
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_nohup_stays_deaf() -> None:
    body = "import signal\nos.kill(os.getpid(), signal.SIGHUP)\nprint('went on')"
    assert shell("trap '' HUP; $RUN", body).stdout == "went on\n"
    assert shell("$RUN", body).returncode == 129


def test_work_that_must_not_be_cut_ends_between_steps(capsys: pytest.CaptureFixture[str]) -> None:
    done: list[int] = []

    def execute(_: argparse.Namespace) -> None:
        with deferred("at the end of a step") as told:
            for step in range(5):
                if told():
                    break
                if step == 2:
                    os.kill(os.getpid(), signal.SIGTERM)
                    os.kill(os.getpid(), signal.SIGTERM)
                done.append(step)

    assert cli.run(cli.command_parser("train"), execute, []) == 143
    assert done == [0, 1, 2]
    assert capsys.readouterr().err == "hwbench train: interrupted\n"


def test_signals_are_as_they_were_after_a_command() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    assert raising(InputError("x")) == 2
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_signal_after_the_last_step_is_not_lost() -> None:
    def execute(_: argparse.Namespace) -> None:
        with deferred():
            os.kill(os.getpid(), signal.SIGHUP)

    assert cli.run(cli.command_parser("train"), execute, []) == 129


# --- what people see ---


def test_warnings_of_libraries_are_one_line_without_a_path(capsys: pytest.CaptureFixture[str]) -> None:
    import warnings

    def execute(_: argparse.Namespace) -> None:
        for _ in range(2):
            warnings.warn("did not\n converge", RuntimeWarning, stacklevel=1)
            warnings.warn("will change", FutureWarning, stacklevel=1)

    assert cli.run(cli.command_parser("fit"), execute, []) == 0
    assert capsys.readouterr().err == "hwbench fit: warning: RuntimeWarning: did not converge\n"


def test_names_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    name = "[bold red]x[/] [/nothing] :smile: $a_b$ <b>"
    cli.print_table(name, ("c", name), [(name, "\x1b[31mred\x07")])
    shown = capsys.readouterr().out
    assert shown.count(name) == 3 and "\x1b" not in shown and "\\x1b[31mred\\x07" in shown
    assert raising(InputError("no file \x1b[2J\udcff")) == 2
    assert capsys.readouterr().err == "hwbench validate: error: no file \\x1b[2J\\udcff\n"


@pytest.mark.parametrize("name", ["compofa", "backends", "lut"])
def test_a_folder_of_the_same_name_in_the_working_directory_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    run = [sys.executable, "-m", "hwbench.search", "--help"]
    assert subprocess.run(run, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    (tmp_path / name / "__init__.py").touch()
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"hwbench: error: {tmp_path / name}") and done.stderr.count("\n") == 1


# --- numbers on the command line ---

NO_NUMBERS = ["", " ", "x", "nan", "inf", "-inf", "1e400", "-1", "0x10", "\u0663", "1_0", "9" * 5000]


@pytest.mark.parametrize("text", [*NO_NUMBERS, "0", "1.5", "2147483648", "1" + "0" * 30])
def test_what_is_no_positive_whole_number_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        cli.positive_int(text)
    assert len(str(refused.value)) < 120


@pytest.mark.parametrize(
    "kind",
    [cli.positive_number, cli.fraction, cli.seed],
    ids=lambda kind: kind.__name__,
)
def test_numbers_are_finite_and_in_their_range(kind: Callable[[str], float]) -> None:
    for text in [text for text in NO_NUMBERS if text not in ("\u0663", "1_0")]:
        with pytest.raises(argparse.ArgumentTypeError) as refused:
            kind(text)
        assert len(str(refused.value)) < 120
    inside = "0.5" if kind is not cli.seed else "5"
    assert kind(inside) == float(inside)


@pytest.mark.parametrize("text", ["1:1000000000000:1", "8193", "8:9000:8"])
def test_absurd_resolutions_are_refused_at_once(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        cli.resolutions(text)


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


def test_a_flag_excludes_and_is_excluded() -> None:
    parser = cli.Parser()
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--plot")
    parser.excludes("--dry-run", "--plot")
    assert parser.parse_args(["--dry-run"]).dry_run
    with pytest.raises(cli.UsageError, match="--plot has no effect beside --dry-run"):
        parser.parse_args(["--plot", "x.png", "--dry-run"])


def test_an_option_without_what_enables_it_is_refused() -> None:
    parser = cli.Parser()
    parser.add_argument("--confidence", type=float)
    parser.add_argument("--re-check", type=int)
    parser.enables("--confidence", "--re-check")
    for given in ([], ["--confidence", "0.9"], ["--re-check", "3", "--confidence", "0.9"]):
        parser.parse_args(given)
    with pytest.raises(cli.UsageError, match="--re-check has no effect without --confidence"):
        parser.parse_args(["--re-check", "3"])


@pytest.mark.parametrize(
    ("kind", "first", "second"), [(cli.name_and_value, "x=1", "x=2"), (input_shape, "x=1x3", "x=2x3")]
)
def test_a_name_that_is_given_two_values_is_refused(kind, first, second) -> None:
    parser = cli.Parser()
    parser.add_argument("--input", type=kind, action="append", default=[])
    assert len(parser.parse_args(["--input", first, "--input", first.replace("x", "y", 1)]).input) == 2
    with pytest.raises(cli.UsageError, match="--input x is given twice"):
        parser.parse_args(["--input", first, "--input", second])


@pytest.mark.parametrize(
    ("command", "given", "without"),
    [
        ("validate", "--measured m.csv --space ofa", "--space has no effect beside --measured"),
        ("validate", "--measured m.csv --subnets 9", "--subnets has no effect beside --measured"),
        ("validate", "--measured m.csv --option a=b", "--option has no effect beside --measured"),
        ("validate", "--measured m.csv --force-target", "--force-target has no effect beside --measured"),
        ("validate", "--column ms", "--column has no effect without --measured"),
        ("check", "--golden g --freeze t --junit j", "--junit has no effect beside --freeze"),
        ("check", "--golden g --update-baseline --measured m", "--measured has no effect beside --update-b"),
        ("check", "--golden g --name n", "--name has no effect without --freeze"),
        ("predict", "--model m --subnets s --lut t", "--lut has no effect without --onnx"),
        ("predict", "--model m --subnets s --batch 2", "--batch has no effect without --onnx"),
        (
            "specialize",
            "--supernet s --out o --latency-ms 2 --tries 3",
            "--tries has no effect without --conf",
        ),
        (
            "specialize",
            "--supernet s --out o --arch a --max-macs 3",
            "--max-macs has no effect beside --arch",
        ),
        ("search", "--recheck 3", "--recheck has no effect without --confidence"),
        ("search", "--latency-ms 3 --top 3", "--top has no effect beside --latency-ms"),
        ("search", "--workers 3", "--workers has no effect without --measure"),
        ("evaluate", "--supernet s --out o --seed 3", "--seed has no effect without --sample"),
        (
            "train",
            "--recipe r --out o --dry-run --checkpoint-every 9",
            "--checkpoint-every has no effect beside",
        ),
    ],
)
def test_what_would_be_dropped_without_a_word_is_refused(command: str, given: str, without: str) -> None:
    with pytest.raises(cli.UsageError, match=without):
        importlib.import_module(f"hwbench.{command}").parser().parse_args(given.split())


def test_what_a_command_excludes_is_noticed_when_it_is_given() -> None:
    noted = (_StoreOnce, _AppendOnce, _StoreTrue)
    for command in cli.COMMANDS:
        parser = importlib.import_module(f"hwbench.{command}").parser()
        actions = {action.dest: action for action in parser._actions}
        for name in chain.from_iterable([*parser.exclusive, *parser.dependent]):
            assert isinstance(actions[name], noted), (command, name)


def test_every_command_refuses_an_option_given_twice() -> None:
    """Whatever is added to a parser, in groups and subcommands too."""
    for command in cli.COMMANDS:
        parser = importlib.import_module(f"hwbench.{command}").parser()
        for action in parser._actions:
            single = action.nargs is None and isinstance(action, argparse._StoreAction)
            assert not single or isinstance(action, _StoreOnce), (command, action.dest)
