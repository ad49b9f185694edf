#!/usr/bin/env bash
# Everything that must hold before a change goes in: format, lints, all tests. Exits with 0 only
# when all of it holds.
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
for script in scripts/*.sh .ci/run; do run bash -n "$script"; done
run cargo fmt --check
# The same profile everywhere: RocksDB is compiled once, which takes 10 to 20 minutes.
run cargo clippy --release --all-targets -- -D warnings
run cargo test --release
