"""The commands, by what they are for, with an example of each. Standard library only: every ``--help`` loads it."""

from __future__ import annotations

TASKS = {
    "measure a device": {
        "doctor": "say what this machine can measure with, and how noisily",
        "build_lut": "measure the blocks of a space into a lookup table",
        "validate": "compare a table's sums with whole networks, and calibrate them",
        "tables": "convert, show, fill, merge and compare lookup tables",
        "engines": "build the engines of a table for a GPU that is elsewhere, with TensorRT-RTX",
        "verify": "compare what compiled blocks compute with ONNX Runtime, on a target or emulated",
    },
    "choose a network": {
        "search": "find the most accurate subnet within a latency, or the whole frontier",
        "pareto": "draw and compare accuracy-latency frontiers",
        "report": "show frontiers, trust and costs of several devices on one page, to decide by",
        "couplings": "judge couplings of depth with the other choices by the frontiers they make on a device",
        "specialize": "cut a subnet out of a supernet, measure it, and export it",
    },
    "look into a network": {
        "describe": "show what a network is made of: blocks, MACs, parameters, activations, latency",
        "trace": "show where the modelled cycles of a network on an FPGA go",
        "profile": "show where an ONNX model's time goes on this machine, kernel by kernel",
        "collect": "time the kernels that tell most about networks in general",
    },
    "learn from measurements": {
        "fit": "learn the latency of subnets from measurements of some of them",
        "predict": "give the latency of subnets by a fitted model, or of any ONNX model by a table of kernels",
        "check": "judge the latency models by golden measurements: the gate for CI",
    },
    "train": {
        "train": "train a supernet by a recipe",
        "evaluate": "measure the accuracy of subnets",
        "reproduce": "train, evaluate and search by the papers' recipes over several seeds, and draw up their table",
    },
}
"""What one wants to do -> the commands that do it -> what each does."""

COMMANDS = {name: text for commands in TASKS.values() for name, text in commands.items()}
"""Module of this package -> what it does."""

_ARCH = "r24-k3e3_k3e3-k5e4_k5e4_k5e4-k3e3_k3e3-k3e6_k3e6_k3e6_k3e6-k5e3_k5e3"
EXAMPLES = {
    "build_lut": (
        "--backend onnxruntime",
        "--backend onnxruntime --budget 122 --out quick.jsonl",
        "--backend fpga --target zcu102-b4096 --family imagenet-w1.0",
    ),
    "check": ("--golden golden --freeze phone.jsonl", "--golden golden --junit check.xml"),
    "collect": ("--budget 600 --out kernels.jsonl",),
    "couplings": ("--top 5", "--cost macs --keep-fixed"),
    "describe": (_ARCH, f"{_ARCH} --lut phone.jsonl"),
    "doctor": ("", "--json"),
    "engines": ("--family imagenet-w1.0 --compute-capability 8.9 --batch 64",),
    "evaluate": (
        "--supernet runs/compofa/supernet.safetensors --space compofa --out compofa.accuracy.jsonl",
    ),
    "fit": (
        "--measured measured.csv --column measured_ms --family glyphs --out model.json",
        "--accuracy measured.csv --family imagenet-w1.0 --out own.predictor.safetensors",
    ),
    "pareto": (
        "--space compofa --space ofa --out pareto.png",
        "--lut phone.jsonl --lut server=server.jsonl --out devices.png",
        "--x macs --csv subnets.csv",
    ),
    "predict": (
        "--model model.json --subnets candidates.csv --out predicted.csv",
        "--onnx model.onnx --lut kernels.jsonl",
    ),
    "profile": ("model.onnx --out roofline.png", "model.onnx --precision int8 --csv kernels.csv"),
    "report": ("--lut phone.jsonl server.jsonl --out report.html",),
    "reproduce": ("--out runs/fast --fast",),
    "search": (
        "--space compofa --latency-ms 0.1 --latency-ms 0.15",
        "--space ofa --csv frontier.csv",
        "--lut A=phone.jsonl --latency-ms A=20 --lut B=server.jsonl --latency-ms B=5",
    ),
    "specialize": (
        "--supernet runs/compofa/supernet.safetensors --space compofa --latency-ms 0.1 --out subnet",
    ),
    "tables": (
        "show phone.jsonl",
        "fill phone.jsonl --resolutions 128:224:4 --out filled.jsonl",
        "diff old.jsonl new.jsonl --fail-over 5",
    ),
    "trace": ("--target zcu102-b4096 --family imagenet-w1.0 --out cycles.png",),
    "train": (
        "--recipe glyphs-teacher --out runs/teacher",
        "--recipe glyphs-compofa --teacher runs/teacher/supernet.safetensors --out runs/compofa",
    ),
    "validate": ("--lut phone.jsonl --subnets 100", "--lut phone.jsonl --measured networks.csv"),
    "verify": ("--backend tvm --target raspberry-pi4 --emulate",),
}
"""Command -> arguments that make sense, each a line of its help."""


def examples(name: str) -> str:
    """The last paragraph of a command's help."""
    lines = [f"  hwbench {name} {arguments}".rstrip() for arguments in EXAMPLES[name]]
    return "\n".join(["examples:", *lines])
