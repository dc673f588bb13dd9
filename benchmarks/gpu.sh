#!/usr/bin/env bash
# Tables of a GPU, validated on subnets they were not calibrated on; one JSON report. See docs/gpu.md.
#   benchmarks/gpu.sh --out docs/results/gpu.json          # everything that this machine has
#   benchmarks/gpu.sh --small --device cpu --out x.json    # the same steps in a minute, without a GPU
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python3}" benchmarks/gpu_report.py "$@"
