#!/usr/bin/env bash
# Measures what Quorate promises, beside its peers, on this machine, and prints it as Markdown: three
# nodes and whoever asks them share it. About 25 minutes; nothing else should run meanwhile. The program is
# that of scripts/dist.sh, which is built before, or another one that QUORATE_BIN names.
#
#   scripts/bench.sh               everything
#   scripts/bench.sh --quick       short runs, to see that it works; figures that say little
#   scripts/bench.sh --no-peers    Quorate alone
#   scripts/bench.sh --data-dir D  nodes keep their data below D, to measure its disk
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"; }

quick="" with_peers=yes place=()
while (($# > 0)); do
    case $1 in
    --quick) quick=yes ;;
    --no-peers) with_peers="" ;;
    --data-dir)
        (($# > 1)) || die "--data-dir needs a directory"
        place=(--data-dir "$2")
        shift
        ;;
    -h | --help)
        usage
        exit
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    shift
done

if [[ -n $quick ]]; then
    duration=3s kills=3 events=20000 holds=2000 many=20000 peer_seconds=2
else
    duration=20s kills=50 events=1000000 holds=100000 many=1000000 peer_seconds=8
fi

scripts=$QUORATE_ROOT/scripts
if [[ $QUORATE_BIN == "$CARGO_TARGET_DIR/release/quorate" ]]; then
    QUORATE_BIN=$("$scripts/dist.sh") || die "the program could not be built; scripts/dist.sh says why"
fi
[[ -x $QUORATE_BIN ]] || die "there is no $QUORATE_BIN; unset QUORATE_BIN to have it built by scripts/dist.sh"

commands=() last=""
# Measures, and keeps the JSON in $last.
measure() { # WORDS…
    commands+=("quorate bench $*")
    echo "quorate bench $*" >&2
    last=$("$QUORATE_BIN" bench "$@" ${place[@]+"${place[@]}"} --output json) ||
        die "this failed: quorate bench $*"
}

# The number behind a name in $last; 0 when there is none.
number() { # NAME
    local found
    found=$(grep -o "\"$1\":-\{0,1\}[0-9.]*" <<<"$last" | head -n 1)
    echo "${found##*:}"
}

# That of a quantile: the intervals have names of their own.
quantile() { # p50|p99|max
    sed -n "s/.*\"latency_ms\":{[^}]*\"$1\":\([0-9.]*\).*/\1/p" <<<"$last"
}

calculate() { LC_ALL=C awk "BEGIN { $1 }"; }
whole() { LC_ALL=C awk -v number="$1" 'BEGIN {
    text = sprintf("%.0f", number)
    while (match(text, /[0-9][0-9][0-9][0-9]($|,)/)) text = substr(text, 1, RSTART) "," substr(text, RSTART + 1)
    print text
}'; }

# "goal", "floor" or "below": more is better, or less.
verdict() { # more|less VALUE FLOOR GOAL
    local sign=">="
    [[ $1 == more ]] || sign="<="
    # In parentheses: print would write into a file behind a bare ">".
    calculate "print ($2 $sign $4 ? \"goal\" : ($2 $sign $3 ? \"floor\" : \"**below**\"))"
}

declare -A peer=()
rows=()
row() { # WORK PEERS HERE FLOOR GOAL VERDICT
    rows+=("| $1 | $2 | $3 | $4 | $5 | $6 |")
    echo "    $3 ($6)" >&2
}

if [[ -n $with_peers ]]; then
    echo "scripts/peers.sh" >&2
    while IFS=$'\t' read -r key figure; do
        peer[$key]=$figure
        echo "    $key: $figure" >&2
    done < <(PEERS_SECONDS=$peer_seconds "$scripts/peers.sh")
fi
# What is known of some measurements; once what is not known of any.
of_peer() { # KEY…
    local key list=()
    for key in "$@"; do
        if [[ -n ${peer[$key]:-} ]]; then list+=("${key%%_*}: ${peer[$key]}"); fi
    done
    ((${#list[@]} > 0)) || list=("not measured")
    local IFS=";"
    echo "${list[*]}" | sed 's/;/; /g'
}

best=0 best_clients=1
for clients in 1 2 4; do
    measure batch --size 8192 --clients "$clients" --spawn 3 --duration "$duration"
    rate=$(number throughput_per_second)
    if [[ $(calculate "print ($rate > $best)") == 1 ]]; then best=$rate best_clients=$clients; fi
done
row "batch of 8,192, up to 4 clients" "$(of_peer tigerbeetle_8192)" "$(whole "$best")/s, $best_clients clients" \
    "200,000/s" "450,000/s" "$(verdict more "$best" 200000 450000)"

measure batch --size 1000 --clients 1 --spawn 3 --duration "$duration"
rate=$(number throughput_per_second)
row "batch of 1,000, 1 client" "$(of_peer tigerbeetle_1000)" "$(whole "$rate")/s" "100,000/s" "250,000/s" \
    "$(verdict more "$rate" 100000 250000)"

measure stream --window 16 --clients 64 --spawn 3 --duration "$duration"
rate=$(number throughput_per_second)
row "stream, 64 clients, window 16" "$(of_peer redis_64)" "$(whole "$rate")/s" "80,000/s" "160,000/s" \
    "$(verdict more "$rate" 80000 160000)"

measure unary --clients 64 --spawn 3 --duration "$duration"
rate=$(number throughput_per_second)
row "unary, 64 clients" "$(of_peer postgres_unary_64 etcd_unary_64 tigerbeetle_unary)" "$(whole "$rate")/s" "16,000/s" \
    "35,000/s" "$(verdict more "$rate" 16000 35000)"

measure unary --clients 1 --spawn 3 --duration "$duration"
p50=$(quantile p50) p99=$(quantile p99)
# Both have to hold: the worse of the two in proportion to its floor and its goal.
judged=$(calculate "goal = $p50 <= 0.5 && $p99 <= 2; floor = $p50 <= 0.9 && $p99 <= 4
    print (goal ? \"goal\" : (floor ? \"floor\" : \"**below**\"))")
row "unary, 1 client, p50 / p99" "$(of_peer etcd_unary_1)" "$p50 / $p99 ms" "0.9 / 4 ms" "0.5 / 2 ms" "$judged"

measure read --clients 64 --spawn 3 --duration "$duration"
rate=$(number throughput_per_second)
row "linearizable \`GetQuota\`, 64 clients on 3 nodes" "–" "$(whole "$rate")/s" "30,000/s" "70,000/s" \
    "$(verdict more "$rate" 30000 70000)"

measure memory --scopes 10000 --spawn 3
megabytes=$(number more_with_the_quotas_after_a_restart_mb)
row "memory of 10,000 quotas over an empty node" "–" "$megabytes MB" "10 MB" "5 MB" \
    "$(verdict less "$megabytes" 10 5)"

measure batch --size 8192 --clients 2 --scopes 1000 --spawn 3 --duration "$duration"
few=$(number throughput_per_second)
measure batch --size 8192 --clients 2 --scopes "$many" --spawn 3 --duration "$duration"
share=$(calculate "printf \"%.2f\", $(number throughput_per_second) / ($few > 0 ? $few : 1)")
row "$(whole "$many") scopes against 1,000, batch throughput" "–" "$share×" "0.7×" "0.9×" "$(verdict more "$share" 0.7 0.9)"

measure failover --kills "$kills" --spawn 3
seconds=$(calculate "printf \"%.2f\", $(quantile p99) / 1000")
row "kill −9 of the leader → next grant, $kills kills, p99" "–" "$seconds s" "1.5 s" "0.8 s" "$(verdict less "$seconds" 1.5 0.8)"

measure recovery --events "$events" --holds "$holds" --spawn 3
seconds=$(calculate "printf \"%.2f\", $(quantile max) / 1000")
row "restart of a node with $(whole "$events") events and $(whole "$holds") live holds" "–" "$seconds s" "10 s" "3 s" \
    "$(verdict less "$seconds" 10 3)"

if [[ -z $quick ]]; then
    measure batch --size 8192 --clients 2 --spawn 3 --warm-up 5s --duration 10m
    share=$(calculate "printf \"%.2f\", $(number the_last_minute_against_the_first)")
    row "sustained 10 minutes, batch: last minute against the first" "–" "$share×" "0.8×" "0.95×" \
        "$(verdict more "$share" 0.8 0.95)"
fi

cpu=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)
memory=$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo 2>/dev/null || true)
echo "Measured on $(date -u +%Y-%m-%d): $(nproc) processors (${cpu:-unknown}), ${memory:-unknown} of memory, Linux $(uname -r | cut -d- -f1);"
echo "three nodes, peers and clients share them. \`scripts/bench.sh${quick:+ --quick}\` repeats it."
echo
echo "| work | peers, measured here | Quorate, measured here | floor | goal | |"
echo "|---|---|---|---|---|---|"
printf '%s\n' "${rows[@]}"
echo
echo "Commands:"
echo
echo '```'
printf '%s\n' "${commands[@]}"
echo '```'
