#!/usr/bin/env bash
# All checks that must pass before a change is merged: format, lints, contract, tests, deployment and the tour.
# Needs Rust and a C compiler. As root, installs other missing tools from Debian packages.
set -euo pipefail
cd "$(dirname "$0")"

step() { printf '\n== %s\n' "$*"; }
skip() { printf 'skipped: %s\n' "$*"; }

# install PACKAGE COMMAND...: installs PACKAGE if COMMAND fails and we are root. Returns COMMAND's exit status.
install() {
    "${@:2}" >/dev/null 2>&1 && return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq >/dev/null 2>&1 || true
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$1" >/dev/null 2>&1 || true
    fi
    "${@:2}" >/dev/null 2>&1
}

step "format"
cargo fmt --all --check

step "lints"
cargo clippy --workspace --all-targets --quiet -- -D warnings

step "one crypto back end"
for crate in ring openssl native-tls; do
    if [ -n "$(cargo tree --workspace --prefix none --invert "$crate" 2>/dev/null)" ]; then
        echo "the dependency tree contains $crate" >&2
        exit 1
    fi
done
echo "no ring, no openssl, no native-tls"

step "contract: buf lint"
if install npm npm --version; then
    npx --yes @bufbuild/buf@1 lint proto && echo "proto: clean"
else
    skip "buf lint (npm is missing and could not be installed)"
fi

step "tests"
install openssl openssl version || skip "openssl's view of the certificates (openssl is missing)"
# The tests start their own PostgreSQL server in a temporary folder.
postgres() { compgen -G '/usr/lib/postgresql/*/bin/initdb' || command -v initdb; }
if ! install postgresql postgres; then
    skip "every test on PostgreSQL (postgresql is missing and could not be installed)"
    export SOUK_TEST_POSTGRES=skip
fi
cargo test --workspace --all-targets
cargo test --workspace --doc --quiet

step "back ends: the same suites on all of them"
listed=$(cargo test --quiet -p market --test it -- --list)
uneven=0
for suite in store trade; do
    counts=()
    for back_end in memory sqlite postgres; do
        counts+=("$(grep -c "^$suite::.*::$back_end::.*: test$" <<<"$listed" || true)")
    done
    printf '%s suite: memory %s, sqlite %s, postgres %s\n' "$suite" "${counts[@]}"
    if [ "${counts[0]}" = 0 ] || [ "${counts[0]}" != "${counts[1]}" ] || [ "${counts[0]}" != "${counts[2]}" ]; then
        uneven=1
    fi
done
if [ "$uneven" = 1 ]; then
    echo "the back ends do not run the same suites" >&2
    exit 1
fi
if [ "${SOUK_TEST_POSTGRES:-}" = skip ]; then
    skip "the suites on PostgreSQL were listed, not run"
fi

step "clients: other programs on a real market"
if install npm npm --version && install openssl openssl version &&
    install python3-venv python3 -c 'import ensurepip, venv'; then
    cargo build --quiet --workspace --bins
    clients/test.sh
else
    skip "clients of other languages (npm, openssl or python3 is missing and could not be installed)"
fi

step "deploy: units, manifests, configurations, installation"
cargo build --quiet --workspace --bins
deploy/check.sh

step "deploy: eight hosts on one machine, with partitions, crashes and a load balancer"
if [ "$(id -u)" = 0 ]; then
    install iproute2 ip -V || true
    install jq jq --version || true
fi
code=0
deploy/hosts.sh || code=$?
if [ "$code" = 77 ]; then
    skip "several hosts on one machine (see the reason above)"
elif [ "$code" != 0 ]; then
    exit "$code"
fi

step "inventory sync while streams are cut, the till restarts and the market is killed"
cargo run --quiet -p bench -- sync --cut 26

step "failover: two markets whose primary database is killed, then frozen"
if [ "${SOUK_TEST_POSTGRES:-}" = skip ]; then
    skip "losing the primary (postgresql is missing and could not be installed)"
else
    cargo run --quiet -p bench -- failover --seconds 2
    cargo run --quiet -p bench -- failover --seconds 2 --freeze
fi

step "tour: every call of every service over real mutual TLS"
cargo run --quiet -p market -- demo --tour
