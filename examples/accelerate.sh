#!/usr/bin/env bash
# The same through accelerate and its own settings (accelerate config): bash examples/accelerate.sh RECIPE OUT
set -euo pipefail
exec accelerate launch --num_processes "${PROCESSES:-1}" -m condistill run "$1" --out "$2"
