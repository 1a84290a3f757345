#!/usr/bin/env bash
# Trains on a TPU VM, or on every worker of a slice. Run the same command again to
# resume.
#
#   pip install -e '.[tpu]'
#   launch/tpu_vm.sh --config=configs/crnn.py --workdir=/shared/runs/crnn
#
# On a slice, run it on all workers at once, with a workdir that they share:
#   gcloud compute tpus tpu-vm ssh NAME --worker=all \
#     --command='mgc_jax/launch/tpu_vm.sh --config=configs/crnn.py --workdir=...'
#
# With --dry_run as the first argument it only prints the command.
set -euo pipefail
cd "$(dirname "$0")/.."
export JAX_PLATFORMS="${JAX_PLATFORMS:-tpu}"
run=(python -m mgc_jax.main --distributed)
if [ "${1:-}" = --dry_run ]; then
  shift
  printf '%q ' env "JAX_PLATFORMS=$JAX_PLATFORMS" "${run[@]}" "$@"
  echo
  exit
fi
exec "${run[@]}" "$@"
