"""How well kernels predict whole models: ``python benchmarks/bench_kernels.py --folder FOLDER``.

Published networks of timm with random weights (extra networks) are exported and profiled, which takes some seconds
each; whatever is in the folder already is used again. None of them is among those that ``hwbench collect`` draws.
Printed is, with the load of the machine:

- whole models from their own measured kernels, each predicted by a calibration on the others;
- whole models that were never run, from a table that ``hwbench collect --budget 600`` measured, and how often the
  intervals hold;
- how long profiles and collecting took, and what a profile holds in memory;
- whether kernels that were cut out give the network's own intermediate values.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from backends.kernels.files import read_model
from backends.kernels.kernel import Kernel
from backends.kernels.verify import errors
from compofa.errors import HwbenchError
from hwbench.profiling import families
from hwbench.profiling.collecting import collect
from hwbench.profiling.measuring import Profiler
from hwbench.profiling.tables import ProfileTable
from lut.kernels.calibrated import NetworkModel
from lut.kernels.table import KernelTable, load

NAMES = """
resnet18 vit_tiny_patch16_224 efficientnet_b0 resnet34 resnet26d resnet14t resnetv2_18 resnext50_32x4d
seresnet18 ecaresnet26t skresnet18 res2net50_14w_8s regnetx_002 regnetx_004 regnetx_008 regnety_002 regnety_004
regnety_008 mobilenetv2_050 mobilenetv2_075 mobilenetv2_100 mobilenetv2_140 mobilenetv3_small_050
mobilenetv3_small_100 mobilenetv3_large_100 mobilenetv4_conv_small efficientnet_b1 efficientnet_lite0 tinynet_a
tinynet_c tinynet_e mnasnet_100 spnasnet_100 fbnetc_100 semnasnet_075 mixnet_s efficientnetv2_rw_t
tf_efficientnetv2_b0 lcnet_050 lcnet_100 hardcorenas_a ghostnet_050 ghostnet_100 mobileone_s0 mobileone_s1
repvgg_a0 repghostnet_100 rexnet_100 rexnetr_200 densenet121 vgg11 dla34 dla46_c hrnet_w18_small selecsls42b
cspresnet50 cspdarknet53 darknet17 vovnet39a ese_vovnet19b_dw dpn48b inception_v3 convnext_atto convnext_femto
convnext_pico convnext_nano convnextv2_atto convnextv2_femto edgenext_xx_small edgenext_x_small
inception_next_tiny deit_tiny_patch16_224 deit3_small_patch16_224 vit_small_patch32_224 vit_small_patch16_224
vit_tiny_r_s16_p8_224 eva02_tiny_patch14_224 flexivit_small pit_ti_224 pit_xs_224 cait_xxs24_224
xcit_nano_12_p16_224 xcit_tiny_12_p16_224 convit_tiny crossvit_tiny_240 crossvit_9_240 coat_tiny
tnt_s_legacy_patch16_224 visformer_tiny swin_tiny_patch4_window7_224 swin_s3_tiny_224 pvt_v2_b0 pvt_v2_b1
twins_svt_small poolformer_s12 poolformerv2_s12 caformer_s18 convformer_s18 mixer_s32_224 mixer_s16_224
gmixer_24_224 gmlp_ti16_224 gmlp_s16_224 resmlp_12_224 sequencer2d_s mobilevit_xxs mobilevit_xs mobilevit_s
mobilevitv2_050 mobilevitv2_075 mobilevitv2_100 levit_128s levit_128 levit_192 efficientformer_l1
efficientformerv2_s0 efficientformerv2_s1 efficientvit_b0 efficientvit_b1 efficientvit_m0 efficientvit_m2
efficientvit_m4 fastvit_t8 fastvit_t12 fastvit_s12 repvit_m1 tiny_vit_5m_224 nextvit_small starnet_s1 starnet_s2
mambaout_femto hgnetv2_b0 coatnet_nano_rw_224 maxvit_pico_rw_256 botnet26t_256 lambda_resnet26t
focalnet_tiny_srf davit_tiny nest_tiny hiera_tiny_224 shvit_s1 swiftformer_xs rdnet_tiny
"""
PUBLISHED = NAMES.split()
TIMED = ("resnet18", "vit_tiny_patch16_224", "efficientnet_b0")
LARGE = (*TIMED, "vgg11")
VERIFIED = 15
ACCURACY = 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder", type=Path, required=True, help="for models, profiles and the collected table"
    )
    parser.add_argument("--networks", type=int, default=100, help="published networks")
    parser.add_argument("--backend", default="onnxruntime", help="the runtime; another one collects nothing")
    parser.add_argument("--budget", type=int, default=600, help="kernels to collect")
    parser.add_argument("--no-verify", action="store_true", help="leave out the intermediate values")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    profiler = Profiler(backend=args.backend)
    print(f"target {profiler.backend.target}; load average {os.getloadavg()[0]:.1f}")
    collects = args.backend == "onnxruntime"
    collected = collected_table(profiler, args.folder, args.budget) if collects else None
    profiles = list(published(profiler, args.folder, args.networks))
    report_own(profiles)
    if collected:
        report_unseen(collected, profiles)
        report_memory(args.folder, [row["name"] for row in profiles if row["name"] in LARGE])
    if not args.no_verify:
        report_values(profiler, args.folder, [row["name"] for row in profiles[:VERIFIED]])


def collected_table(profiler: Profiler, folder: Path, budget: int) -> KernelTable:
    path = folder / f"collected-{budget}.jsonl"
    if not path.exists():
        start, cpu = time.monotonic(), time.process_time()
        with ProfileTable(profiler.backend, path) as table:
            found = collect(profiler, table, budget)
        print(
            f"collecting {found.kernels} kernels of {found.networks} networks: {time.monotonic() - start:.0f} s, "
            f"{time.process_time() - cpu:.0f} s of processor time; load average {os.getloadavg()[0]:.1f}"
        )
    return load(path)


# --- profiles ---


def published(profiler: Profiler, folder: Path, count: int) -> Any:
    name = profiler.backend.name
    path = folder / ("profiles.jsonl" if name == "onnxruntime" else f"profiles-{name}.jsonl")
    there = {}
    if path.exists():
        there = {row["name"]: row for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())}
    given = 0
    for name in PUBLISHED:
        if given == count:
            return
        if name not in there:
            try:
                there[name] = profiled(profiler, export(folder, name))
            except HwbenchError as error:
                print(f"left out: {name}: {error}")
                continue
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(there[name]) + "\n")
        given += 1
        yield there[name]


def export(folder: Path, name: str) -> Path:
    path = folder / f"{name}.onnx"
    if not path.exists():
        families.check_timm()
        import timm

        side = timm.create_model(name).default_cfg["input_size"][-1]
        network = families.RandomNetwork(name, side, lambda: timm.create_model(name, exportable=True))
        families.export(network, path)
    return path


def profiled(profiler: Profiler, path: Path) -> dict[str, Any]:
    cpu = time.process_time()
    found = profiler.profile(read_model(path))
    return {
        "name": path.stem,
        "first_ms": found.latency.latency_ms,
        "second_ms": found.again.latency_ms,
        "nodes": len(found.nodes),
        "seconds": found.seconds,
        "cpu_seconds": time.process_time() - cpu,
        "load": os.getloadavg()[0],
        "kernels": [
            [k.to_dict(), n, found.kernels[k].latency_ms]
            for k, n in found.counts.items()
            if k in found.kernels
        ],
    }


def measured_ms(row: dict[str, Any]) -> float:
    return float(row["first_ms"] + row["second_ms"]) / 2


# --- figures ---


def told(what: str, error: np.ndarray, names: list[str]) -> None:
    """`error`: predicted over measured, less 1."""
    worst = ", ".join(f"{names[i]} {100 * error[i]:+.0f} %" for i in np.argsort(-np.abs(error))[:5])
    print(
        f"{what}: {len(error)} networks, MAPE {100 * np.abs(error).mean():.2f} %, within 10 % "
        f"{100 * np.mean(np.abs(error) <= 0.1):.1f} %, within 5 % {100 * np.mean(np.abs(error) <= 0.05):.1f} % "
        f"(farthest off: {worst})"
    )


def report_own(profiles: list[dict[str, Any]]) -> None:
    first, second = (np.array([row[key] for row in profiles]) for key in ("first_ms", "second_ms"))
    print(f"repeatability of whole networks: {100 * np.abs(second / first - 1).mean():.2f} %")
    names = [row["name"] for row in profiles]
    sums = [sum(n * ms for _, n, ms in row["kernels"]) for row in profiles]
    told("plain sum of own kernels", np.array(sums) / (first + second) * 2 - 1, names)
    error = np.exp(-own_errors(profiles)) - 1
    told("own kernels, calibrated on the other networks", error, names)
    told("  of which the first 40", error[:40], names)
    for row in profiles:
        if row["name"] in TIMED and "seconds" in row:
            print(
                f"profile {row['name']}: {row['seconds']:.1f} s, {row['cpu_seconds']:.1f} s of processor time; load "
                f"average {row['load']:.1f}"
            )


def own_errors(profiles: list[dict[str, Any]]) -> np.ndarray:
    """Log of measured over predicted, each network from the kernels of its own profile."""
    networks = []
    for row in profiles:
        kernels = {Kernel.from_dict(fields): (nodes, ms) for fields, nodes, ms in row["kernels"]}
        networks.append((kernels, measured_ms(row)))
    counts = [{k: nodes for k, (nodes, _) in kernels.items()} for kernels, _ in networks]
    times = [{k: ms for k, (_, ms) in kernels.items()} for kernels, _ in networks]
    return NetworkModel.leave_one_out(counts, times, np.array([ms for _, ms in networks]))


def report_unseen(table: KernelTable, profiles: list[dict[str, Any]]) -> None:
    start = time.monotonic()
    model = NetworkModel(table)
    found = []
    for row in profiles:
        counts = {Kernel.from_dict(fields): nodes for fields, nodes, _ in row["kernels"]}
        found.append(model.predict(counts))
    measured = np.array([measured_ms(row) for row in profiles])
    error = np.array([p.latency_ms for p in found]) / measured - 1
    told(f"never run, from {len(table.entries)} collected kernels", error, [row["name"] for row in profiles])
    held = [
        p.low_ms <= ms <= p.high_ms for p, ms in zip(found, measured, strict=True) if p.low_ms and p.high_ms
    ]
    share = np.mean([p.known_share for p in found])
    print(
        f"intervals, nominal 90 %: hold {100 * np.mean(held):.1f} %; {100 * share:.0f} % of the time was in kernels of "
        f"the table; predicting took {time.monotonic() - start:.1f} s, learning included"
    )


def report_memory(folder: Path, names: list[str]) -> None:
    """What a profile holds at most, less what one of a tiny model does."""
    least = peak_bytes(tiny(folder / "tiny.onnx"))
    for name in names:
        path = export(folder, name)
        held, size = peak_bytes(path) - least, read_model(path).size_bytes
        print(
            f"memory {name}: {held / 1e6:.0f} MB for {size / 1e6:.0f} MB, {held / size:.1f} times the model"
        )


def peak_bytes(path: Path) -> int:
    """Of a process that profiles the model at `path`."""
    command = [sys.executable, "-m", "hwbench.profile", str(path), "--no-lut", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"profile {path} failed")
    return usage.ru_maxrss * 1024


def tiny(path: Path) -> Path:
    from onnx import TensorProto, helper, save

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Exp", ["x"], ["y"])], "tiny", [x], [y])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def report_values(profiler: Profiler, folder: Path, names: list[str]) -> None:
    kernels, wrong = 0, []
    for name in names:
        with profiler.runtime.made(read_model(export(folder, name))) as made:
            for cut, error in errors(made):
                kernels += 1
                if error > ACCURACY:
                    wrong.append(f"{name} {cut.kernel} {error:.1e}")
    print(
        f"kernels of {len(names)} networks alone: {kernels - len(wrong)} of {kernels} nodes within {ACCURACY:g} of the "
        f"network's own values {wrong[:3] or ''}"
    )


if __name__ == "__main__":
    main()
