#!/bin/bash
# An hour of mixed traffic with churn, errors and reloads; memory and descriptors are written down
# once a minute:
#
#     benches/soak.sh RESULTS_DIRECTORY
#
#     MINUTES=60 RATE=200         how long, and requests a second of each of the loads
#     OCTROI, LOAD, NGINX         the programs, where they are not to be built or looked for
#
# Loads: kept connections, a connection per request, answers of 64 KB, requests to an upstream that is
# killed and started again, and to one that is away. A reload every ten seconds, with one and two
# shards in turn. At the end the table shows what grew.
set -eu
case "${1:-}" in
"" | -*) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
repository=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
results=$(cd "$1" && pwd)
minutes=${MINUTES:-60} rate=${RATE:-200}
nginx=${NGINX:-$(command -v nginx)}
if [ -z "${OCTROI:-}" ] || [ -z "${LOAD:-}" ]; then
    (cd "$repository" && cargo build --release -p octroi -p octroi-load >&2)
fi
target=${CARGO_TARGET_DIR:-$repository/target}
octroi=${OCTROI:-$target/release/octroi}
load=${LOAD:-$target/release/octroi-load}
run=$(mktemp -d)
chmod 755 "$run"
mkdir "$run/octroi" "$run/origin" "$run/fragile"
chmod 777 "$run"/*

origin_conf() { # DIRECTORY PORT
    cat >"$1/origin.conf" <<CONF
worker_processes 1;
daemon off;
pid origin.pid;
error_log error.log;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    server {
        listen 127.0.0.1:$2;
        location / { return 200 "$(printf '%01024d' 0)"; }
        location /large { root $1; }
    }
}
CONF
    head -c 65536 /dev/urandom >"$1/large"
    chmod 644 "$1/large"
}
origin_conf "$run/origin" 18580
origin_conf "$run/fragile" 18582

octroi_conf() { # SHARDS
    cat >"$run/octroi/octroi.conf" <<CONF
worker_processes $1;
pid octroi.pid;
error_log error.log crit;
events { worker_connections 4096; }
http {
    access_log access.log;
    upstream steady { server 127.0.0.1:18580; keepalive 32; }
    upstream fragile { server 127.0.0.1:18582 max_fails=3 fail_timeout=1s; server 127.0.0.1:18580 backup; keepalive 8; }
    limit_req_zone \$arg_key zone=keys:1m rate=1000r/s;
    map \$arg_n \$odd { ~[13579]\$ odd; default even; }
    server {
        listen 127.0.0.1:18581;
        location / { proxy_pass http://steady; add_header X-Odd \$odd; }
        location /large { proxy_pass http://steady; gzip on; gzip_types *; }
        location /fragile { limit_req zone=keys burst=50 nodelay; proxy_pass http://fragile; }
        location /away { proxy_pass http://127.0.0.1:1; }
        location /text { rewrite ^/text/(.*)\$ /said/\$1 last; }
        location /said { return 200 "\$uri\n"; }
    }
}
CONF
}
octroi_conf 1

pids=""
stop_all() {
    for p in $pids; do kill -TERM "$p" 2>/dev/null || true; done
    [ -z "${fragile:-}" ] || kill -KILL "$fragile" $(pgrep -P "$fragile") 2>/dev/null || true
}
trap 'stop_all; rm -rf "$run"' EXIT
trap 'exit 1' INT TERM
"$nginx" -p "$run/origin/" -c origin.conf >/dev/null 2>&1 & pids="$pids $!"
"$nginx" -p "$run/fragile/" -c origin.conf >/dev/null 2>&1 & fragile=$!
"$octroi" -p "$run/octroi/" -c octroi.conf -e error.log -g 'daemon off;' >"$results/output" 2>&1 & master=$! pids="$pids $!"
sleep 2
seconds=$((minutes * 60))
at=http://127.0.0.1:18581
spawn_load() { # NAME OPTIONS...
    name=$1
    shift
    "$load" "$@" --rate "$rate" -d "$seconds" >"$results/$name.txt" 2>&1 & pids="$pids $!" loads="${loads:-} $!"
}
spawn_load kept "$at/v1/item?n=3" -c 16
spawn_load churn "$at/text/a" -c 8 --no-keepalive
spawn_load large "$at/large" -c 4
spawn_load fragile "$at/fragile?key=a" -c 8
spawn_load away "$at/away" -c 4

worker() { pgrep -P "$master" | tail -1; }
echo "minute  worker  private_kB  descriptors  threads  log_MB" | tee "$results/minutes.txt"
started=$SECONDS next=0 shards=1
while [ $((SECONDS - started)) -lt "$seconds" ]; do
    sleep 10
    shards=$((3 - shards))
    octroi_conf "$shards"
    kill -HUP "$master"
    # The fragile upstream dies for five seconds of each thirty.
    if [ $(((SECONDS - started) % 30)) -lt 10 ]; then
        kill -KILL "$fragile" $(pgrep -P "$fragile") 2>/dev/null || true
        wait "$fragile" 2>/dev/null || true
        sleep 5
        rm -f "$run/fragile/origin.pid"
        "$nginx" -p "$run/fragile/" -c origin.conf >/dev/null 2>&1 & fragile=$!
    fi
    minute=$(((SECONDS - started) / 60))
    if [ "$minute" -ge "$next" ]; then
        next=$((minute + 1))
        process=$(worker)
        private=$(awk '/^Private_Dirty/ { s += $2 } END { print s }' "/proc/$process/smaps_rollup")
        echo "$minute  $process  $private  $(ls "/proc/$process/fd" | wc -l)  $(ls "/proc/$process/task" | wc -l)  $(($(stat -c %s "$run/octroi/access.log") >> 20))" |
            tee -a "$results/minutes.txt"
        # The log is moved and opened anew, as logrotate does.
        mv "$run/octroi/access.log" "$run/octroi/access.log.1"
        kill -USR1 "$master"
    fi
done
for p in $loads; do wait "$p" || true; done
cp "$run/octroi/error.log" "$results/error.log"
grep -H -E '^(replies|status|errors)' "$results"/*.txt | sed "s|$results/||" | tee "$results/summary.txt"
