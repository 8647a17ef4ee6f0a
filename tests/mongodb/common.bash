# shellcheck shell=bash
# What `up` and `down` share: where things are kept, which ports are used, and
# how a server that one run started is recognised by the next.

# Outside the checkout, so that a fresh clone or `git clean` does not cost a rebuild.
cache=${KEYLEND_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/keylend-tests}

# Fixed, so that the URI is the same in every run. Three ports in a row are used.
base_port=${KEYLEND_TEST_MONGODB_PORT:-27117}
mongod_port=$base_port
ferretdb_port=$((base_port + 1))
postgres_port=$((base_port + 2))

# A server on other ports is another server, with files of its own.
run_dir=$cache/run-$base_port
log_dir=$cache/log-$base_port

say() { printf '%s\n' "mongodb: $*" >&2; }

die() {
  say "$@"
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# One `up` or `down` at a time on a machine. Whatever is started in the
# background must close descriptor 9, or it would hold the lock for its lifetime.
take_lock() {
  mkdir -p "$run_dir" "$log_dir"
  exec 9>"$cache/lock"
  if have flock; then
    flock 9
  fi
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The command line of a process, or nothing when there is no such process.
command_line() {
  if [[ -r /proc/$1/cmdline ]]; then
    tr '\0' ' ' <"/proc/$1/cmdline"
  else
    ps -p "$1" -o args= 2>/dev/null
  fi || true
}

# Prints the process id that `up` noted down for NAME, if that process still
# lives. Ids are reused, so the command line has to hold MARK as well.
our_pid() {
  local name=$1 mark=$2 pid
  pid=$(cat "$run_dir/$name.pid" 2>/dev/null) || return 1
  [[ $pid =~ ^[0-9]+$ && $(command_line "$pid") == *"$mark"* ]] || return 1
  printf '%s\n' "$pid"
}

require_free_port() {
  if listening "$1"; then
    die "port $1 of 127.0.0.1 is taken by a process that tests/mongodb/up did not start." \
      "Stop that process, or set KEYLEND_TEST_MONGODB_PORT to the first of three free ports."
  fi
}

# start NAME COMMAND...: runs COMMAND in the background, where possible in a session
# of its own, so that no Ctrl-C meant for the tests reaches it.
start() {
  local name=$1 detach=nohup
  shift
  if have setsid; then
    detach=setsid
  fi
  "$detach" "$@" </dev/null >"$log_dir/$name.log" 2>&1 9>&- &
  printf '%s\n' "$!" >"$run_dir/$name.pid"
}

# stop NAME MARK SIGNAL: ends a process of ours and waits until it is gone.
stop() {
  local name=$1 mark=$2 signal=$3 pid deadline=$((SECONDS + 30))
  if pid=$(our_pid "$name" "$mark"); then
    kill -s "$signal" "$pid" 2>/dev/null || true
    while our_pid "$name" "$mark" >/dev/null; do
      if ((SECONDS >= deadline)); then
        say "$name (process $pid) did not stop in time, so it is killed"
        kill -s KILL "$pid" 2>/dev/null || true
        break
      fi
      sleep 0.1
    done
    say "stopped $name"
  fi
  rm -f "$run_dir/$name.pid"
}

# wait_for NAME COMMAND...: repeats COMMAND until it succeeds. Gives up when the
# process just started as NAME has ended, or after a minute.
wait_for() {
  local name=$1 pid deadline=$((SECONDS + 60))
  shift
  pid=$(cat "$run_dir/$name.pid")
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= deadline)) || ! kill -0 "$pid" 2>/dev/null; then
      tail -n 20 "$log_dir/$name.log" >&2 || true
      die "$name did not become ready; its log is $log_dir/$name.log"
    fi
    sleep 0.1
  done
}
