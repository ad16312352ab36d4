#!/usr/bin/env bash
# The whole thing on one machine: three PostgreSQL nodes under Patroni with etcd, and three
# Gatehouse processes on them, at http://127.0.0.1:2583, :2584 and :2585. Ctrl-C stops all.
#
#   examples/cluster/up.sh [DIR]
#
# What is in DIR is kept, and used again the next time; without DIR everything is removed at the end. PORT is the first
# port of Gatehouse (2583), FIRST_PORT that of the databases (5500). To see a fail-over, kill the primary's
# node in another terminal with the command that is printed at the start.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
port=${PORT:-2583} first=${FIRST_PORT:-5500}
dir=${1:-$(mktemp -d)}
mkdir -p "$dir/databases"
dir=$(cd "$dir" && pwd)
chmod 755 "$dir"
given=${1:-}
cd "$here/../.."
go build -o "$dir/standalone" ./examples/standalone

pids=()
stop() {
  trap - EXIT INT TERM
  kill "${pids[@]}" 2>/dev/null || true
  wait
  [ -n "$given" ] || [ -n "${failed:-}" ] || rm -rf "$dir"
}
trap stop EXIT
trap 'exit 0' INT TERM

echo "starting the databases in $dir/databases …"
rm -f "$dir/ready" # of a run that was killed
mkfifo "$dir/ready"
"$here/databases.sh" "$dir/databases" "$first" >"$dir/ready" &
pids+=($!)
read -r word url <"$dir/ready" && [ "$word" = ready ] || { failed=1; exit 1; }
echo "the database is at $url"
for n in 1 2 3; do
  # Patroni answers 200 on the node that leads.
  status=$({ exec 3<>"/dev/tcp/127.0.0.1/$((first + 20 + n))" && printf 'GET /primary HTTP/1.0\r\n\r\n' >&3 && head -n 1 <&3; } 2>/dev/null) || true
  [[ $status == *" 200 "* ]] || continue
  echo "node$n leads; to see a fail-over: kill -9 \$(cat $dir/databases/node$n.pid) \$(head -n 1 $dir/databases/node$n/postmaster.pid)"
done
for n in 0 1 2; do
  # One hostname, one admin password, one mail directory: the processes are one server. A proxy in front of them
  # spreads the load; any of them can answer any request.
  "$dir/standalone" -addr "127.0.0.1:$((port + n))" -store "$url" -hostname localhost -public-url "http://localhost:$port" \
    -admin-password gatehouse -mail "dir:$dir/mail" -data "$dir" -rate-limits shared >"$dir/gatehouse$n.log" 2>&1 &
  pids+=($!)
  echo "gatehouse $n: http://127.0.0.1:$((port + n))   log: $dir/gatehouse$n.log"
done
echo "Ctrl-C stops everything."
wait -n || true
failed=1
tail -qn 1 "$dir"/gatehouse*.log >&2
echo "something ended by itself; the logs are in $dir" >&2
exit 1
