# shellcheck shell=bash
# Sourced by the other scripts: where things are. Sets
#
#   QUORATE_ROOT       the repository
#   CARGO_TARGET_DIR   where the build goes, outside the repository, so that a fresh checkout
#                      finds RocksDB compiled; choose with QUORATE_TARGET_DIR
#   QUORATE_BIN        the program
#
# and the functions
#
#   die MESSAGE…             says what is wrong and exits with 1
#   config_of NODE           the configuration of a node of the local cluster, from QUORATE_ROOT
#   listen_of NODE SECTION   the address that it listens on: for `client`, for `peer`

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

config_of() { echo "deploy/local/node$1.toml"; }

listen_of() {
    sed -n "/^\[$2\]/,/^\[/ s/^listen *= *\"\(.*\)\".*/\1/p" "$QUORATE_ROOT/$(config_of "$1")"
}

QUORATE_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Exported flags replace those of .cargo/config.toml: the build would be another one, and compile
# RocksDB once more.
for quorate_flags in RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS; do
    if [[ -n ${!quorate_flags:-} ]]; then
        die "$quorate_flags is set and would replace the flags of .cargo/config.toml; run: unset $quorate_flags"
    fi
done
unset quorate_flags

if [[ -z ${CARGO_TARGET_DIR:-} ]]; then
    CARGO_TARGET_DIR=${QUORATE_TARGET_DIR:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/quorate/target}
    if ! mkdir -p "$CARGO_TARGET_DIR" 2>/dev/null || [[ ! -w $CARGO_TARGET_DIR ]]; then
        CARGO_TARGET_DIR=$QUORATE_ROOT/target
    fi
fi
# The scripts change the directory, so a relative one has to be pinned first.
[[ $CARGO_TARGET_DIR == /* ]] || CARGO_TARGET_DIR=$PWD/$CARGO_TARGET_DIR
export CARGO_TARGET_DIR

# A toolchain that was just installed is not on the PATH of the shell it was installed from.
if ! command -v cargo >/dev/null && [[ -x ${CARGO_HOME:-${HOME:-}/.cargo}/bin/cargo ]]; then
    PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    export PATH
fi

QUORATE_BIN=${QUORATE_BIN:-$CARGO_TARGET_DIR/release/quorate}
[[ $QUORATE_BIN == /* ]] || QUORATE_BIN=$PWD/$QUORATE_BIN
export QUORATE_ROOT QUORATE_BIN
