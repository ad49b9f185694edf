#!/usr/bin/env bash
# Plants known bugs, one at a time, and shows that the simulation catches each of them.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$QUORATE_ROOT"

readonly FEATURE=planted-bugs SOURCE=src/planted.rs SIMULATION=sim TEST=the_seed_of_the_environment

# One of the store, one of the node, one of the rules.
readonly QUICK=(state-in-two-batches read-without-read-index ancestor-unchecked)

usage() {
    cat <<EOF
Usage: scripts/planted.sh [--bug NAME]... [--seeds N] [--jobs N] [--seconds N] [--quick] [--list]

A check that has never failed proves nothing. This plants known bugs in the program and runs the
simulation on it, seed after seed, until it finds something wrong.

First it is shown that
  - the ordinary program has no trace of the bugs, and the one with them refuses to run;
  - without a bug every seed passes.
Then each bug is planted in turn. Seeds are tried from 0 on, each in a process of its own. In the end a
table tells of each bug which seed caught it and what the simulation said first. Exits with 0 only when
every bug was caught.

  --bug NAME     only this one; can be repeated
  --seeds N      the most seeds for one bug (default 30)
  --jobs N       processes at a time (default: one for each core)
  --seconds N    the most that one process may take (default 300). One that takes longer is ended, and
                 has caught nothing: the simulation itself has to say what is wrong
  --quick        only three bugs of different kinds, with ten seeds at most
  --list         the bugs with the invariants that they break, and what is wrong; builds nothing

The bugs are in $SOURCE; where one is planted a line asks for it. Another is a line there, and a
line where it belongs. To look at one by hand:

  cargo test --release --features $FEATURE --test $SIMULATION --no-run
  QUORATE_PLANTED=NAME QUORATE_SIMULATION_SEED=7 QUORATE_SIMULATION_TRACE=/tmp/trace \\
    cargo test --release --features $FEATURE --test $SIMULATION -- --exact $TEST

The build with the bugs takes the program's place until the next ordinary build, which this makes, too.
EOF
}

# Of each bug a line: its name, the invariants that it breaks, what is wrong; divided by tabs.
bugs() {
    sed -nE '/^ *[A-Z][A-Za-z]+, "[a-z-]+", "[^"]+",$/ {
        s/^ *[A-Za-z]+, "([a-z-]+)", "([^"]+)",$/\1\t\2/; N; s/\n *"(.*)";$/\t\1/; p }' "$SOURCE"
}

seeds=30 jobs=$(nproc) seconds=300 quick="" chosen=()
while (($# > 0)); do
    case $1 in
        --bug | --seeds | --jobs | --seconds) [[ $# -gt 1 ]] || die "$1 needs a value" ;;&
        --bug) chosen+=("$2") && shift ;;
        --seeds) seeds=$2 && shift ;;
        --jobs) jobs=$2 && shift ;;
        --seconds) seconds=$2 && shift ;;
        --quick) quick=yes ;;
        --list) bugs | awk -F'\t' '{ printf "%-28s %-7s %s\n", $1, $2, $3 }' && exit ;;
        --help | -h) usage && exit ;;
        *) die "there is no option $1; see --help" ;;
    esac
    shift
done
for number in "$seeds" "$jobs" "$seconds"; do
    [[ $number =~ ^[1-9][0-9]*$ ]] || die "$number is no number from 1 on"
done
if [[ -n $quick ]]; then
    ((seeds <= 10)) || seeds=10
    ((${#chosen[@]} > 0)) || chosen=("${QUICK[@]}")
fi
mapfile -t all < <(bugs | cut -f1)
((${#all[@]} > 0)) || die "no bug was found in $SOURCE"
((${#chosen[@]} > 0)) || chosen=("${all[@]}")
for name in "${chosen[@]}"; do
    [[ " ${all[*]} " == *" $name "* ]] || die "there is no bug $name; see --list"
done

folder=$(mktemp -d)
# Each job is a process group, so that nothing is left of one that is ended early.
set -m
finish() {
    local code=$? job
    for job in $(jobs -p); do kill -- "-$job" 2>/dev/null || true; done
    wait
    rm -rf "$folder"
    exit "$code"
}
trap finish EXIT

build() {
    local said
    said=$(cargo test --release --features "$FEATURE" --test "$SIMULATION" --no-run 2>&1) || die "$said"
    local path
    path=$(sed -nE 's/^ *Executable .*\((.*)\)$/\1/p' <<<"$said")
    cp "$path" "$folder/sim"
    cp "$CARGO_TARGET_DIR/release/quorate" "$folder/planted"
    # The ordinary program takes its place again.
    said=$(cargo build --release 2>&1) || die "$said"
    cp "$CARGO_TARGET_DIR/release/quorate" "$folder/ordinary"
}

# The names are in the simulation with the bugs, so that looking for them means something.
check_programs() {
    local name
    for name in QUORATE_PLANTED "${all[@]}"; do
        grep -qaF -- "$name" "$folder/sim" || die "$name is not in the simulation with planted bugs"
        ! grep -qaF -- "$name" "$folder/ordinary" || die "$name is in the ordinary program"
    done
    "$folder/ordinary" --version >"$folder/said" || die "the ordinary program does not run"
    ! "$folder/planted" --version >"$folder/said" 2>&1 || die "the program with planted bugs runs"
    grep -q "planted bugs" "$folder/said" || die "the program with planted bugs does not say why it refuses"
}

# Runs a seed, with a bug or without ("-"). Returns 101 when the simulation found something wrong, 0
# when it did not, and something else when it did not come to its end.
run_seed() {
    local bug=$1 seed=$2 environment=(-u QUORATE_PLANTED)
    [[ $bug == - ]] || environment=("QUORATE_PLANTED=$bug")
    env -u QUORATE_SIMULATION_TRACE "${environment[@]}" QUORATE_SIMULATION_SEED="$seed" \
        timeout --foreground --kill-after=5 "$seconds" "$folder/sim" --exact "$TEST" --nocapture \
        >"$folder/$bug.$seed" 2>&1 </dev/null
}

# What was said first: the line below the first "panicked at".
said_first() {
    awk 'said { print; exit } /panicked at/ { said = 1 }' "$1" | cut -c1-200
}

# Tries a bug, and leaves a line: its name, the seed or "-", and what was said.
try_bug() {
    local bug=$1 seed code ended=0
    for ((seed = 0; seed < seeds; seed++)); do
        code=0
        run_seed "$bug" "$seed" || code=$?
        case $code in
            0) ;;
            101)
                printf '%s\t%s\t%s\n' "$bug" "$seed" "$(said_first "$folder/$bug.$seed")" >"$folder/$bug.result"
                return
                ;;
            *) ended=$((ended + 1)) ;;
        esac
        rm -f "$folder/$bug.$seed"
    done
    printf '%s\t-\tnot caught; of %s seeds %s were ended early, the last code is %s\n' \
        "$bug" "$seeds" "$ended" "$code" >"$folder/$bug.result"
}

pass_without() {
    local seed=$1
    run_seed - "$seed" && grep -q "1 passed" "$folder/-.$seed" || : >"$folder/failed.$seed"
}

# Calls a function with each of the other arguments, so many at a time.
in_turn() {
    local work=$1 argument
    shift
    for argument in "$@"; do
        while (($(jobs -rp | wc -l) >= jobs)); do wait -n || true; done
        "$work" "$argument" &
    done
    wait
}

echo "building with the feature $FEATURE, and without"
SECONDS=0
build
check_programs
echo "built after ${SECONDS} s: the ordinary program has no trace of the bugs, the other refuses to run"

SECONDS=0
in_turn pass_without $(seq 0 $((seeds - 1)))
for failed in "$folder"/failed.*; do
    [[ -e $failed ]] || continue
    tail -n 20 "$folder/-.${failed##*.}" >&2
    die "seed ${failed##*.} fails without a planted bug"
done
echo "without a bug $seeds seeds pass (${SECONDS} s)"

SECONDS=0
in_turn try_bug "${chosen[@]}"
caught=0
printf '\n%-28s %-7s %5s  %s\n' bug breaks seeds "what the simulation said first"
for name in "${chosen[@]}"; do
    breaks=$(bugs | awk -F'\t' -v name="$name" '$1 == name { print $2 }')
    IFS=$'\t' read -r _ seed said <"$folder/$name.result"
    if [[ $seed != - ]]; then
        caught=$((caught + 1))
        seed=$((seed + 1))
    fi
    printf '%-28s %-7s %5s  %s\n' "$name" "$breaks" "$seed" "$said"
done
printf '\n%s of %s planted bugs were caught (%s s)\n' "$caught" "${#chosen[@]}" "$SECONDS"
((caught == ${#chosen[@]}))
