#!/usr/bin/env bash
# The same through accelerate and its own settings (accelerate config): bash examples/accelerate.sh RECIPE OUT
set -euo pipefail
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT="${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-240}"  # seconds to save in when told to stop
exec accelerate launch --num_processes "${PROCESSES:-1}" -m condistill run "$1" --out "$2"
