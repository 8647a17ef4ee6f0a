# shellcheck shell=bash
# FerretDB (the MongoDB wire protocol) in front of PostgreSQL with the DocumentDB
# extension: a MongoDB-compatible server that package registries alone can
# provide. For Debian machines that have neither mongod nor Docker.

ferretdb_version=2.7.0
postgres_major=18

# Named after what is in it: a change of version builds anew beside the old one.
ferretdb_dir=$cache/ferretdb-$ferretdb_version-postgresql-$postgres_major
postgres_bin=/usr/lib/postgresql/$postgres_major/bin
postgres_data=/var/lib/postgresql/keylend-$postgres_port # inside the chroot

ferretdb_mark=--listen-addr=127.0.0.1:$ferretdb_port
postgres_mark=$postgres_data

ferretdb_possible() {
  ((EUID == 0)) && [[ -e /etc/debian_version ]] && have apt-get
}

ferretdb_uri() { printf 'mongodb://127.0.0.1:%s/?directConnection=true\n' "$ferretdb_port"; }

ferretdb_running() {
  our_pid ferretdb "$ferretdb_mark" >/dev/null &&
    our_pid postgres "$postgres_mark" >/dev/null &&
    ferretdb_ping >/dev/null 2>&1
}

ferretdb_up() {
  if ferretdb_running; then
    say "FerretDB is already running on port $ferretdb_port"
    return
  fi
  # Either of the two alone is of no use, and neither keeps data worth having.
  ferretdb_down
  require_free_port "$ferretdb_port"
  require_free_port "$postgres_port"
  if [[ ! -d $ferretdb_dir ]]; then
    ferretdb_build
  fi
  postgres_make
  postgres_run
  psql -c 'create extension documentdb cascade' -c 'create extension documentdb_extended_rum cascade' \
    >>"$log_dir/postgres.log" 2>&1 ||
    die "the DocumentDB extension could not be created; the log is $log_dir/postgres.log"
  ferretdb_run
}

ferretdb_down() {
  stop ferretdb "$ferretdb_mark" TERM
  stop postgres "$postgres_mark" INT
}

# PostgreSQL's own children go with it, or they would keep the next one from its data.
ferretdb_kill() {
  local pid child children=()
  if pid=$(our_pid postgres "$postgres_mark"); then
    read -ra children <"/proc/$pid/task/$pid/children" || true
  fi
  stop ferretdb "$ferretdb_mark" KILL
  stop postgres "$postgres_mark" KILL
  for child in "${children[@]}"; do
    kill -s KILL "$child" 2>/dev/null || true
  done
  for child in "${children[@]}"; do
    while [[ $(command_line "$child") == postgres* ]]; do sleep 0.05; done
  done
}

ferretdb_start() {
  postgres_run
  ferretdb_run
}

ferretdb_forget() { rm -rf "${ferretdb_dir:?}/root$postgres_data"; }

# Built aside and moved into place when whole, so that a build that was
# interrupted is never mistaken for a finished one.
ferretdb_build() {
  local scratch started=$SECONDS
  say "building FerretDB $ferretdb_version, and PostgreSQL $postgres_major with DocumentDB:" \
    "once per machine, a few minutes"
  rm -rf "$cache"/build.*
  scratch=$(mktemp -d "$cache/build.XXXXXX")
  # shellcheck disable=SC2064 # expanded now, as $scratch is local
  trap "rm -rf '$scratch'" EXIT

  apt_install mmdebstrap mmdebstrap
  apt_install go golang-go ca-certificates
  GOBIN=$scratch/bin CGO_ENABLED=0 \
    go install "github.com/FerretDB/FerretDB/v2/cmd/ferretdb@v$ferretdb_version" ||
    die "FerretDB could not be built. It needs Go 1.21 or newer on PATH, and a Go module proxy."

  # The extension is packaged in Debian's unstable suite only, and built for that
  # suite's libraries: hence a root of its own. The mirror may lag behind and
  # serve an index past its "valid until" date; its signature is checked as ever.
  mmdebstrap --variant=minbase \
    --include="postgresql-$postgres_major,postgresql-$postgres_major-documentdb" \
    --aptopt='Acquire::Check-Valid-Until "false"' \
    sid "$scratch/root" ||
    die "PostgreSQL $postgres_major and DocumentDB could not be installed from Debian's unstable suite."
  chmod 755 "$scratch"

  mv "$scratch" "$ferretdb_dir"
  trap - EXIT
  say "built in $((SECONDS - started)) s: $ferretdb_dir"
}

# apt_install COMMAND PACKAGE...: installs the packages unless COMMAND is there.
apt_install() {
  have "$1" && return
  shift
  apt-get update
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

in_chroot() { chroot --userspec=postgres:postgres "$ferretdb_dir/root" /usr/bin/env -i LC_ALL=C.UTF-8 "$@"; }

psql() { in_chroot "$postgres_bin/psql" -h 127.0.0.1 -p "$postgres_port" -d postgres -qAtX -v ON_ERROR_STOP=1 "$@"; }

# Every start is from an empty cluster: tests that were killed leave no databases
# behind for good, and a machine that lost power needs no repair.
postgres_make() {
  local root=$ferretdb_dir/root
  rm -rf "${root:?}$postgres_data"
  in_chroot "$postgres_bin/initdb" -D "$postgres_data" --auth=trust --encoding=UTF8 >"$log_dir/initdb.log" 2>&1 ||
    die "initdb failed; its log is $log_dir/initdb.log"
  cat >>"$root$postgres_data/postgresql.conf" <<-'CONF'
	listen_addresses = '127.0.0.1'
	unix_socket_directories = ''
	max_connections = 300
	shared_preload_libraries = 'pg_cron,pg_documentdb_core,pg_documentdb_extended_rum,pg_documentdb'
	cron.database_name = 'postgres'
	documentdb.alternate_index_handler_name = 'extended_rum'
	# Tests make many small collections, and a collection is slow to query until
	# it has been analysed for the first time.
	autovacuum_naptime = 2s
	jit = off
	# Concurrent find-and-modify can deadlock here; then say so at once.
	deadlock_timeout = 20ms
	# One entry per index build otherwise.
	cron.log_run = off
	cron.log_statement = off
CONF
}

postgres_run() {
  local root=$ferretdb_dir/root
  # The mounts are made in a mount namespace that ends with the server: there is
  # nothing to unmount, and no /proc below a directory that someone may remove.
  # shellcheck disable=SC2016 # expanded by the inner shell
  start postgres unshare --mount sh -euc '
    mount --bind /proc "$1/proc"
    mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"
    exec chroot --userspec=postgres:postgres "$1" /usr/bin/env -i LC_ALL=C.UTF-8 "$2/postgres" -D "$3" -p "$4"
  ' sh "$root" "$postgres_bin" "$postgres_data" "$postgres_port"
  wait_for postgres psql -c 'select 1'
}

ferretdb_flags() {
  printf '%s\n' \
    "--postgresql-url=postgres://postgres@127.0.0.1:$postgres_port/postgres" \
    "--listen-addr=127.0.0.1:$ferretdb_port" \
    "--debug-addr=-" \
    "--telemetry=disable" \
    "--state-dir=$run_dir" \
    "--auth=false" \
    "--log-level=warn"
}

ferretdb_run() {
  local flags
  mapfile -t flags < <(ferretdb_flags)
  start ferretdb "$ferretdb_dir/bin/ferretdb" "${flags[@]}"
  wait_for ferretdb ferretdb_ping
  say "FerretDB $ferretdb_version is running on port $ferretdb_port"
}

ferretdb_ping() {
  local flags
  mapfile -t flags < <(ferretdb_flags)
  timeout 10 "$ferretdb_dir/bin/ferretdb" ping "${flags[@]}"
}
