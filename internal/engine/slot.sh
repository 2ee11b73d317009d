#!/bin/sh
# Runs one unit of a slot and leaves what the target reads, in a directory of its own of a volume:
#   began  once it runs      log   what it printed      exit   its exit code, once it has ended
# usage: slot DIRECTORY SECONDS-FROM-TERM-TO-KILL COMMAND…
dir=$1 patience=$2
shift 2
find "${dir%/*}" -mindepth 1 -maxdepth 1 -mmin +120 -exec rm -rf {} + 2>/dev/null # of earlier runs
mkdir -p "$dir" && : >"$dir/log" || exit 70
if ! command -v -- "$1" >/dev/null 2>&1; then
  echo "no program $1 in the image" >"$dir/missing"
  exit 127
fi

"$@" </dev/null >>"$dir/log" 2>&1 &
pid=$!
trap 'kill -TERM $pid; (sleep "$patience"; kill -KILL $pid) 2>/dev/null &' TERM INT
: >"$dir/began"
while :; do # a signal ends the wait, not the unit
  wait "$pid"
  code=$?
  kill -0 "$pid" 2>/dev/null || break
done
echo "$code" >"$dir/exit"
exit "$code"
