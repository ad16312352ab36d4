#!/usr/bin/env bash
# The whole thing on one machine: three PostgreSQL nodes under Patroni with etcd, and three
# Gatehouse processes on them, at http://127.0.0.1:2583, :2584 and :2585. Ctrl-C stops all.
#
#   examples/cluster/up.sh [DIR]
#
# To see a fail-over, kill the primary's node in another terminal:
#
#   kill -9 $(cat DIR/node1.pid) $(head -n 1 DIR/node1/postmaster.pid)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$(mktemp -d)}
mkdir -p "$dir/databases"
chmod 755 "$dir"
cd "$here/../.."
go build -o "$dir/standalone" ./examples/standalone

pids=()
stop() {
  trap - EXIT INT TERM
  kill "${pids[@]}" 2>/dev/null || true
  wait
}
trap stop EXIT
trap 'exit 0' INT TERM

echo "starting the databases in $dir/databases …"
mkfifo "$dir/ready"
"$here/databases.sh" "$dir/databases" "${FIRST_PORT:-5500}" >"$dir/ready" &
pids+=($!)
read -r word url <"$dir/ready"
[ "$word" = ready ]
echo "the database is at $url"
for n in 0 1 2; do
  port=$((2583 + n))
  # One hostname, one admin password, one mail directory: the processes are one server. A proxy in front of them
  # spreads the load; any of them can answer any request.
  "$dir/standalone" -addr "127.0.0.1:$port" -store "$url" -hostname localhost -public-url http://localhost:2583 \
    -admin-password gatehouse -mail "dir:$dir/mail" -data "$dir" -rate-limits shared >"$dir/gatehouse$n.log" 2>&1 &
  pids+=($!)
  echo "gatehouse $n: http://127.0.0.1:$port   log: $dir/gatehouse$n.log"
done
echo "Ctrl-C stops everything."
wait -n
echo "something ended by itself; the logs are in $dir" >&2
exit 1
