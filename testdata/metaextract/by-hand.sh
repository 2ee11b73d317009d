#!/usr/bin/env bash
# The release checklist from before the pipeline, as a careful person would type it: one step
# after the other, on a scratch copy, with a PostgreSQL and a Redis that live as long as the run.
#
#   by-hand.sh [SOURCE [NEXT]]
#
# SOURCE is the running release (default: this folder). NEXT, laid over it, is the release to
# make; without it SOURCE is released over an empty database. Needs Node, Python 3.11 or later,
# PostgreSQL, Redis, ExifTool, ffprobe, libmagic, curl; gitleaks is used when it is on PATH.
set -euo pipefail

source_dir=$(cd "${1:-$(dirname "$0")}" && pwd)
next_dir=${2:+$(cd "$2" && pwd)}

scratch=$(mktemp -d)
log=$scratch/step.log
current="prepare"
app_pid="" redis_pid="" postgres_data=""
export CI=true PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1

# --- steps ---------------------------------------------------------------------------------

now() { echo "${EPOCHREALTIME:-$(date +%s)}"; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f", b - a }'; }

step() { # NAME COMMAND…: runs it with its output in the log, which is shown if it fails
  current=$1
  shift
  local begin
  begin=$(now)
  "$@" >"$log" 2>&1
  printf '%7s s  %s\n' "$(since "$begin")" "$current"
}

finish() {
  local status=$?
  trap - EXIT
  if ((status != 0)); then
    echo "FAILED: $current" >&2
    cat "$log" >&2 2>/dev/null || true
  fi
  stop_app >/dev/null 2>&1 || true
  [[ -z $redis_pid ]] || { kill "$redis_pid" && wait "$redis_pid"; } 2>/dev/null || true
  [[ -z $postgres_data ]] || as_postgres pg_ctl -D "$postgres_data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$scratch"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- servers -------------------------------------------------------------------------------

if ! command -v initdb >/dev/null; then
  for bin in /usr/lib/postgresql/*/bin; do [[ -x $bin/initdb ]] && PATH=$bin:$PATH; done
fi

as_postgres() { # PostgreSQL refuses to run as root
  if ((EUID == 0)); then runuser -u postgres -- env PATH="$PATH" "$@"; else "$@"; fi
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

wait_for() { # COMMAND…: until it succeeds, for at most a minute
  local deadline=$((SECONDS + 60))
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || { echo "not within 60 s: $*"; return 1; }
    sleep 0.1
  done
}

start_postgres() {
  local port folder=$scratch/postgres
  port=$(free_port)
  mkdir "$folder"
  if ((EUID == 0)); then chmod 711 "$scratch" && chown postgres "$folder"; fi
  (
    cd "$folder"
    as_postgres initdb -D "$folder/data" -U app -A trust -E UTF8 --no-sync
    as_postgres pg_ctl -D "$folder/data" -l "$folder/log" -w \
      -o "-c listen_addresses=127.0.0.1 -p $port -k '$folder'" start
  )
  postgres_data=$folder/data
  createdb -h 127.0.0.1 -p "$port" -U app test
  createdb -h 127.0.0.1 -p "$port" -U app production
  test_url=postgres://app@127.0.0.1:$port/test
  production_url=postgres://app@127.0.0.1:$port/production
}

start_redis() {
  local port
  port=$(free_port)
  redis-server --bind 127.0.0.1 --port "$port" --save '' --appendonly no &
  redis_pid=$!
  wait_for redis-cli -p "$port" ping
  export REDIS_URL=redis://127.0.0.1:$port/0
}

migrate() { # FOLDER [DONE]: applies the journal's migrations, without those also in DONE
  local file name
  for file in "$1"/[0-9]*.sql; do
    name=$(basename "$file")
    [[ $name == *.down.sql || -n ${2:-} && -e $2/$name ]] && continue
    psql -v ON_ERROR_STOP=1 --single-transaction -f "$file" "$production_url"
  done
}

start_app() { # RELEASE PYTHONPATH
  app_port=$(free_port)
  (
    cd "$release/backend"
    export DATABASE_URL=$production_url RELEASE=$1 PYTHONPATH=$2
    exec "$venv/bin/python" -m uvicorn metaextract.app:app --host 127.0.0.1 --port "$app_port"
  ) &
  app_pid=$!
  wait_for curl -sf "http://127.0.0.1:$app_port/readyz"
}

stop_app() {
  [[ -n $app_pid ]] || return 0
  kill "$app_pid"
  wait "$app_pid" || true # uvicorn ends by the signal it was sent
  app_pid=""
}

smoke() { # RELEASE
  local url=http://127.0.0.1:$app_port
  curl -sSf "$url/healthz"
  curl -sSf "$url/readyz"
  curl -sSf "$url/version" | grep -F "\"release\":\"$1\""
  curl -sSf -F "file=@$release/backend/tests/fixtures/photo.jpg" "$url/api/extractions" | grep -F '"Make":"Acme"'
  curl -sSf "$url/api/extractions?limit=1" | grep -F '"file_name":"photo.jpg"'
}

# --- the checklist -------------------------------------------------------------------------

copy() { # FROM TO
  mkdir -p "$2"
  tar -C "$1" --exclude node_modules --exclude dist --exclude .venv -cf - . | tar -C "$2" -xf -
}

install_python() {
  python3 -m venv "$venv"
  "$venv/bin/pip" install --require-hashes -r requirements-dev.lock
}

build_wheel() {
  "$venv/bin/pip" wheel --no-deps --no-build-isolation -w "$scratch/wheels" .
  "$venv/bin/pip" install --no-deps "$scratch"/wheels/*.whl
}

begin=$(now)
running=$scratch/running release=$scratch/release venv=$scratch/venv
copy "$source_dir" "$running"
copy "$source_dir" "$release"
[[ -z $next_dir ]] || copy "$next_dir" "$release"

cd "$release"
if command -v gitleaks >/dev/null; then
  step "secrets: gitleaks" gitleaks dir --redact --no-banner .
else
  echo "      -    secrets: gitleaks is not on PATH"
fi

cd "$release/frontend"
step "frontend: npm ci" npm ci --no-audit --no-fund
step "frontend: eslint" npm run lint
step "frontend: typescript" npm run typecheck
step "frontend: unit tests" npm test
step "frontend: property tests" npm run test:property
step "frontend: vite build" npm run build

cd "$release/backend"
step "backend: venv and pip install" install_python
step "backend: ruff" "$venv/bin/ruff" check .
step "backend: mypy" "$venv/bin/mypy"
step "backend: unit tests" "$venv/bin/python" -m pytest tests/unit
step "backend: property tests" "$venv/bin/python" -m pytest tests/property
step "start PostgreSQL" start_postgres
step "start Redis" start_redis
export DATABASE_URL=$test_url
step "backend: integration tests" "$venv/bin/python" -m pytest tests/integration
unset DATABASE_URL
step "backend: wheel" build_wheel

if [[ -n $next_dir ]]; then
  step "running release: schema" migrate "$running/migrations"
  step "running release: start" start_app running "$running/backend/src"
  step "running release: smoke" smoke running
fi
step "backup: pg_dump" pg_dump -Fc -f "$scratch/backup.dump" "$production_url"
step "migrate" migrate "$release/migrations" "${next_dir:+$running/migrations}"
if [[ -n $next_dir ]]; then
  step "running release: smoke on the new schema" smoke running
  step "running release: stop" stop_app
fi
step "new release: start" start_app new ""
step "new release: smoke" smoke new
step "new release: stop" stop_app

printf '%7s s  total\n' "$(since "$begin")"
