#!/usr/bin/env bash
# Starts a Dask cluster: on this machine, or a scheduler here and workers by ssh.
# Then give commands that know it the flag --scheduler=tcp://HOST:8786. Ctrl-C ends
# the cluster.
#
#   pip install -e '.[cluster]'        # on every host, with the same versions
#   launch/dask.sh local               # a worker for each core of this machine
#   launch/dask.sh ssh HOST1 HOST2     # a worker for each core of those hosts
#   launch/dask.sh scheduler           # only the scheduler,
#   launch/dask.sh workers ADDRESS     # and only the workers of this machine
#
# Dask runs whatever a client sends it, without asking for a password: all hosts
# must be in a private network. They share a disk with the music, the records and
# this checkout, at the same paths. With --dry_run as the first argument it only
# prints the commands.
set -euo pipefail
cd "$(dirname "$0")/.."
dry_run=
if [ "${1:-}" = --dry_run ]; then
  dry_run=1
  shift
fi
python="$(command -v python)"
port="${PORT:-8786}"
host="${HOST:-$(hostname)}"
[ "${1:-}" != local ] || host=127.0.0.1
# A worker process for each core, because decoding holds Python's lock at times.
worker=("$python" -m distributed.cli.dask_worker --nworkers="${NUM_WORKERS:-auto}"
  --nthreads=1 --no-dashboard)
scheduler=("$python" -m distributed.cli.dask_scheduler --host="$host" --port="$port"
  --no-dashboard)
address="tcp://$host:$port"

trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
start() {
  if [ -n "$dry_run" ]; then
    printf '%q ' "$@"
    echo
  else
    "$@" &
  fi
}

case "${1:-}" in
  local)
    start "${scheduler[@]}"
    start "${worker[@]}" "$address"
    ;;
  ssh)
    shift
    start "${scheduler[@]}"
    for one in "$@"; do
      start ssh -tt "$one" "$(printf '%q ' cd "$PWD") && $(printf '%q ' exec "${worker[@]}" "$address")"
    done
    ;;
  scheduler)
    start "${scheduler[@]}"
    ;;
  workers)
    start "${worker[@]}" "${2:?the address of the scheduler}"
    ;;
  *)
    echo "usage: $0 [--dry_run] local|scheduler|ssh HOST...|workers ADDRESS" >&2
    exit 2
    ;;
esac
[ -n "$dry_run" ] || echo "--scheduler=$address"
wait
