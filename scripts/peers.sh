#!/usr/bin/env bash
# The same reservations on what a user would pick instead: etcd (3 nodes), PostgreSQL (1 node), Redis
# (1 node), TigerBeetle (3 replicas). Every write is on disk before it is acknowledged; loopback only.
# Prints one line per measurement, KEY and FIGURE with a tab between; what is not installed says so.
# Installs nothing.
#
#   scripts/peers.sh [etcd] [postgres] [redis] [tigerbeetle]     all of them when none is named
#
#   PEERS_SECONDS   how long each is measured; 8
#   TIGERBEETLE     its program; tigerbeetle
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

readonly HERE=$QUORATE_ROOT/scripts/peers
readonly SECONDS_EACH=${PEERS_SECONDS:-8} USERS=1000
TIGERBEETLE=${TIGERBEETLE:-tigerbeetle}

work=$(mktemp -d)
pids=()

stop_all() {
    local pid
    for pid in ${pids[@]+"${pids[@]}"}; do kill "$pid" 2>/dev/null || true; done
    for pid in ${pids[@]+"${pids[@]}"}; do wait "$pid" 2>/dev/null || true; done
    pids=()
}

finish() {
    stop_all
    if [[ -f $work/pg/postmaster.pid ]]; then kill "$(head -n 1 "$work/pg/postmaster.pid")" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap finish EXIT

say() { printf '%s\t%s\n' "$1" "$2"; }

# The rest of a line behind NAME=, up to the next space.
field() { # NAME LINE
    sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" <<<"$2"
}

wait_until() { # SECONDS COMMAND…
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || return 1
        sleep 0.2
    done
}

etcd_peer() {
    local program=$CARGO_TARGET_DIR/peers/release/quorate-peer-etcd node cluster endpoints line
    if ! command -v etcd >/dev/null; then
        say etcd_unary_64 "not installed"
        say etcd_unary_1 "not installed"
        return
    fi
    if ! command -v protoc >/dev/null && [[ ! -x $program ]]; then
        say etcd_unary_64 "protoc is not installed, which its client needs"
        say etcd_unary_1 "protoc is not installed, which its client needs"
        return
    fi
    cargo build --release --quiet --manifest-path "$HERE/etcd/Cargo.toml" --target-dir "$CARGO_TARGET_DIR/peers" >&2
    cluster=n1=http://127.0.0.1:23801,n2=http://127.0.0.1:23802,n3=http://127.0.0.1:23803
    endpoints=http://127.0.0.1:23791,http://127.0.0.1:23792,http://127.0.0.1:23793
    for node in 1 2 3; do
        etcd --name "n$node" --data-dir "$work/etcd$node" --initial-cluster "$cluster" --initial-cluster-state new \
            --listen-client-urls "http://127.0.0.1:2379$node" --advertise-client-urls "http://127.0.0.1:2379$node" \
            --listen-peer-urls "http://127.0.0.1:2380$node" --initial-advertise-peer-urls "http://127.0.0.1:2380$node" \
            >"$work/etcd$node.log" 2>&1 &
        pids+=($!)
    done
    # Planting fails as long as there is no leader.
    wait_until 30 "$program" "$endpoints" 1 1 flat 1 || die "etcd does not answer: $work/etcd1.log"
    line=$("$program" "$endpoints" 64 "$SECONDS_EACH" hier "$USERS")
    say etcd_unary_64 "$(field reserves/s "$line")/s on 3 nodes"
    line=$("$program" "$endpoints" 1 "$SECONDS_EACH" flat "$USERS")
    say etcd_unary_1 "$(field p50_us "$line") / $(field p99_us "$line") µs on 3 nodes, without a tree"
    stop_all
}

postgres_peer() {
    local bin as=() tps
    bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
    if [[ -z $bin || ! -x $bin/initdb ]] || ! command -v pgbench >/dev/null; then
        say postgres_unary_64 "not installed"
        return
    fi
    mkdir "$work/pg"
    # It refuses to run as root.
    if ((EUID == 0)); then
        as=(setpriv --reuid postgres --regid postgres --clear-groups)
        chmod 755 "$work"
        chown postgres "$work" "$work/pg"
    fi
    "${as[@]}" "$bin/initdb" -D "$work/pg" -U postgres -A trust >/dev/null
    "${as[@]}" "$bin/pg_ctl" -D "$work/pg" -o "-p 55432 -k $work -c shared_buffers=1GB -c max_connections=200" \
        -l "$work/pg/log" -w start >/dev/null
    psql -q -h "$work" -p 55432 -U postgres -f "$HERE/postgres.sql"
    printf '\\set q random(1000,1999)\nselect reserve(:q,1,true);\n' >"$work/reserve.sql"
    tps=$(pgbench -n -M prepared -h "$work" -p 55432 -U postgres -f "$work/reserve.sql" -c 64 -j 1 -T "$SECONDS_EACH" \
        postgres 2>/dev/null | sed -n 's/^tps = \([0-9]*\).*/\1/p')
    say postgres_unary_64 "$tps/s on 1 node"
    "${as[@]}" "$bin/pg_ctl" -D "$work/pg" stop -m fast >/dev/null
}

redis_peer() {
    local sha rate
    if ! command -v redis-server >/dev/null || ! command -v redis-benchmark >/dev/null; then
        say redis_64 "not installed"
        return
    fi
    redis-server --port 56379 --dir "$work" --appendonly yes --appendfsync always --save '' >"$work/redis.log" 2>&1 &
    pids+=($!)
    wait_until 10 redis-cli -p 56379 ping || die "redis-server does not answer: $work/redis.log"
    sha=$(redis-cli -p 56379 -x script load <"$HERE/redis.lua")
    rate=$(redis-benchmark -p 56379 -c 64 -n $((SECONDS_EACH * 30000)) -r "$USERS" -q evalsha "$sha" 3 \
        user:__rand_int__ team:1 org 1 2>/dev/null | tr '\r' '\n' | sed -n 's/.*: \([0-9]*\)\.[0-9]* requests per second.*/\1/p' | tail -n 1)
    say redis_64 "$rate/s on 1 node"
    stop_all
}

tigerbeetle_peer() {
    local key replica addresses=53001,53002,53003 batch clients count rate
    if ! command -v "$TIGERBEETLE" >/dev/null; then
        for key in tigerbeetle_8192 tigerbeetle_1000 tigerbeetle_unary; do say "$key" "not installed"; done
        return
    fi
    # Its own benchmark, of pending transfers between flat accounts: it has no tree.
    while read -r key batch clients count; do
        for replica in 0 1 2; do
            "$TIGERBEETLE" format --cluster=0 --replica="$replica" --replica-count=3 "$work/$key.$replica" >/dev/null 2>&1
            "$TIGERBEETLE" start --addresses="$addresses" "$work/$key.$replica" >"$work/$key.$replica.log" 2>&1 &
            pids+=($!)
        done
        rate=$("$TIGERBEETLE" benchmark --addresses="$addresses" --account-count=1000 --transfer-pending \
            --transfer-batch-size="$batch" --clients="$clients" --transfer-count="$count" 2>&1 |
            sed -n 's/.*load accepted = \([0-9]*\).*/\1/p' | tail -n 1)
        say "$key" "${rate:-no figure}/s on 3 replicas, without a tree"
        stop_all
        rm -f "$work/$key".*
    done <<WORK
tigerbeetle_8192 8189 1 1000000
tigerbeetle_1000 1000 1 500000
tigerbeetle_unary 1 16 2000
WORK
}

peers=("$@")
((${#peers[@]} > 0)) || peers=(etcd postgres redis tigerbeetle)
for peer in "${peers[@]}"; do
    case $peer in
    etcd | postgres | redis | tigerbeetle) "${peer}_peer" ;;
    *) die "$peer is not a peer: etcd, postgres, redis or tigerbeetle" ;;
    esac
done
