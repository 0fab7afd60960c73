#!/usr/bin/env bash
# Issues and manages the certificates of a Souk market. See ./gen-certs.sh --help.
#
# All files are in certs/pki next to this script, unless --dir or SOUK_PKI names another folder. Runs the
# first of: $GEN_CERTS, a gen-certs next to this script (as in an installed bundle), the one built from this
# repository, a gen-certs on the PATH.
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
echo "error: gen-certs was not found; install Rust (https://rustup.rs) or set GEN_CERTS to the program" >&2
exit 1
