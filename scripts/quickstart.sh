#!/usr/bin/env bash
# From nothing to a running cluster and a short story that shows what it is for. Can be repeated;
# every time the story has a project of its own.
#
# usage: scripts/quickstart.sh [--once]
#
#   --once   stop the cluster afterwards and remove what this run made, also after a failure
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$QUORATE_ROOT"

once=no
case ${1:-} in
"") ;;
--once) once=yes ;;
*)
    echo "usage: scripts/quickstart.sh [--once]" >&2
    exit 2
    ;;
esac

readonly WAIT_SECONDS=60
work=$(mktemp -d)
was_running=no
had_data=no
killed=""

# ---- Leaving things as they should be

finish() {
    local code=$?
    trap - EXIT
    rm -rf "$work"
    if ((code != 0)); then
        printf '\nThe story ended early (see above). The logs of the nodes are data/node*.log.\n' >&2
    fi
    if [[ $once == yes && $was_running == no ]]; then
        if ((code != 0)); then
            # What is removed next cannot be read any more.
            tail -n 15 data/node*.log >&2 2>/dev/null || true
        fi
        echo
        if [[ $had_data == yes ]]; then
            scripts/cluster.sh down
            echo "The cluster had data before this run, so the data stays: scripts/cluster.sh wipe removes it."
        else
            scripts/cluster.sh wipe
        fi
    else
        if [[ -n $killed ]]; then scripts/cluster.sh start "$killed" || true; fi
        if [[ $once == yes ]]; then
            printf '\nThe cluster was running before this run, so it goes on.\n'
        fi
    fi
    exit "$code"
}

# ---- Telling

tell() { printf '\n%s\n' "$*"; }

indent() { sed 's/^/    /'; }

# Shows a client command with its answer; the exit code is in $code.
try() {
    local answer
    code=0
    printf '  $ quorate %s\n' "$*"
    answer=$("$QUORATE_BIN" "$@" 2>&1) || code=$?
    [[ -z $answer ]] || indent <<<"$answer"
}

# Shows a client command that has to succeed.
act() {
    try "$@"
    ((code == 0)) || die "this command should have succeeded and exited with $code"
}

# Shows a command that makes something, which may be there from an earlier run.
ensure() {
    try "$@"
    ((code == 0 || code == 4)) || die "this command should have succeeded, or found it made, and exited with $code"
}

# ---- Asking

# One line for each node: id, role, revision, digest ("-" for none), however the JSON is laid out.
nodes() {
    "$QUORATE_BIN" --output json cluster status "$@" 2>/dev/null | tr -d '[:space:]' | awk '
        function field(object, name,    found) {
            if (!match(object, "\"" name "\":(\"[^\"]*\"|[0-9]+)")) return "-"
            found = substr(object, RSTART + length(name) + 3, RLENGTH - length(name) - 3)
            gsub("\"", "", found)
            return found == "" ? "-" : found
        }
        {
            begin = index($0, "\"nodes\":[")
            depth = 0; text = 0
            for (i = begin + 9; begin > 0 && i <= length($0); i++) {
                c = substr($0, i, 1)
                if (text) {
                    if (c == "\\") i++
                    else if (c == "\"") text = 0
                } else if (c == "\"") text = 1
                else if (c == "{" && depth++ == 0) start = i
                else if (c == "}" && --depth == 0) {
                    node = substr($0, start, i - start + 1)
                    print field(node, "node_id"), field(node, "role"), field(node, "revision"), field(node, "digest")
                } else if (c == "]" && depth == 0) break
            }
        }'
}

leader() { nodes | awk '$2 == "ROLE_LEADER" && !found++ { print $1 }'; }

# Succeeds once three nodes stand at one revision with one digest.
agree() {
    nodes | awk '
        { seen[$3 " " $4] = 1; count++; if ($4 == "-" || $3 == "-" || $3 == "0") missing = 1 }
        END { for (state in seen) states++; exit !(count == 3 && states == 1 && !missing) }'
}

wait_until() { # WHAT COMMAND…
    local what=$1 deadline=$((SECONDS + WAIT_SECONDS))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || die "after $WAIT_SECONDS seconds still not so: $what"
        sleep 0.2
    done
}

has_leader() { [[ -n $(leader) ]]; }

# ---- The story

build() {
    # One that was named with QUORATE_BIN is taken as it is.
    [[ $QUORATE_BIN == "$CARGO_TARGET_DIR/release/quorate" ]] || return 0
    scripts/setup.sh
    if compgen -G "$CARGO_TARGET_DIR/release/build/librocksdb-sys-*/out/librocksdb.a" >/dev/null; then
        tell "Building quorate."
    else
        tell "Building quorate. The first time this compiles RocksDB, which takes 10 to 20 minutes; later builds" \
            "take a minute or less."
    fi
    cargo build --release --bin quorate
}

reserve_at() { # NODE ACTOR
    local code=0
    "$QUORATE_BIN" --endpoints "$(listen_of "$1" client)" --actor "$2" reserve "$project:memory_gb=16" \
        >"$work/$2" 2>&1 || code=$?
    echo "$code" >"$work/$2.code"
}

show_reservation() { # NODE ACTOR
    echo "  $2 \$ quorate --endpoints $(listen_of "$1" client) reserve $project:memory_gb=16"
    indent <"$work/$2"
    echo "    exit code $(cat "$work/$2.code")"
}

two_at_once() {
    local denied
    reserve_at "$old_leader" alice &
    local alice=$!
    reserve_at "$second" bob &
    local bob=$!
    wait "$alice" "$bob"
    show_reservation "$old_leader" alice
    show_reservation "$second" bob
    case $(cat "$work/alice.code")$(cat "$work/bob.code") in
    03) denied=bob ;;
    30) denied=alice ;;
    *) die "exactly one should have been granted (exit code 0) and one denied (3)" ;;
    esac
    if ! grep -q "$project" "$work/$denied" || ! grep -qw 12 "$work/$denied"; then
        die "the denial should have named $project and the 12 GB that are missing"
    fi
    tell "One was granted. The other was told what blocks it and by how much: 16 + 16 is 12 more than 20."
}

build
running=0
scripts/cluster.sh status >/dev/null 2>&1 || running=$?
# 3 says that no node runs.
if ((running != 3)); then was_running=yes; fi
if compgen -G "data/node*" >/dev/null; then had_data=yes; fi
trap finish EXIT

tell "Three nodes on this machine:"
# The node names are in deploy/local; other clusters of the environment are not meant.
QUORATE_ENDPOINTS="$(listen_of 1 client),$(listen_of 2 client),$(listen_of 3 client)"
export QUORATE_ENDPOINTS
unset QUORATE_OUTPUT QUORATE_ACTOR
scripts/cluster.sh up | indent

wait_until "there is a leader" has_leader
old_leader=$(leader) || die "the leader went away at once; try again"
second=$((old_leader % 3 + 1))
third=$((second % 3 + 1))
before=$(nodes | awk '$3 + 0 > highest { highest = $3 + 0 } END { print highest + 0 }') ||
    die "the cluster does not tell its status: quorate cluster status"
# The ledger only grows, so its revision names a project that no earlier run has used.
project=acme/ml-$((before + 1))

tell "A project may use 20 GB of memory. (The organization may be there from an earlier run.)"
ensure scope create acme --kind organization
act scope create "$project" --kind project
act quota set "$project" memory_gb 20

tell "Alice asks node $old_leader for 16 GB; at the same moment Bob asks node $second for 16 GB. Each fits alone."
two_at_once

tell "Node $old_leader leads the cluster. It is killed: no goodbye, as when the power fails."
killed=$old_leader
scripts/cluster.sh kill "$old_leader" | indent
wait_until "another node leads" has_leader
tell "Node $(leader) leads now. Node $third, not asked before, still knows of the 16 GB and grants the last 4:"
act --endpoints "$(listen_of "$third" client)" --actor carol reserve "$project:memory_gb=4"
act quota get "$project" memory_gb

tell "Node $old_leader comes back and learns what it missed, until all three hold the same state:"
scripts/cluster.sh start "$old_leader" | indent
killed=""
wait_until "all nodes show one revision and one digest" agree
act cluster status

tell "Everything was written down, the denial too:"
act events list --from "$((before + 1))" --limit 50

if [[ $once == no ]]; then
    cat <<NEXT

The cluster goes on. The program is
    $QUORATE_BIN
Try next, or the tour of the rules in README.md:
    quorate quota list acme                       what is used, held and available
    quorate quota lock $project memory_gb --reason "maintenance"
    quorate reserve $project:memory_gb=1     denied, with your reason
    quorate hold list acme                        live reservations; quorate release HOLD gives one back
    quorate diff -f examples/organization.yaml    what a document would change; quorate apply -f does it
    scripts/cluster.sh pause 1                    a node that hangs; resume 1, kill 1, start 1
    scripts/cluster.sh down                       stop; wipe also removes the data
NEXT
fi
