"""A backend's options are arguments once it is named; all of it without loading what is not asked for."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest
from commands import build_lut, validate

from backends import registry
from backends.base import Option, Settings
from backends.fpga.backend import FpgaBackend
from hwbench import cli
from hwbench.backend_arguments import backend_named, make_backend
from hwbench.validating import measuring


def options() -> Iterator[tuple[str, Option]]:
    for name in registry.names():
        yield from ((name, option) for option in registry.load(name).options)


def test_the_backend_named_is_known_before_its_options_are_parsed() -> None:
    assert backend_named(["--target", "x", "--backend", "fpga"]) == "fpga"
    assert backend_named(["--backend=fpga", "--help"]) == "fpga"
    assert backend_named(["--batch", "3"]) == "onnxruntime"
    assert backend_named(["--help"]) is None


def test_options_reach_the_backend_and_only_those_given() -> None:
    args = build_lut.parser().parse_args(["--backend", "fpga", "--target", "kv260-b4096", "--batch", "2"])
    backend = make_backend(args)
    assert isinstance(backend, FpgaBackend)
    assert backend.settings == Settings("int8", batch=2, options={"target": "kv260-b4096"})
    assert make_backend(build_lut.parser().parse_args(["--backend", "fpga"])).settings.options == {}


def test_the_help_of_a_backend_lists_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert build_lut.main(["--backend", "fpga", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "options of backend fpga" in shown and "--target TARGET" in shown


@pytest.mark.parametrize(("backend", "option"), list(options()), ids=lambda v: getattr(v, "name", v))
def test_options_explain_themselves(backend: str, option: Option) -> None:
    assert option.name.isidentifier()
    assert len(option.help) > 10 and not option.help.endswith(".")
    assert not option.choices or not option.default or option.default in option.choices


def test_options_do_not_hide_a_command_s_own() -> None:
    own = {string for action in build_lut.parser()._actions for string in action.option_strings}
    for backend, option in options():
        assert f"--{option.name}" not in own, backend


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tune": "yes"}, "backend fpga has no option tune; it has target"),
        ({"target": "zcu999"}, "unknown target 'zcu999'"),
    ],
)
def test_wrong_options_are_refused_in_python_too(given: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FpgaBackend(Settings("int8", options=given))


def test_a_choice_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FpgaBackend, "options", (Option("mode", "how it runs", "a", ("a", "b")),))
    with pytest.raises(ValueError, match="option mode of backend fpga is one of a, b, not 'c'"):
        FpgaBackend(Settings("int8", options={"mode": "c"}))
    with pytest.raises(cli.UsageError, match="--mode: invalid choice"):
        build_lut.parser().parse_args(["--backend", "fpga", "--mode", "c"])


def test_validate_takes_options_that_a_target_does_not_tell() -> None:
    args = validate.parser().parse_args(["--option", "rpc=host:9190", "--option", "key=pi"])
    assert dict(args.option) == {"rpc": "host:9190", "key": "pi"}
    target = FpgaBackend(Settings("int8", options={"target": "kv260-b4096"})).target
    opened = measuring.open_backend(target, seed=3, options={})
    assert opened.target == target and opened.settings.seed == 3
    other = measuring.open_backend(target, seed=3, options={"target": "zcu102-b4096"})
    assert dict(other.target.details)["target"] == "zcu102-b4096"


@pytest.mark.parametrize("text", ["rpc", "=x", "rpc=", "a b=c"])
def test_what_is_no_name_and_value_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        cli.name_and_value(text)
