"""The gate as a command: the exit code says what failed, the summary what to do."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from compofa.spaces.layout import Genotypes
from hwbench import check, shipped
from hwbench.gating import checks, models, noise
from hwbench.gating.findings import CODES
from hwbench.gating.golden import MANIFEST
from lut.calibration import Calibration, calibration_path
from lut.model import Floats

SHIPPED = Path(__file__).parents[1] / "golden"
REFERENCE = shipped.reference_table("glyphs")


CALIBRATED = {"calibrated": models.MODELS["calibrated"]}


@pytest.fixture
def calibrated_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the learned models, and with few tosses for the margins: neither is what is tested."""
    monkeypatch.setattr(noise, "TOSSES", 10)
    for name in set(models.MODELS) - set(CALIBRATED):
        monkeypatch.delitem(models.MODELS, name)


@pytest.fixture(scope="session")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A golden folder of the shipped reference table, with its baseline."""
    path = tmp_path_factory.mktemp("frozen") / "golden"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "MODELS", CALIBRATED)
        patch.setattr(noise, "TOSSES", 10)
        assert check.main(["--golden", str(path), "--freeze", str(REFERENCE), "--name", "mine"]) == 0
        assert check.main(["--golden", str(path), "--update-baseline"]) == 0
    return path


@pytest.fixture
def folder(frozen: Path, calibrated_only: None, tmp_path: Path) -> Path:
    """A copy of that folder, to be changed."""
    return Path(shutil.copytree(frozen, tmp_path / "golden"))


@pytest.fixture
def five_percent_off(monkeypatch: pytest.MonkeyPatch) -> None:
    class Off:
        def __init__(self, training: Calibration) -> None:
            self.model = training.model

        def predict(self, genotypes: Genotypes) -> Floats:
            return 1.05 * self.model.predict(genotypes)

    monkeypatch.setitem(models.MODELS, "calibrated", Off)


def test_the_project_passes_its_own_gate(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--golden", str(SHIPPED), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["exit_code"] == 0
    assert {f["verdict"] for f in document["findings"]} == {"pass"}
    assert {f["check"] for f in document["findings"]} == {"data", "coverage", "drift", "accuracy"}
    assert len({f["target"] for f in document["findings"]}) == 3
    assert document["environment"]["numpy"]


def test_from_a_table_to_a_green_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "golden"
    assert check.main(["--golden", str(folder), "--freeze", str(REFERENCE)]) == 0
    made = capsys.readouterr().out
    assert "100, half to fit on" in made and f"next           hwbench check --golden {folder}" in made
    assert check.main(["--golden", str(folder), "--update-baseline"]) == 0
    assert "glyphs-reference baseline: none" in capsys.readouterr().out
    assert check.main(["--golden", str(folder)]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "all passed; exit code 0" in shown.out
    assert all(
        word in shown.out for word in ("verdict", "drift", "accuracy", "coverage", "MAPE", "repeatable")
    )


def test_a_model_that_got_worse(
    folder: Path,
    tmp_path: Path,
    five_percent_off: None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    summary, junit = tmp_path / "summary.md", tmp_path / "report.xml"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    capsys.readouterr()
    assert check.main(["--golden", str(folder), "--junit", str(junit)]) == CODES["accuracy"]
    shown = capsys.readouterr().out
    assert "accuracy, mine: calibrated: MAPE went from" in shown
    assert "if that is meant, --update-baseline" in shown
    assert "exit code 11" in shown
    assert "FAIL" in summary.read_text()
    suite = ElementTree.parse(junit).getroot()[0]
    assert int(suite.get("failures", "")) == len(list(suite.iter("failure"))) >= 2
    assert int(suite.get("tests", "")) == len(list(suite.iter("testcase")))


def test_an_acknowledged_change_is_green_and_was_said(
    folder: Path, five_percent_off: None, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / "baseline.json").read_bytes()
    capsys.readouterr()
    assert check.main(["--golden", str(folder), "--update-baseline"]) == 0
    said = capsys.readouterr().out
    assert "drift     mine           calibrated: 5 %" in said
    assert "calibrated: MAPE" in said and "(was" in said
    assert (folder / "baseline.json").read_bytes() != before
    assert check.main(["--golden", str(folder)]) == 0
    capsys.readouterr()
    assert check.main(["--golden", str(folder), "--update-baseline"]) == 0
    assert "nothing changed" in capsys.readouterr().out


def test_a_baseline_elsewhere(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "b.json"
    (folder / "baseline.json").rename(other)
    assert check.main(["--golden", str(folder)]) == CODES["data"]
    assert check.main(["--golden", str(folder), "--baseline", str(other)]) == 0


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "baseline cut", "baseline gone"])
def test_damaged_data_is_red_with_a_report(
    folder: Path, damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / ("baseline.json" if "baseline" in damage else "mine.test.json")
    content = path.read_bytes()
    path.unlink() if "gone" in damage else path.write_bytes(
        content[:-20] if "cut" in damage else content + b" "
    )
    junit = tmp_path / "j.xml"
    capsys.readouterr()
    assert check.main(["--golden", str(folder), "--junit", str(junit), "--json"]) == CODES["data"]
    document = json.loads(capsys.readouterr().out)
    (failed,) = (f for f in document["findings"] if f["verdict"] == "fail")
    assert failed["check"] == "data" and path.name in failed["advice"]
    assert len(list(ElementTree.parse(junit).iter("failure"))) == 1
    if "baseline" in damage:
        assert check.main(["--golden", str(folder), "--update-baseline"]) == 0
        assert check.main(["--golden", str(folder)]) == 0
    else:
        before = (folder / "baseline.json").read_bytes()
        assert check.main(["--golden", str(folder), "--update-baseline"]) == CODES["data"]
        assert "the baseline stays as it is" in capsys.readouterr().err
        assert (folder / "baseline.json").read_bytes() == before


def test_a_set_that_is_no_longer_checked_is_missed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--golden", str(folder), "--freeze", str(REFERENCE), "--name", "second"]) == 0
    assert check.main(["--golden", str(folder)]) == CODES["data"]
    assert "data, second: the baseline lacks this set" in capsys.readouterr().out
    assert check.main(["--golden", str(folder), "--update-baseline"]) == 0
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["sets"]["second"]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    capsys.readouterr()
    assert check.main(["--golden", str(folder)]) == CODES["data"]
    assert "data, second: the baseline has this set" in capsys.readouterr().out


def test_fresh_measurements_of_the_same_device(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = calibration_path(REFERENCE)  # half of them were fitted on, half are new
    assert check.main(["--golden", str(folder), "--measured", str(measured)]) == 0
    assert "device" in capsys.readouterr().out
    content = json.loads(measured.read_text())
    del content["sha256"]  # the edit is meant
    for row in content["rows"]:
        row["first_ms"] *= 1.5
        row["second_ms"] *= 1.5
    slower = tmp_path / "slower.json"
    slower.write_text(json.dumps(content))
    assert check.main(["--golden", str(folder), "--measured", str(slower)]) == CODES["device"]
    assert "device, mine: the device takes 1.5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "required: --golden"),
        (["--golden", "{folder}", "--junit", "/nowhere/j.xml"], "cannot write /nowhere/j.xml"),
        (["--golden", "{folder}", "--freeze", "/nowhere.jsonl"], "/nowhere.jsonl: No such file"),
        (
            ["--golden", "{folder}", "--freeze", "{table}"],
            "mine.jsonl is there already: delete set mine first",
        ),
        (["--golden", "{folder}", "--freeze", "{bare}"], "bare.calibration.json: No such file"),
        (["--golden", "{folder}", "--freeze", "{table}", "--update-baseline"], "not allowed with argument"),
        (
            ["--golden", "{folder}", "--baseline", "/nowhere/b.json", "--update-baseline"],
            "cannot write /nowhere",
        ),
    ],
)
def test_bad_input_is_one_line(
    folder: Path, tmp_path: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, table, bare = tmp_path / "empty", tmp_path / "mine.jsonl", tmp_path / "bare.jsonl"
    empty.mkdir()
    (empty / MANIFEST).write_text('{"format": "hwbench-golden", "schema": 1, "sets": {}}')
    for path in (table, bare):
        shutil.copy(REFERENCE, path)
    shutil.copy(calibration_path(REFERENCE), calibration_path(table))
    places = {"folder": folder, "empty": empty, "table": table, "bare": bare}
    before = {path: path.read_bytes() for path in folder.iterdir()}
    capsys.readouterr()
    assert check.main([argument.format(**places) for argument in arguments]) == 2
    shown = capsys.readouterr()
    assert says in shown.err
    assert shown.err.count("\n") == 1
    assert before == {path: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--golden", "/nowhere"], "/nowhere/golden.json: No such file"),
        (["--golden", "{empty}"], "holds no golden sets; restore it, or --freeze TABLE makes a set"),
        (["--golden", "{broken}"], "broken/golden.json: not JSON"),
        (["--golden", "{folder}", "--baseline", "/nowhere.json"], "/nowhere.json: No such file"),
        (["--golden", "{folder}", "--measured", "/nowhere.json"], "/nowhere.json: No such file"),
        (
            ["--golden", "{folder}", "--measured", "{broken}/golden.json"],
            "golden.json: not JSON",
        ),
    ],
)
def test_missing_and_broken_files_are_data_failures_with_a_report(
    folder: Path, tmp_path: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, broken, junit = tmp_path / "empty", tmp_path / "broken", tmp_path / "j.xml"
    for place, content in ((empty, '{"format": "hwbench-golden", "schema": 1, "sets": {}}'), (broken, "{")):
        place.mkdir()
        (place / MANIFEST).write_text(content)
    places = {"folder": folder, "empty": empty, "broken": broken}
    capsys.readouterr()
    given = [argument.format(**places) for argument in arguments]
    assert check.main([*given, "--junit", str(junit)]) == CODES["data"]
    shown = capsys.readouterr()
    assert says in shown.out and shown.err == ""
    suite = ElementTree.parse(junit).getroot()
    assert int(suite.get("failures", "0")) == 1
    assert says in suite.find(".//failure").get("message")  # type: ignore[union-attr]
    assert check.main([*given, "--json"]) == CODES["data"]
    assert json.loads(capsys.readouterr().out)["exit_code"] == CODES["data"]


def test_the_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"{code} {name}:" in shown for name, code in CODES.items())


# --- its page ---

PAGE = (Path(__file__).parents[2] / "docs" / "gate.md").read_text()


def test_the_page_lists_the_exit_codes() -> None:
    listed = dict(re.findall(r"^\| (\w+) \| .* \| (\d+) \|$", PAGE, re.MULTILINE))
    assert {name: int(code) for name, code in listed.items()} == CODES


def test_the_workflow_on_the_page_is_yaml_whose_command_parses() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    steps = yaml.safe_load(text)["jobs"]["check"]["steps"]
    (command,) = (step["run"] for step in steps if "hwbench" in step.get("run", "").split("#")[0])
    prefix, arguments = command.split("hwbench.check ")
    assert prefix == "python -m "
    assert check.parser().parse_args(shlex.split(arguments)).junit == Path("check.xml")


@pytest.mark.slow
def test_false_alarms_and_power_are_as_promised() -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "bench_gate.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    alarms = [int(n) for n in re.findall(r"(\d+) false alarms in 200 A/A replicates", done.stdout)]
    assert len(alarms) == 2 and max(alarms) < 0.02 * 200
    used, anew = done.stdout.split("measured anew:")
    rows = re.findall(r"^all, .*$", used, re.MULTILINE) + re.findall(
        r"^all, every target.*$", anew, re.MULTILINE
    )
    assert len(rows) == 5
    for row in rows:
        _, three, five, ten = (float(share) for share in re.findall(r"([\d.]+) \(", row))
        assert three >= 90 and five >= 99 and ten == 100, row
