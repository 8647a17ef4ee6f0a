# shellcheck shell=bash
# What `up`, `down` and `run` share.

containers_scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# FerretDB is built there, and what is not about MongoDB is of use here as well.
# shellcheck source-path=SCRIPTDIR source=../mongodb/common.bash
. "$containers_scripts/../mongodb/common.bash"
# shellcheck source-path=SCRIPTDIR source=../mongodb/ferretdb.bash
. "$containers_scripts/../mongodb/ferretdb.bash"

say() { printf '%s\n' "containers: $*" >&2; }

# A daemon of the tests' own: images that stand in for others have the names of those, and must be nobody else's.
docker_dir=$cache/docker
docker_socket=$docker_dir/socket
run_dir=$docker_dir
log_dir=$docker_dir
dockerd_mark=--data-root=$docker_dir/data

dockerd_running() { our_pid dockerd "$dockerd_mark" >/dev/null && own_docker version >/dev/null 2>&1; }

own_docker() { docker -H "unix://$docker_socket" "$@"; }
