#!/usr/bin/env bash
# Everything that must hold before a change goes in: format, lints, all tests, each fuzz harness for
# a minute. Exits with 0 only when all of it holds.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$QUORATE_ROOT"

finish() {
    local code=$?
    local verdict="failed in: $step"
    if ((code == 0)); then verdict="all passed"; fi
    printf '\n%s after %d min %02d s\n' "$verdict" $((SECONDS / 60)) $((SECONDS % 60))
    exit "$code"
}
step="set-up"
trap finish EXIT

run() {
    step=$*
    printf '\n$ %s\n' "$step"
    "$@"
}

scripts/setup.sh
scripts/setup.sh --faults
for script in scripts/*.sh .ci/run; do run bash -n "$script"; done
run cargo fmt --all --check
# The same profile everywhere: RocksDB is compiled once, which takes 10 to 20 minutes.
run cargo clippy --release --workspace --all-targets -- -D warnings
# The fuzz tests are those of `tests/fuzz`, two at a time on two cores: six minutes. All others take
# no notice.
run env QUORATE_FUZZ_SECONDS="${QUORATE_FUZZ_SECONDS:-60}" cargo test --release
run cargo test --release --locked --manifest-path patches/base2histogram/Cargo.toml
# Files that forget what was not synced; and whether what was acknowledged is there when nodes lose
# their power on such files.
run cargo test --release --package quorate-power
run scripts/chaos.sh --power --seconds 20 --faults kill-all,kill-leader,kill-follower
# Many days on which everything goes wrong, and whether the first of them are the same when repeated.
run scripts/sim.sh --seeds 200 --twice 20
# Whether the simulation still finds what is wrong: three known bugs, in a build of their own.
run scripts/planted.sh --quick
# Only whether it works: speed is measured by hand.
run cargo test --release --bench ledger
run cargo test --release --bench events
