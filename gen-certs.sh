#!/usr/bin/env bash
# Mints and keeps the certificates of a Souk market: ./gen-certs.sh --help
#
# Everything is kept in certs/pki beside this script, unless --dir or SOUK_PKI names another folder. The program is
# $GEN_CERTS if set, else a gen-certs beside this script (as in an installed bundle), else the one built from this
# repository, else a gen-certs on the PATH.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
export SOUK_PKI="${SOUK_PKI:-$here/certs/pki}"

if [ -n "${GEN_CERTS:-}" ]; then
    exec "$GEN_CERTS" "$@"
elif [ -x "$here/gen-certs" ]; then
    exec "$here/gen-certs" "$@"
elif [ -f "$here/certs/Cargo.toml" ] && command -v cargo >/dev/null 2>&1; then
    exec cargo run --release --quiet --manifest-path "$here/Cargo.toml" --bin gen-certs -- "$@"
elif command -v gen-certs >/dev/null 2>&1; then
    exec gen-certs "$@"
fi
echo "error: there is no gen-certs to run; install Rust (https://rustup.rs) or set GEN_CERTS to the program" >&2
exit 1
