#!/usr/bin/env bash
# Trains on all GPUs of this machine. Run the same command again to resume.
#
#   pip install -e '.[cuda]'
#   launch/local_gpu.sh --config=configs/crnn.py --workdir=runs/crnn
#
# With --dry_run as the first argument it only prints the command.
set -euo pipefail
cd "$(dirname "$0")/.."
export JAX_PLATFORMS="${JAX_PLATFORMS:-cuda}"
run=(python -m mgc_jax.main)
if [ "${1:-}" = --dry_run ]; then
  shift
  printf '%q ' env "JAX_PLATFORMS=$JAX_PLATFORMS" "${run[@]}" "$@"
  echo
  exit
fi
exec "${run[@]}" "$@"
