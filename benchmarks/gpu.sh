#!/usr/bin/env bash
# Tables of a GPU, validated on subnets they were not calibrated on; one JSON report, one table last. See docs/gpu.md.
#   benchmarks/gpu.sh --prepare 8.9                 # anywhere, before: TensorRT-RTX's engines for such a GPU
#   benchmarks/gpu.sh --out docs/results/gpu.json   # on the device: all that it has, as far as it came
#   benchmarks/gpu.sh --device cpu                  # the same steps without a GPU, in a few minutes
# On a bare machine the packages of gpu_wheels.sh are used, if they were installed.
set -euo pipefail
cd "$(dirname "$0")/.."
PACKAGES=${PACKAGES:-$PWD/gpu-packages}
[ ! -d "$PACKAGES" ] || PYTHONPATH="$PACKAGES${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python3}" benchmarks/gpu_report.py "$@"
