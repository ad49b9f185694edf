#!/usr/bin/env bash
# Installs what the build needs and this machine lacks: a C++ compiler and libclang, for RocksDB,
# and make, for the allocator.
# Says nothing and changes nothing when all is there. Rust itself is left to you. With --faults it
# installs what scripts/chaos.sh can do without, but with fewer kinds of fault, and never fails.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

readonly RUST_MAJOR=1 RUST_MINOR=95

check_rust() {
    local version major minor
    local advice="install Rust $RUST_MAJOR.$RUST_MINOR or newer, for example with rustup, and run this again"
    command -v cargo >/dev/null || die "cargo is not installed: $advice"
    # In the repository, where a toolchain override would apply.
    version=$(cd "$QUORATE_ROOT" && rustc --version) || die "rustc does not run: $advice"
    IFS=. read -r major minor _ <<<"${version#rustc }"
    if ((major < RUST_MAJOR || (major == RUST_MAJOR && minor < RUST_MINOR))); then
        die "$version is too old: $advice"
    fi
}

# The library that bindgen loads, and the headers of clang itself, which come in another package.
has_libclang() {
    local pattern found=""
    [[ -n ${LIBCLANG_PATH:-} ]] && return
    for pattern in /usr/lib/llvm-*/lib/libclang /usr/lib/*/libclang /usr/lib/libclang /usr/lib64/libclang \
        /usr/local/lib/libclang; do
        if compgen -G "${pattern}*.so*" >/dev/null; then
            found=yes
            break
        fi
    done
    [[ -n $found ]] || return 1
    for pattern in "/usr/lib/llvm-*/lib/clang/*/include/stddef.h" "/usr/lib*/clang/*/include/stddef.h" \
        "/usr/local/lib/clang/*/include/stddef.h"; do
        if compgen -G "$pattern" >/dev/null; then
            return 0
        fi
    done
    return 1
}

# The Debian packages that this machine lacks.
missing_packages() {
    command -v cc >/dev/null || echo gcc
    command -v c++ >/dev/null || echo g++
    command -v make >/dev/null || echo make
    has_libclang || echo libclang-dev
}

install_packages() {
    local as_root=()
    local by_hand="install them, then run this again"
    command -v apt-get >/dev/null ||
        die "the build needs these packages (Debian's names): $*; there is no apt-get here: $by_hand"
    if ((EUID != 0)); then
        command -v sudo >/dev/null ||
            die "the build needs these packages: $*; as root run: apt-get install $*"
        as_root=(sudo)
    fi
    echo "Installing for the build: $*"
    # The lists of a fresh machine are empty or old, so a first failure is answered by an update.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" \
        >/dev/null 2>&1 && return
    "${as_root[@]}" apt-get update -qq || die "apt-get update failed; $by_hand: $*"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" \
        >/dev/null || die "apt-get could not install: $*; $by_hand"
}

# Without it there are no faults in the network; the run says so.
install_for_faults() {
    command -v nft >/dev/null && return
    if ! (install_packages nftables) >/dev/null 2>&1; then
        echo "nftables cannot be installed here: scripts/chaos.sh leaves the network alone"
    fi
}

if [[ ${1:-} == --faults ]]; then
    # Only root can use it.
    if ((EUID == 0)); then install_for_faults; fi
    exit
fi

check_rust
mapfile -t packages < <(missing_packages)
if ((${#packages[@]} > 0)); then
    install_packages "${packages[@]}"
    mapfile -t packages < <(missing_packages)
    ((${#packages[@]} == 0)) || die "installed, but not found afterwards: ${packages[*]}; install them by hand"
fi
