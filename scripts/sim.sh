#!/usr/bin/env bash
# Deterministic simulation: a whole cluster in one process, on simulated time, network and disks, under
# faults that follow from a seed. tests/sim/README.md says what is injected and what is checked.
set -euo pipefail

usage() {
    cat <<'END'
usage: scripts/sim.sh [--seeds N] [--first S] [--minutes M] [--twice N]
       scripts/sim.sh --seed S [--trace FILE]
       scripts/sim.sh --replay S

  --seeds N     run so many seeds (20), each in a process of its own, one per processor at a time
  --first S     the first of them (0)
  --minutes M   stop after so many minutes; without --seeds, as many seeds as fit into them
  --twice N     then run the first N once more, twice each: the traces must be the same bytes
  --seed S      run one seed, and say what it was like
  --trace FILE  write its trace there
  --replay S    run one seed that has failed, keep its trace in ./sim-S.trace, and show the end of it

A sweep prints seeds per second, simulated time and how often each fault was injected; a seed that missed
a fault of its shape does not count. It exits with 1 when a seed fails, after its last lines and the
command that shows it again, and when 40 seeds or more have not met every fault.
END
}

seeds='' first='' minutes='' twice='' seed='' trace='' replay=''
whole() {
    if ! [[ $2 =~ ^[0-9]+$ ]]; then
        printf 'sim.sh: %s takes a whole number, not %q\n' "$1" "$2" >&2
        exit 2
    fi
}
while (($#)); do
    case $1 in
        -h | --help) usage; exit 0 ;;
        --seeds | --first | --minutes | --twice | --seed | --replay | --trace)
            if (($# < 2)); then
                printf 'sim.sh: %s needs a value; see scripts/sim.sh --help\n' "$1" >&2
                exit 2
            fi
            [[ $1 == --trace ]] || whole "$1" "$2"
            printf -v "${1#--}" %s "$2"
            shift 2
            ;;
        *)
            printf 'sim.sh: unknown option %q; see scripts/sim.sh --help\n' "$1" >&2
            exit 2
            ;;
    esac
done
if [[ -n $trace && $trace != /* ]]; then trace=$PWD/$trace; fi
if [[ -n $replay ]]; then seed=$replay trace=$PWD/sim-$replay.trace; fi

source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$QUORATE_ROOT"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! cargo test --release --test sim --no-run 2>"$log"; then
    cat "$log" >&2
    die "the simulation cannot be built"
fi
program=$(sed -n 's/^ *Executable .*(\(.*\))$/\1/p' "$log")

if [[ -n $seed ]]; then
    code=0
    QUORATE_SIMULATION_SEED=$seed QUORATE_SIMULATION_TRACE=$trace \
        "$program" --exact the_seed_of_the_environment --nocapture || code=$?
    if [[ -n $trace ]]; then echo "the trace is in $trace"; fi
    exit "$code"
fi
if [[ -z $seeds && -z $minutes ]]; then seeds=20; fi
export QUORATE_SIMULATION_SEEDS=$seeds QUORATE_SIMULATION_FIRST=$first
export QUORATE_SIMULATION_MINUTES=$minutes QUORATE_SIMULATION_TWICE=$twice
exec "$program" --exact the_sweep_of_the_environment --nocapture
