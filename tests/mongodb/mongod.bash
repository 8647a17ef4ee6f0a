# shellcheck shell=bash
# The machine's own mongod, as a replica set of one: a standalone server has no
# retryable writes and no majority write concern.

mongod_data=$cache/mongod-$mongod_port
mongod_mark=$mongod_data

mongod_possible() { have mongod; }

# Connected to directly: the set's own idea of its host names does not matter.
mongod_uri() { printf 'mongodb://127.0.0.1:%s/?directConnection=true\n' "$mongod_port"; }

mongod_up() {
  if our_pid mongod "$mongod_mark" >/dev/null && mongod_primary; then
    say "mongod is already running on port $mongod_port"
    return
  fi
  have mongosh || have python3 ||
    die "a replica set is initiated with mongosh or python3, and neither is on PATH." \
      "Install one of them, or set KEYLEND_TEST_MONGODB_URI to a server of your own."
  mongod_down
  require_free_port "$mongod_port"

  # Every start is from an empty directory, as tests keep nothing worth having.
  rm -rf "$mongod_data"
  mkdir -p "$mongod_data"
  mongod_run
  mongod_command "{\"replSetInitiate\": {\"_id\": \"keylend\", \"members\": [{\"_id\": 0, \"host\": \"127.0.0.1:$mongod_port\"}]}}" >/dev/null
  wait_for mongod mongod_primary
  say "mongod is running on port $mongod_port"
}

mongod_run() {
  start mongod mongod --port "$mongod_port" --bind_ip 127.0.0.1 --dbpath "$mongod_data" --replSet keylend
  wait_for mongod mongod_command '{"ping": 1}'
}

mongod_down() { stop mongod "$mongod_mark" TERM; }

mongod_kill() { stop mongod "$mongod_mark" KILL; }

mongod_start() {
  mongod_run
  wait_for mongod mongod_primary
}

mongod_forget() { rm -rf "$mongod_data"; }

mongod_primary() { mongod_command '{"hello": 1}' 2>/dev/null | grep -q '"isWritablePrimary": *true'; }

# Runs one command, given as JSON, against the admin database and prints the reply.
mongod_command() {
  if have mongosh; then
    mongosh --quiet --norc "$(mongod_uri)" \
      --eval "print(JSON.stringify(db.getSiblingDB('admin').runCommand($1)))"
  else
    python3 "$mongodb_scripts/command.py" "$mongod_port" "$1"
  fi
}
