#!/bin/sh
# Runs the commands of one step of the pipeline in its container and leaves what the pipeline reads in /.pipeline/out:
#   began    when, in nanoseconds: earlier than the run that asks means that the engine took all this from its cache
#   status   "passed", "failed INDEX EXIT-CODE", "timed-out INDEX", "missing INDEX" or "no-output PATH"
#   log      what the commands printed, both streams in order (its ends as log-head and log-tail where it is long)
#   report-N the reports that are there, by their number
#   statements-N, statements-N-why
#            what the step's Nth PostgreSQL has answered to the question in the file beside this one, and what kept it from that
# It prints the same as the commands, so that whoever watches the engine sees it live.
out=${PIPELINE_OUT:-/.pipeline/out}
limit=900 dir=/src reports='' outputs='' servers=''
while [ $# -gt 0 ]; do
  case $1 in
    --limit) limit=$2 ;;       # seconds
    --dir) dir=$2 ;;           # where the commands run
    --report) reports="$reports $2" ;;  # a path without blanks: see Arguments
    --output) outputs="$outputs $2" ;;
    --statements) servers="$servers $2" ;;  # HOST/PORT
    --attempt) ;;              # makes the engine run again what has failed before
    --) shift; break ;;
  esac
  shift 2
done

rm -rf "$out" && mkdir -p "$out" "$dir" && cd "$dir" || exit 70
: >"$out/log"
now=$(date +%s%N)
case $now in *[!0-9]*) now=$(date +%s)000000000 ;; esac # busybox
echo "$now" >"$out/began"
began=$(date +%s)
tail -n +1 -f "$out/log" 2>/dev/null &
watcher=$!

# ask HOST/PORT FILE sends what is in a file, as printf %b reads it, and prints what comes back until the server hangs up
ask() {
  timeout 10 bash -c 'exec 3<>"/dev/tcp/$0" && printf %b "$(cat "$1")" >&3 && head -c 67108864 <&3' "$1" "$2"
  [ $? -ne 124 ] || echo "it took longer than 10 seconds" >&2
}

# end STATUS EXIT-CODE
end() {
  number=0
  for report in $reports; do
    number=$((number + 1))
    if [ -f "$report" ] && [ "$(wc -c <"$report")" -le 67108864 ]; then cp "$report" "$out/report-$number"; fi
  done
  number=0
  for server in $servers; do
    number=$((number + 1))
    ask "$server" "$0-question-$number" >"$out/statements-$number" 2>"$out/statements-$number-why"
  done
  size=$(wc -c <"$out/log")
  if [ "$size" -gt 4194304 ]; then
    head -c 2097152 "$out/log" >"$out/log-head"
    tail -c 2097152 "$out/log" >"$out/log-tail"
    rm "$out/log"
    echo "$size" >"$out/log-size"
  fi
  echo "$1" >"$out/status"
  sleep 0.1 # the watcher prints the last lines
  kill "$watcher" 2>/dev/null
  exit "$2"
}

index=0
for line; do # each is one command, quoted for this shell
  eval "set -- $line"
  command -v -- "$1" >/dev/null 2>&1 || end "missing $index" 127
  left=$((limit - $(date +%s) + began))
  [ "$left" -gt 0 ] || end "timed-out $index" 124
  timeout -k 2 "$left" "$@" </dev/null >>"$out/log" 2>&1
  code=$?
  if [ "$code" -ne 0 ]; then
    if [ $(($(date +%s) - began)) -ge "$limit" ]; then end "timed-out $index" 124; fi
    end "failed $index $code" "$code"
  fi
  index=$((index + 1))
done
for output in $outputs; do
  [ -e "$output" ] || end "no-output $output" 66
done
end passed 0
