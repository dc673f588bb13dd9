"""A provider counts only if it runs: ONNX Runtime lists those that cannot start, and falls back silently."""

from __future__ import annotations

from typing import Any

import onnx
import onnxruntime
import pytest

from backends import onnxruntime_providers
from backends.base import BackendUnavailable, CannotRun, Settings, Target
from backends.measuring import METHOD
from backends.onnxruntime_cpu import OTHER_PROVIDERS, OnnxRuntimeBackend
from backends.onnxruntime_providers import (
    CPU,
    PROVIDERS,
    Provider,
    ProviderBackend,
    open_provider_session,
    verify,
)
from compofa.blocks import Block
from compofa.errors import InputError
from compofa.graph import network_to_onnx

BLOCK = Block("mbconv", (8, 6, 6), 8, 24, kernel=3, act="relu", shortcut=True)
HOST = Provider(CPU, "onnxruntime", on_gpu=False)


def settings(provider: str, precision: str = "fp32") -> Settings:
    return Settings(precision, options={"provider": provider})


def test_the_names_on_the_command_line_are_the_providers() -> None:
    assert tuple(PROVIDERS) == OTHER_PROVIDERS


def test_the_default_is_the_cpu_and_its_target_says_how_it_was_timed() -> None:
    target = OnnxRuntimeBackend(Settings()).target
    assert dict(target.details) == {
        "clock": "thread CPU time",
        "graph_optimization": "all",
        "provider": CPU,
        "timing": METHOD,
    }
    assert OnnxRuntimeBackend(settings("cpu")).target == target
    assert OnnxRuntimeBackend.options_of(target) == {}


@pytest.mark.parametrize("short", PROVIDERS)
def test_a_target_gives_back_its_provider(short: str) -> None:
    target = Target("onnxruntime", "GPU", details=(("provider", PROVIDERS[short].name),))
    assert OnnxRuntimeBackend.options_of(target) == {"provider": short}


def test_a_provider_that_this_package_lacks_says_which_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime_providers, "cuda_reason", lambda: None)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    for short in ("cuda", "tensorrt", "openvino"):
        package = PROVIDERS[short].install
        with pytest.raises(BackendUnavailable, match=f"only {CPU}; install with: pip install {package}"):
            OnnxRuntimeBackend(settings(short))
    with pytest.raises(BackendUnavailable, match="pip install onnxruntime-ep-nv-tensorrt-rtx-cu13"):
        OnnxRuntimeBackend(settings("nv_tensorrt_rtx"))


def test_a_gpu_provider_asks_for_a_gpu_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime_providers, "cuda_reason", lambda: "there is no NVIDIA driver")
    with pytest.raises(
        BackendUnavailable, match="CUDAExecutionProvider cannot run: there is no NVIDIA driver"
    ):
        OnnxRuntimeBackend(settings("cuda"))


@pytest.mark.parametrize("short", ["tensorrt", "nv_tensorrt_rtx"])
def test_fp32_that_would_be_tf32_is_refused(monkeypatch: pytest.MonkeyPatch, short: str) -> None:
    provider = PROVIDERS[short]
    monkeypatch.setattr(onnxruntime_providers, "cuda_reason", lambda: None)
    monkeypatch.setattr(onnxruntime_providers, "_register", lambda provider: None)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [provider.name])
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    with pytest.raises(InputError, match="set NVIDIA_TF32_OVERRIDE=0 in the environment"):
        ProviderBackend(settings(short))
    ProviderBackend(settings(short, "fp16"))
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    ProviderBackend(settings(short))


def test_more_threads_than_cores_are_refused(on_host: None) -> None:
    with pytest.raises(InputError, match="5000 threads cannot run at once"):
        OnnxRuntimeBackend(Settings("fp32", threads=5000, options={"provider": "openvino"}))


def test_a_fall_back_is_noticed() -> None:
    verify([PROVIDERS["cuda"].name, CPU], PROVIDERS["cuda"])
    for found in ([CPU], [CPU, PROVIDERS["cuda"].name], []):
        with pytest.raises(BackendUnavailable, match="could not start CUDAExecutionProvider and fell back"):
            verify(found, PROVIDERS["cuda"])


def test_a_listed_provider_that_cannot_start_is_unavailable() -> None:
    """The real thing: a session that asks for a provider that this package does not have runs on the CPU."""
    model = network_to_onnx([BLOCK]).SerializeToString()
    if PROVIDERS["cuda"].name in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has the CUDA provider")
    with pytest.raises(
        BackendUnavailable, match="could not start CUDAExecutionProvider and fell back to CPU"
    ):
        open_provider_session(model, PROVIDERS["cuda"], threads=1)


@pytest.fixture
def on_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one provider that this machine surely has, as if it were another; falling back to it is no harm."""
    monkeypatch.setitem(onnxruntime_providers.PROVIDERS, "openvino", HOST)
    real = onnxruntime_providers._session
    monkeypatch.setattr(
        onnxruntime_providers,
        "_session",
        lambda model, provider, threads, fall_back: real(model, provider, threads, fall_back=True),
    )


@pytest.mark.usefixtures("on_host")
def test_blocks_and_networks_are_measured_on_a_provider() -> None:
    backend = OnnxRuntimeBackend(settings("openvino", "fp16"))
    (block,) = backend.block_latencies([BLOCK])
    (network,) = backend.network_latencies([(BLOCK, BLOCK)])
    assert dict(block.details)["alone_ms"] > 0 and network.latency_ms > 0
    assert backend.timing_s > 0
    assert backend.target.precision == "fp16"
    assert dict(backend.target.details)["provider"] == CPU


@pytest.mark.usefixtures("on_host")
def test_precisions_that_there_are_not() -> None:
    with pytest.raises(ValueError, match="no precision 'int4'; it has fp32, fp16"):
        OnnxRuntimeBackend(settings("openvino", "int4"))


@pytest.mark.usefixtures("on_host")
def test_a_model_that_the_provider_refuses_is_a_network_that_cannot_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ONNX Runtime's own refusal, of an operator that it does not know."""
    real = onnxruntime_providers.network_to_onnx

    def mistaken(*given: Any, **options: Any) -> onnx.ModelProto:
        model = real(*given, **options)
        model.graph.node[1].op_type = "SoftHswish"
        return model

    backend = ProviderBackend(settings("openvino"))
    monkeypatch.setattr(onnxruntime_providers, "network_to_onnx", mistaken)
    with pytest.raises(Exception, match="SoftHswish") as refused:
        backend.network_latencies([(BLOCK,)])
    assert refused.type is CannotRun
