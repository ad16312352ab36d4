#!/usr/bin/env bash
# Three PostgreSQL nodes under Patroni with etcd, on loopback, in a directory that
# can be thrown away:
#
#   databases.sh DIR [FIRST_PORT]
#
# It uses the ports from FIRST_PORT (default 5500) on: etcd 0 and 1, PostgreSQL 11 to 13, Patroni 21 to 23. When a primary
# leads it prints one line, "ready URL", and runs until it is told to stop. Pids are
# in DIR/*.pid. On Debian, as root, it installs what is missing; servers run as an unprivileged user.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:?usage: databases.sh DIR [FIRST_PORT]}
first=${2:-5500}

missing() {
  ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && command -v patroni >/dev/null && command -v etcd >/dev/null && return 1
  return 0
}
if missing; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "PostgreSQL, Patroni and etcd are needed (Debian: postgresql patroni etcd-server)" >&2
    exit 3
  fi
  export DEBIAN_FRONTEND=noninteractive
  mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
  { apt-get update -q && apt-get install -y -q --no-install-recommends postgresql patroni etcd-server etcd-client; } >&2
fi
bin=$(dirname "$(ls /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)")

mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
as=()
if [ "$(id -u)" = 0 ]; then
  as=(setpriv --reuid=postgres --regid=postgres --init-groups)
  chown postgres "$dir"
fi

# run NAME COMMAND…: in the background, with a log and a pid file.
run() {
  local name=$1
  shift
  (cd "$dir" && exec "${as[@]}" "$@") >"$dir/$name.log" 2>&1 &
  echo $! >"$dir/$name.pid"
}

etcd=$first peer=$((first + 1))
run etcd env ETCD_UNSUPPORTED_ARCH="$(uname -m)" etcd --name etcd --data-dir "$dir/etcd" \
  --listen-client-urls "http://127.0.0.1:$etcd" --advertise-client-urls "http://127.0.0.1:$etcd" \
  --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
  --initial-cluster "etcd=http://127.0.0.1:$peer"

# stop ends what was started here, databases last.
stop() {
  trap - EXIT INT TERM
  set +e # some may have been killed
  for name in node1 node2 node3 etcd; do
    [ -e "$dir/$name.pid" ] && kill "$(cat "$dir/$name.pid")" 2>/dev/null
  done
  for n in 1 2 3; do
    # Patroni stops its PostgreSQL; if it was killed, that is done here.
    for _ in $(seq 50); do kill -0 "$(cat "$dir/node$n.pid" 2>/dev/null || echo 0)" 2>/dev/null || break; sleep 0.2; done
    [ -e "$dir/node$n/postmaster.pid" ] && kill -QUIT "$(head -n 1 "$dir/node$n/postmaster.pid")" 2>/dev/null
  done
  kill $(jobs -p) 2>/dev/null
  wait
}
trap stop EXIT
trap 'exit 0' INT TERM

hosts=()
for n in 1 2 3; do
  sed -e "s#@NAME@#node$n#g; s#@DIR@#$dir#g; s#@BIN@#$bin#g; s#@ETCD_PORT@#$etcd#g" \
    -e "s#@PG_PORT@#$((first + 10 + n))#g; s#@REST_PORT@#$((first + 20 + n))#g" "$here/patroni.yml" >"$dir/node$n.yml"
  hosts+=("127.0.0.1:$((first + 10 + n))")
  run "node$n" patroni "$dir/node$n.yml"
done
url="postgres://postgres:gatehouse@$(IFS=,; echo "${hosts[*]}")/postgres?target_session_attrs=read-write&connect_timeout=3"

# ask PORT PATH: the status of an answer of Patroni's.
ask() { exec 3<>"/dev/tcp/127.0.0.1/$1" && printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&3 && head -n 1 <&3 | cut -d' ' -f2; } 2>/dev/null
count() { local n total=0; for n in 1 2 3; do [ "$(ask $((first + 20 + n)) "$1")" = 200 ] && total=$((total + 1)); done; echo "$total"; }
for _ in $(seq 240); do
  if [ "$(count /primary)" = 1 ] && [ "$(count /replica)" = 2 ] && [ "$(count /sync)" -ge 1 ]; then
    echo "ready $url"
    while :; do sleep 3600 & wait $!; done
  fi
  kill -0 "$(cat "$dir/node1.pid")" 2>/dev/null || break
  sleep 0.5
done
echo "the cluster did not come up; the logs are in $dir" >&2
tail -n 5 "$dir"/*.log >&2
exit 1
