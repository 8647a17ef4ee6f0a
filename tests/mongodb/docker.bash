# shellcheck shell=bash
# MongoDB's own image, as a replica set of one, for machines with a Docker engine.

docker_image=mongo:8
docker_name=keylend-tests-mongodb-$mongod_port

# The client alone is of no use: there has to be an engine that answers.
docker_possible() { have docker && docker info >/dev/null 2>&1; }

docker_uri() { printf 'mongodb://127.0.0.1:%s/?directConnection=true\n' "$mongod_port"; }

docker_up() {
  if docker_primary; then
    say "the container $docker_name is already running on port $mongod_port"
    return
  fi
  docker_down
  require_free_port "$mongod_port"
  docker run --detach --name "$docker_name" --publish "127.0.0.1:$mongod_port:27017" \
    "$docker_image" --replSet keylend --bind_ip_all >"$run_dir/docker.id" ||
    die "the image $docker_image could not be started; set KEYLEND_TEST_MONGODB_URI to a server of your own instead"
  docker_wait docker_answers
  docker_eval 'rs.initiate({_id: "keylend", members: [{_id: 0, host: "127.0.0.1:27017"}]})' >/dev/null
  docker_wait docker_primary
  say "the container $docker_name is running on port $mongod_port"
}

docker_down() {
  [[ -e $run_dir/docker.id ]] || return 0
  if docker rm --force --volumes "$docker_name" >/dev/null 2>&1; then
    say "removed the container $docker_name"
  fi
  rm -f "$run_dir/docker.id"
}

# The container stays, and its data with it.
docker_kill() { docker kill "$docker_name" >/dev/null; }

docker_start() {
  docker start "$docker_name" >/dev/null
  docker_wait docker_primary
}

docker_forget() { :; }

docker_wait() {
  local deadline=$((SECONDS + 60))
  until "$@"; do
    if ((SECONDS >= deadline)); then
      docker logs --tail 20 "$docker_name" >&2 || true
      die "the container $docker_name did not become ready"
    fi
    sleep 0.2
  done
}

docker_eval() { docker exec "$docker_name" mongosh --quiet --norc --eval "$1" 2>/dev/null; }

docker_answers() { docker_eval 'db.adminCommand("ping").ok' >/dev/null; }

docker_primary() { [[ $(docker_eval 'db.hello().isWritablePrimary') == true ]]; }
