#!/usr/bin/env bash
# Prepares a large collection with Apache Beam, on one of its runners.
#
#   pip install -e '.[beam]'
#   launch/prepare_beam.sh direct   --config=configs/crnn.py --config.data...
#   PROJECT=mine REGION=europe-west4 BUCKET=gs://mine \
#     launch/prepare_beam.sh dataflow --config=configs/crnn.py --config.data...
#   FLINK_MASTER=host:8081 WORKER_IMAGE=mine launch/prepare_beam.sh flink ...
#   SPARK_MASTER=host:7077 WORKER_IMAGE=mine launch/prepare_beam.sh spark ...
#
# Dataflow also needs: pip install 'apache-beam[gcp]' gcsfs. The workers of Flink
# and Spark need Beam's image (apache/beam_python3.11_sdk) with this package
# installed, and gcsfs or s3fs if the tracks are in a bucket.
#
# All workers must be able to reach the tracks (config.data.root of a manifest) on
# a shared disk, gs:// or s3://, and the records (config.data.prepared_dir) on a
# shared disk or gs://. With --dry_run as the first argument it only prints the
# command.
set -euo pipefail
cd "$(dirname "$0")/.."
dry_run=
if [ "${1:-}" = --dry_run ]; then
  dry_run=1
  shift
fi
runner="${1:-}"
case "$runner" in
  direct) # this machine
    options="runner=DirectRunner,direct_running_mode=multi_processing"
    options+=",direct_num_workers=${NUM_WORKERS:-0}" # 0: one per core
    ;;
  dataflow) # workers install this package from its checkout, and its dependencies
    options="runner=DataflowRunner,project=${PROJECT:?},region=${REGION:?}"
    options+=",temp_location=${BUCKET:?}/tmp,setup_file=./setup.py"
    options+=",requirements_file=launch/beam_requirements.txt"
    options+=",max_num_workers=${NUM_WORKERS:-64}"
    ;;
  flink)
    options="runner=FlinkRunner,flink_master=${FLINK_MASTER:?}"
    options+=",environment_type=DOCKER,environment_config=${WORKER_IMAGE:?}"
    options+=",parallelism=${NUM_WORKERS:-8}"
    ;;
  spark)
    options="runner=SparkRunner,spark_master_url=spark://${SPARK_MASTER:?}"
    options+=",environment_type=DOCKER,environment_config=${WORKER_IMAGE:?}"
    ;;
  *)
    echo "usage: $0 [--dry_run] direct|dataflow|flink|spark FLAGS" >&2
    exit 2
    ;;
esac
shift
run=(mgc prepare "$@" "--beam_pipeline_options=$options")
if [ -n "$dry_run" ]; then
  printf '%q ' "${run[@]}"
  echo
  exit
fi
exec "${run[@]}"
