"""Random networks of timm: they differ, repeat, and can be exported; without timm the remedy is said."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import pytest
from commands import collect

from backends.kernels.files import read_model
from backends.kernels.graph import optimised
from compofa.errors import RunFailed, Unavailable
from hwbench.profiling import families

needs_timm = pytest.mark.skipif(
    find_spec("timm") is None or find_spec("torchvision") is None,
    reason="timm is not installed: pip install 'hwbench[networks]'",
)


def test_the_same_seed_draws_the_same_networks() -> None:
    one, same, other = ([n.name for n in islice(families.random_networks(seed), 40)] for seed in (3, 3, 4))
    assert one == same != other and len(set(one)) > 35


def test_without_timm_the_remedy_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hwbench.extras.find_spec", lambda name: None)
    with pytest.raises(Unavailable, match=r"hwbench\[networks\]"):
        families.check_timm()
    assert collect.main(["--budget", "5"]) == 3
    assert "collecting kernels without ONNX files needs timm" in capsys.readouterr().err


@needs_timm
@pytest.mark.slow
def test_networks_of_every_family_are_exported_and_cut(tmp_path: Path) -> None:
    families.check_timm()
    count = len(families.DRAWN) + len(families.GENERATED)
    failed = []
    for network in islice(families.random_networks(0), count):
        path = tmp_path / "network.onnx"
        try:
            families.export(network, path)
        except RunFailed as error:
            failed.append(str(error))
            continue
        with optimised(read_model(path), 1) as made:
            assert all(cut.kernel for cut in made.cuts), network.name
    assert len(failed) <= 2, failed  # some settings do not go together
