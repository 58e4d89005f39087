#!/usr/bin/env bash
# One machine, all of its GPUs: bash examples/torchrun.sh RECIPE OUT. The same command goes on where it was stopped, also
# with another number of processes (train.batch, the total, must divide by it).
set -euo pipefail
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT="${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-240}"  # seconds to save in when told to stop
exec torchrun --standalone --nproc-per-node "${PROCESSES:-gpu}" -m condistill run "$1" --out "$2"
