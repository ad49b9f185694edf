#!/usr/bin/env bash
# Faults on three real nodes, under work, with every answer judged. --help says more.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

usage() {
    cat <<'HELP'
usage: scripts/chaos.sh [--seconds S] [--at-most S] [--kills N] [--operations N] [--seed S]
                        [--faults LIST] [--power] [--other REVISION] [--loopback] [--keep]

Builds, starts three nodes, and harms them while clients work: processes are killed and paused, the
network between them is cut, loses packets or is slow, disks fill up, files are damaged, nodes are
replaced. Prints a line for each fault with the longest time without a granted reservation. At the end
everything must heal, and all that any client was told must follow from the events.

Faults go on until each kind has happened, for at least 60 seconds, and until the goals are reached.

  --seconds S      for at least so long
  --at-most S      for at most so long: 15 minutes more than the least, 10 seconds more for each kill
                   and 2 for each 1000 operations
  --kills N        a goal: so many processes are killed, mostly whole clusters
  --operations N   a goal: so many commands are acknowledged
  --seed S         where all chance comes from; printed when it is not given
  --faults LIST    these kinds alone, joined by commas: "kill-leader,cut-follower"
  --power          the end of a process is a loss of power: what RocksDB had written and not synced
                   is gone. The nodes are those of power/, which has files for it
  --other REVISION another version of the program, built from that revision of git: nodes go back and
                   forth between the two, one at a time
  --loopback       no namespaces, no mounts: without the faults that need them
  --keep           leave logs and data behind; after a failure they stay in any case

As root, with ip, nft (installed when apt-get can) and loop mounts, each node has a network namespace
and a small disk. What the machine cannot do is left out, with a line that says so. Every kind that is
not left out has to happen: otherwise, and when a goal is not reached in time, the run has failed.
Exits with 0 only when all of it holds. Nothing is left running, mounted or set up, also on Ctrl-C.
HELP
}

need() { [[ ${2:-} =~ ^$3$ ]] || die "$1 needs $4"; }

other=""
while (($# > 0)); do
    case $1 in
    --seconds | --at-most | --kills | --operations | --seed)
        need "$1" "${2:-}" '[0-9]+' "a number"
        name=${1#--}
        name=${name//-/_}
        export "QUORATE_CHAOS_${name^^}=$2"
        shift
        ;;
    --faults)
        need "$1" "${2:-}" '[a-z,-]+' "kinds of fault, joined by commas"
        export QUORATE_CHAOS_FAULTS=$2
        shift
        ;;
    --other)
        need "$1" "${2:-}" '[^-].*' "a revision of git"
        other=$2
        shift
        ;;
    --power) export QUORATE_CHAOS_POWER=$CARGO_TARGET_DIR/release/quorate-power ;;
    --loopback) export QUORATE_CHAOS_LOOPBACK=yes ;;
    --keep) export QUORATE_CHAOS_KEEP=yes ;;
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

if [[ -n $other && -n ${QUORATE_CHAOS_POWER:-} ]]; then
    die "--power and --other do not go together: the other version has files that outlive its process"
fi

cd "$QUORATE_ROOT"
scripts/setup.sh
[[ -n ${QUORATE_CHAOS_LOOPBACK:-} ]] || scripts/setup.sh --faults

# Cargo tells sources by their paths below the repository and by their age. Those of another revision are
# younger there, and what was built of them would pass for what is here.
rejuvenate() { find build.rs src proto power -type f -exec touch {} +; }

clean_up() {
    git worktree remove --force "$folder/tree" 2>/dev/null || true
    rm -rf "$folder"
}

# Into the same target directory, whose dependencies are compiled.
build_other() {
    local revision
    revision=$(git rev-parse --verify --quiet "$other^{commit}") || die "there is no revision $other"
    folder=$(mktemp -d)
    trap 'clean_up; rejuvenate' EXIT
    git worktree add --quiet --detach "$folder/tree" "$revision"
    (cd "$folder/tree" && cargo build --release --quiet --locked)
    # A failed run names the revision by the name of the program.
    cp "$CARGO_TARGET_DIR/release/quorate" "$folder/$revision"
    rejuvenate
    trap clean_up EXIT
    export QUORATE_CHAOS_OTHER=$folder/$revision
}

if [[ -n $other ]]; then build_other; fi
if [[ -n ${QUORATE_CHAOS_POWER:-} ]]; then cargo build --release --quiet --package quorate-power; fi
cargo test --release --quiet --test chaos --no-run
chaos=(cargo test --release --quiet --test chaos -- --exact chaos --ignored --nocapture)
if [[ -z $other ]]; then exec "${chaos[@]}"; fi
"${chaos[@]}"
