#!/usr/bin/env bash
# The wheels that a bare GPU machine (Linux, x86-64, Python 3.12, torch, onnx) lacks. See docs/gpu.md.
#   benchmarks/gpu_wheels.sh collect [FOLDER]            # where there is a network: download, cut what is large
#   benchmarks/gpu_wheels.sh install [FOLDER] [TARGET]   # on the device: join, check, install beside its packages
# FOLDER is gpu-wheels, TARGET gpu-packages unless given; git ignores both. Files of 48 MB at most can be carried over
# one by one; `install` works with what has arrived, and says what has not.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
export PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
MOST_BYTES=${MOST_BYTES:-48000000}
# Pinned in constraints.txt, but for ONNX Runtime's build for CUDA, which takes the place of the one pinned there.
PACKAGES=${PACKAGES:-moocore xgboost-cpu cffi pycparser tensorrt-rtx-cu13 tensorrt-rtx-cu13-bindings
    tensorrt-rtx-cu13-libs onnxruntime-gpu flatbuffers}

# Of a package that comes as source only (tensorrt-rtx-cu13: a module that imports the bindings).
pure_wheel() {
    PIP_CONSTRAINT=constraints.txt "$PYTHON" -m pip wheel --quiet --no-deps --wheel-dir "$2" "$1" 2>/dev/null &&
        ls "$2/${1//-/_}"-*-none-any.whl > /dev/null
}

collect() {
    local folder=$1 package
    mkdir -p "$folder"
    for package in $PACKAGES; do
        PIP_CONSTRAINT=constraints.txt "$PYTHON" -m pip download --quiet --dest "$folder" --no-deps --only-binary=:all: \
            --python-version 3.12 --implementation cp --abi cp312 --abi abi3 --abi none \
            --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 \
            --platform manylinux2014_x86_64 --platform any "$package" 2>/dev/null ||
            pure_wheel "$package" "$folder" ||
            echo "gpu_wheels: no wheel of $package; what needs it will be reported as unavailable" >&2
    done
    cd "$folder"
    sha256sum ./*.whl > SHA256
    find . -name '*.whl' -size "+$((MOST_BYTES - 1))c" | while read -r wheel; do
        split --bytes="$MOST_BYTES" --suffix-length=3 "$wheel" "$wheel.part-"
        rm "$wheel"
    done
    ls -l
}

install() {
    local folder=$1 target first wheel
    mkdir -p "$2"
    target=$(cd "$2" && pwd)
    cd "$folder"
    for first in ./*.part-aaa; do
        [ -e "$first" ] || continue
        wheel=${first%.part-aaa}
        cat "$wheel".part-* > "$wheel"
    done
    while read -r sum wheel; do
        if [ ! -e "$wheel" ]; then
            echo "gpu_wheels: $wheel has not arrived" >&2
        elif ! echo "$sum  $wheel" | sha256sum --check --quiet --status; then
            echo "gpu_wheels: $wheel is not whole: some part of it has not arrived" >&2
        else
            "$PYTHON" -m pip install --quiet --no-index --no-deps --upgrade --target "$target" "$wheel" ||
                echo "gpu_wheels: $wheel cannot be installed" >&2
        fi
    done < SHA256
}

case ${1:-} in
    collect) collect "${2:-gpu-wheels}" ;;
    install) install "${2:-gpu-wheels}" "${3:-gpu-packages}" ;;
    *)
        sed -n '2,6s/^# //p' "$0" >&2
        exit 2
        ;;
esac
