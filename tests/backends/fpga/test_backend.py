"""The backend: modelled figures that add up, and refusals in one line."""

from __future__ import annotations

import numpy as np
import pytest

from backends import registry
from backends.base import Settings, Target
from backends.fpga.backend import FpgaBackend
from backends.fpga.target import load_target, target_names
from compofa.spaces.registry import get_family
from compofa.spaces.space import get_space

SPACE = get_space("ofa", get_family("imagenet-w1.2"))


def backend(target: str = "zcu102-b4096", **settings: object) -> FpgaBackend:
    return FpgaBackend(Settings("int8", options={"target": target}, **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", target_names())
def test_every_target_answers_for_every_block(name: str) -> None:
    blocks = SPACE.all_blocks((128, 224))
    found = backend(name).block_latencies(blocks)
    assert all(m.origin == "modelled" and m.cycles and m.latency_ms > 0 for m in found)
    target = load_target(name)
    assert all(m.latency_ms == target.milliseconds(m.cycles or 0) for m in found)


def test_a_network_is_its_blocks_and_the_call() -> None:
    one = backend()
    rng = np.random.default_rng(0)
    networks = [SPACE.blocks(SPACE.sample(rng)) for _ in range(5)]
    for network, whole in zip(networks, one.network_latencies(networks), strict=True):
        parts = [m.cycles or 0 for m in one.block_latencies(network)]
        assert whole.cycles == sum(parts) + one.accelerator.call_cycles


def test_cores_share_a_batch_and_do_not_speed_up_an_image() -> None:
    (network,) = [SPACE.blocks(SPACE.sample(np.random.default_rng(1)))]
    cycles = {
        (batch, threads): backend(batch=batch, threads=threads).block_latencies(network)[5].cycles
        for batch, threads in ((1, 1), (1, 3), (3, 3), (3, 1), (4, 3))
    }
    assert cycles[1, 1] == cycles[1, 3] == cycles[3, 3]
    assert cycles[3, 1] == 3 * cycles[1, 1]  # type: ignore[operator]
    assert cycles[4, 3] == 2 * cycles[1, 1]  # type: ignore[operator]


def test_the_target_says_that_it_is_modelled_and_by_what() -> None:
    target = backend("kv260-b4096").target
    assert "modelled" in target.device and "modelled" in str(target)
    assert dict(target.details) == {
        "target": "kv260-b4096",
        "parameters": load_target("kv260-b4096").digest,
    }
    assert Target.from_dict(target.to_dict()) == target


def test_it_is_found_by_name() -> None:
    assert registry.load("fpga") is FpgaBackend
    assert registry.available()["fpga"] is None


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (Settings("fp32"), "cannot compute in fp32; it has int8"),
        (Settings("int8", options={"target": "zcu999"}), "unknown target 'zcu999'"),
        (Settings("int8", options={"tune": "yes"}), "no option tune"),
        (Settings("int8", threads=4), "1 to 3 on zcu102-b4096, not 4"),
        (Settings("int8", batch=0), "at least 1"),
    ],
)
def test_what_it_cannot_do_is_refused(settings: Settings, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        FpgaBackend(settings)


def test_nothing_gives_nothing() -> None:
    assert backend().block_latencies([]) == []
