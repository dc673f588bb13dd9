from __future__ import annotations

import json
from pathlib import Path

import numpy

from backends.machine.host import cpu_name, fingerprint, package_versions


def test_the_fingerprint_is_of_this_machine_and_json_ready() -> None:
    fields = json.loads(json.dumps(fingerprint().to_dict()))
    assert fields["cores"] >= 1 and fields["cpu"]
    assert fields["packages"] == {"numpy": numpy.__version__}
    assert set(fields["affinity"]) <= set(range(fields["cores"])) or not fields["affinity"]


def test_packages_that_are_not_installed_are_left_out() -> None:
    assert package_versions(["numpy", "no-such-package"]) == (("numpy", numpy.__version__),)


def test_the_name_of_the_processor(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor : 0\nmodel name\t: Fast   CPU @ 3 GHz\n")
    assert cpu_name(file) == "Fast CPU @ 3 GHz"
    file.write_text("processor : 0\nModel : Raspberry Pi 4\n")
    assert cpu_name(file) == "Raspberry Pi 4"
    assert cpu_name(tmp_path / "none")
