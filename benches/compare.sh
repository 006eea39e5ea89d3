#!/bin/sh
# Octroi beside nginx on the same machine, with the same configuration files:
#
#     benches/compare.sh RESULTS_DIRECTORY
#
# CPU 0 runs the server under test (one shard, one worker), CPU 1 the load tester and the origin.
# Each scenario is nine paired rounds, A B and B A in turn, A = Octroi and B = nginx; the table at
# the end shows the medians. The directory gets the raw rounds (JSON and text), the configurations
# and what the machine is. Run it as root: it installs nginx where there is none.
#
#     ROUNDS=9 RUN_S=4 WARM_S=1   the rounds, the seconds of each run and of the load before it
#     OCTROI, LOAD, NGINX         the programs, where they are not to be built or looked for
#     ONLY="plain-64 logged-64"   only these scenarios
set -eu

case "${1:-}" in
"" | -*) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
repository=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
results=$(cd "$1" && pwd)
rounds=${ROUNDS:-9} run_s=${RUN_S:-4} warm_s=${WARM_S:-1}
origin_port=18480 octroi_port=18481 nginx_port=18482

say() { printf '%s\n' "$*" >&2; }
die() { say "compare.sh: $*"; exit 1; }

# --- What is needed -----------------------------------------------------------------------------

if [ -z "${NGINX:-}" ] && ! command -v nginx >/dev/null; then
    [ "$(id -u)" = 0 ] || die "there is no nginx, and only root can install it"
    say "installing nginx"
    apt-get update -q >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends nginx-light >&2
    # The package starts a server of its own, which would compete.
    service nginx stop >&2 || true
fi
nginx=${NGINX:-$(command -v nginx)}
command -v taskset >/dev/null || die "taskset is missing (package util-linux)"
[ "$(nproc)" -ge 2 ] || die "two CPUs are needed: one to serve, one to load"
if [ -z "${OCTROI:-}" ] || [ -z "${LOAD:-}" ]; then
    (cd "$repository" && cargo build --release -p octroi -p octroi-load >&2)
fi
target=${CARGO_TARGET_DIR:-$repository/target}
octroi=${OCTROI:-$target/release/octroi}
load=${LOAD:-$target/release/octroi-load}
ulimit -n 16384 2>/dev/null || ulimit -n "$(ulimit -H -n)"

# --- Servers ------------------------------------------------------------------------------------

running=""
stop_all() {
    for process in $running; do kill -QUIT "$process" 2>/dev/null || true; done
    for process in $running; do wait "$process" 2>/dev/null || true; done
    running=""
}
trap stop_all EXIT
trap 'exit 1' INT TERM

# A directory for a server: the configurations, and where it listens.
prepare() { # NAME PORT
    mkdir -p "$results/$1"
    # Workers may run as another user.
    chmod 755 "$results/$1"
    cp "$repository"/benches/conf/*.conf "$results/$1/"
    echo "listen 127.0.0.1:$2;" >"$results/$1/listen.conf"
    body=$(printf '%01024d' 0 | tr 0 x)
    echo "return 200 $body;" >"$results/$1/body.conf"
    head -c 65536 /dev/urandom >"$results/$1/64k"
    head -c 1048576 /dev/urandom >"$results/$1/1m"
    chmod 644 "$results/$1/64k" "$results/$1/1m"
    mkdir -p "$results/$1/files"
    printf '%01024d' 0 >"$results/$1/files/1k.txt"
    seq 0 99999 | head -c 32768 >"$results/$1/files/32k.txt"
    chmod -R a+rX "$results/$1/files"
    seq 1 49 | sed 's|.*|location ~ ^/other/&/([a-z]+)[.](php\|cgi)$ { return 404; }|' >"$results/$1/regexes.inc"
    seq 1 20 | sed 's|.*|map $http_user_agent $agent& { default d&; ~*robot& r&; ~Mozilla/5[.]([0-9]) m$1; }|' >"$results/$1/maps.inc"
    seq 1 20 | sed 's|.*|add_header X-Agent-& $agent&;|' >"$results/$1/map_headers.inc"
    seq 0 999 | while read -r n; do
        echo "location /v1/service$n/ { include proxy_pass.conf; }"
    done >"$results/$1/locations.inc"
}

# Starts a server and waits until it answers; its process is then in $started.
start() { # CPU NAME PORT PROGRAM CONFIGURATION
    rm -f "$results/$2"/*.pid
    taskset -c "$1" "$4" -p "$results/$2/" -c "$5" >"$results/$2/output" 2>&1 &
    started=$!
    running="$running $started"
    tries=0
    until taskset -c 1 "$load" "http://127.0.0.1:$3${path:-/v1/service1/}" -c 1 -n 1 >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 50 ] || die "$2 does not answer with $5; see $results/$2/output and error.log"
        sleep 0.1
    done
}

# --- Scenarios ----------------------------------------------------------------------------------

# scenario CONFIGURATION OPTIONS...: what is loaded, and how
scenario() { # NAME CONFIGURATION LOAD_OPTIONS...
    name=$1 configuration=$2
    shift 2
    case " ${ONLY:-$name} " in *" $name "*) ;; *) return 0 ;; esac
    say "$name"
    start 1 origin "$origin_port" "$nginx" origin.conf
    start 0 octroi "$octroi_port" "$octroi" "$configuration"
    octroi_process=$started
    start 0 nginx "$nginx_port" "$nginx" "$configuration"
    nginx_process=$started
    path=${path:-/v1/service500/item}
    taskset -c 1 "$load" compare "http://127.0.0.1:$octroi_port$path" "http://127.0.0.1:$nginx_port$path" \
        --pid-a "$octroi_process" --pid-b "$nginx_process" --rounds "$rounds" -d "$run_s" -w "$warm_s" \
        --out "$results/$name.json" "$@" | tee "$results/$name.txt" | tail -2 >&2
    if [ "$name" = plain-64 ]; then
        system_calls octroi "$octroi_process" "$octroi_port$path"
        system_calls nginx "$nginx_process" "$nginx_port$path"
    fi
    path=
    stop_all
}

# System calls per request, where strace may look. Tracing slows a server down, which makes its
# batches larger than they are in the rounds.
system_calls() { # NAME PROCESS PORT_AND_PATH
    command -v strace >/dev/null || return 0
    requests=20000
    strace -c -f -p "$2" $(pgrep -P "$2" | sed 's/^/-p /') -o "$results/strace-$1.txt" 2>/dev/null &
    tracer=$!
    sleep 0.5
    taskset -c 1 "$load" "http://127.0.0.1:$3" -c 64 -n "$requests" >/dev/null || true
    kill -INT "$tracer" 2>/dev/null || true
    wait "$tracer" 2>/dev/null || true
    [ -s "$results/strace-$1.txt" ] || return 0
    awk -v name="$1" -v requests="$requests" '
        $NF ~ /^[a-z]/ && $4 ~ /^[0-9]+$/ && $NF != "total" && $4 / requests >= 0.01 {
            list = list sprintf("  %s %.2f", $NF, $4 / requests)
        }
        END { print name " (64 connections, traced):" list }' "$results/strace-$1.txt" >>"$results/system-calls.txt"
}

path=
prepare origin "$origin_port"
prepare octroi "$octroi_port"
prepare nginx "$nginx_port"
rm -f "$results/system-calls.txt"
seq 0 999 | sed 's|.*|/v1/service&/item|' >"$results/paths.txt"
{
    date -u +%Y-%m-%dT%H:%M:%SZ
    uname -srm
    grep -m1 '^model name' /proc/cpuinfo || true
    echo "CPUs $(nproc), load before $(cut -d' ' -f1-3 /proc/loadavg)"
    "$octroi" -v 2>&1
    "$nginx" -v 2>&1
    echo "$rounds rounds of $run_s s after $warm_s s"
} | tee "$results/machine.txt" >&2

scenario plain-16 proxy.conf -c 16
scenario plain-64 proxy.conf -c 64
scenario plain-256 proxy.conf -c 256
scenario no-keepalive-64 proxy.conf -c 64 --no-keepalive
scenario locations-64 locations.conf -c 64 --paths "$results/paths.txt"
scenario logged-64 logged.conf -c 64 -H 'User-Agent: Mozilla/5.0 (X11; Linux x86_64)' -H 'Referer: http://localhost/'
path=/1k.txt scenario static-64 static.conf -c 64
path=/32k.txt scenario gzip-16 gzip.conf -c 16 -H 'Accept-Encoding: gzip'
path=/v1/service500/item scenario regex-64 regex.conf -c 64 -H 'User-Agent: Mozilla/5.0 (X11; Linux x86_64)'
path=/64k scenario body-64k-32 proxy.conf -c 32
path=/1m scenario body-1m-8 proxy.conf -c 8
head -c 12288 /dev/urandom | base64 -w 0 >"$results/post"
scenario post-16k-32 proxy.conf -c 32 --body-file "$results/post"
scenario rate-5000-64 proxy.conf -c 64 --rate 5000
rm -rf "$results"/*/64k "$results"/*/1m "$results"/*/files "$results/post"

# --- The table ----------------------------------------------------------------------------------

# Of each column of the rounds the median; of the ratios also the range.
summary() {
    printf '%-16s %19s %7s %19s %7s %15s %7s   %s\n' scenario 'requests/s' ratio 'p99 us' ratio 'CPU us/req' ratio 'ratio of CPU: range'
    for name in plain-16 plain-64 plain-256 no-keepalive-64 locations-64 logged-64 static-64 gzip-16 regex-64 body-64k-32 body-1m-8 \
        post-16k-32 rate-5000-64; do
        [ -f "$results/$name.txt" ] || continue
        awk -v name="$name" '
            function median(column,    m, j, n, t, sorted) {
                n = rows
                for (m = 1; m <= n; m++) sorted[m] = value[m, column]
                for (m = 1; m <= n; m++) for (j = m + 1; j <= n; j++)
                    if (sorted[j] < sorted[m]) { t = sorted[m]; sorted[m] = sorted[j]; sorted[j] = t }
                low = sorted[1]; high = sorted[n]
                return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
            }
            # round, order (2 words), then rate, p50, p99 and cpu as A, B, A/B
            $1 ~ /^[0-9]+$/ && $2 ~ /^[AB]$/ { rows++; for (i = 4; i <= NF; i++) value[rows, i] = $i }
            END {
                if (!rows) exit
                for (i = 4; i <= 15; i++) middle[i] = median(i)   # the last leaves low and high
                printf "%-16s %9.0f %9.0f %7.2f %9.0f %9.0f %7.2f %7.1f %7.1f %7.2f   %.2f to %.2f\n", name,
                    middle[4], middle[5], middle[6], middle[10], middle[11], middle[12],
                    middle[13], middle[14], middle[15], low, high
            }' "$results/$name.txt"
    done
    echo "Left: Octroi, right: nginx. A ratio is the median of the rounds' own, Octroi divided by nginx."
    if [ -f "$results/system-calls.txt" ]; then cat "$results/system-calls.txt"; fi
}
summary | tee "$results/summary.txt"
