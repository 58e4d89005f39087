#!/usr/bin/env bash
# One machine, all of its GPUs: bash examples/torchrun.sh RECIPE OUT. The same command goes on where it was stopped, also
# with another number of processes (train.batch, the total, must divide by it).
set -euo pipefail
exec torchrun --standalone --nproc-per-node "${PROCESSES:-gpu}" -m condistill run "$1" --out "$2"
