#!/usr/bin/env bash
# All checks that must pass before a change is merged: format, lints, contract, tests, documentation, faults and the tour.
# Needs Rust and a C compiler. As root, installs other missing tools from Debian packages.
set -euo pipefail
cd "$(dirname "$0")"

current='' timings=()

# step NAME: ends the current step, prints its duration in seconds, and starts another one.
step() {
    [ -z "$current" ] || timings+=("$(printf '%5d s  %s' "$((SECONDS - began))" "$current")")
    current=$1 began=$SECONDS
    [ -z "$current" ] || printf '\n== %s\n' "$current"
}

skip() { printf 'skipped: %s\n' "$*"; }

# install PACKAGES COMMAND...: installs PACKAGES if COMMAND fails and we are root. Returns COMMAND's exit status.
install() {
    "${@:2}" >/dev/null 2>&1 && return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq >/dev/null 2>&1 || true
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $1 >/dev/null 2>&1 || true
    fi
    "${@:2}" >/dev/null 2>&1
}

# beside COMMAND...: starts COMMAND in the background. `join_it` waits for it, prints its output and fails if it failed.
beside() {
    beside_output=$(mktemp)
    "$@" >"$beside_output" 2>&1 &
    beside=$!
}
join_it() {
    local code=0
    wait "$beside" || code=$?
    cat "$beside_output"
    rm "$beside_output"
    beside=''
    return "$code"
}
beside=''
trap '[ -z "$beside" ] || kill "$beside" 2>/dev/null || true' EXIT

step "format"
cargo fmt --all --check

step "lints"
cargo clippy --workspace --all-targets --quiet -- -D warnings

step "advisories, licences, sources of dependencies"
# The tidy test checks licences, sources and crypto back ends without it.
if cargo deny --version >/dev/null 2>&1; then
    cargo deny check
else
    skip "advisories (cargo-deny is missing)"
fi

step "contract: buf lint"
if install npm npm --version; then
    npx --yes @bufbuild/buf@1 lint proto && echo "proto: clean"
else
    skip "buf lint (npm is missing and could not be installed)"
fi

step "build"
install openssl openssl version || skip "openssl's view of the certificates (openssl is missing)"
# The tests start a private server in a temporary folder.
postgres() { compgen -G '/usr/lib/postgresql/*/bin/initdb' || command -v initdb; }
if ! install postgresql postgres; then
    skip "every test on PostgreSQL (postgresql is missing and could not be installed)"
    export SOUK_TEST_POSTGRES=skip
fi
# One build for everything: building single packages later would select other features and compile everything again.
cargo build --workspace --all-targets --quiet
bin=$PWD/target/debug
export BIN=$bin SOUK_BIN=$bin

step "tests"
# In two halves that run concurrently, because much of their time is waiting: the targets that begin with s (`security` and
# `shell`), and all others.
beside cargo test --workspace --test 's*'
cargo test --workspace --lib --bins --examples --benches --test '[!s]*'
join_it

step "examples in the documentation"
cargo test --workspace --doc --quiet

step "back ends: the same suites on all of them"
# Of the whole workspace: for a single package cargo would choose other features, and so compile everything again.
listed=$(cargo test --quiet --workspace --test it -- --list)
uneven=0
# suite NAME PATTERN: counts the cases of a suite on each back end, which takes the place of BACK_END.
suite() {
    local counts=() back_end
    for back_end in memory sqlite postgres; do
        counts+=("$(grep -cE "^${2/BACK_END/$back_end}: test$" <<<"$listed" || true)")
    done
    printf '%s suite: memory %s, sqlite %s, postgres %s\n' "$1" "${counts[@]}"
    if [ "${counts[0]}" = 0 ] || [ "${counts[0]}" != "${counts[1]}" ] || [ "${counts[0]}" != "${counts[2]}" ]; then
        uneven=1
    fi
}
suite store '[a-z_]+::BACK_END::[a-z_0-9]+'
suite trade 'trade::.*::BACK_END::.*'
if [ "$uneven" = 1 ]; then
    echo "the back ends do not run the same suites" >&2
    exit 1
fi
if [ "${SOUK_TEST_POSTGRES:-}" = skip ]; then
    skip "the suites on PostgreSQL were listed, not run"
fi

# Counts only, no latencies: lost and doubled orders, wrong acknowledgements, missing notifications.
drivers() {
    printf '\n== a till whose stream is cut, that dies, and whose market is killed\n'
    "$bin/bench" sync --cut 26
    printf '\n== two markets whose primary database is killed, or hangs: the standby takes over\n'
    if [ "${SOUK_TEST_POSTGRES:-}" = skip ]; then
        skip "losing the primary (postgresql is missing and could not be installed)"
    else
        "$bin/bench" failover --seconds 2
        "$bin/bench" failover --seconds 2 --freeze
    fi
    printf '\n== faults: kills, power cuts, failing disks, dead callbacks, histories\n'
    "$bin/bench" crash --kills 6
    "$bin/bench" power-cut --cuts 12
    "$bin/bench" faults --seconds 3
    "$bin/bench" dead-callbacks --endpoints 200 --pairs 1 --seconds 3
    "$bin/bench" histories --ops 4000
}
# They wait most of the time, so they run beside the steps up to the attacks.
beside drivers

step "documentation: every command of README and tutorial"
docs/test.sh "$bin"

step "completions in bash, zsh and fish, and manual pages"
install zsh zsh --version || true
install fish fish --version || true
install man-db man --version || true
client/help/test.sh "$bin"

step "SDK: the examples against a market"
client/examples/test.sh "$bin"

step "clients: other programs against a market"
if install npm npm --version && install openssl openssl version &&
    install python3-venv python3 -c 'import ensurepip, venv'; then
    # Without them, the clients in Go and C++ are skipped.
    install "golang-go golang-google-grpc-dev golang-github-golang-protobuf-1-5-dev golang-google-protobuf-dev
        protobuf-compiler protoc-gen-go protoc-gen-go-grpc" clients/go/build.sh --check || true
    install "g++ pkgconf libgrpc++-dev protobuf-compiler-grpc" clients/cpp/build.sh --check || true
    clients/test.sh
else
    skip "clients in other languages (npm, openssl or python3 is missing and could not be installed)"
fi

step "deploy: units, manifests, configurations, installation"
deploy/check.sh

step "deploy: eight hosts on one machine, cut off, killed and balanced"
if [ "$(id -u)" = 0 ]; then
    install iproute2 ip -V || true
    install jq jq --version || true
fi
code=0
deploy/hosts.sh && deploy/hosts.sh join || code=$?
if [ "$code" = 77 ]; then
    skip "several hosts on one machine (the reason is above)"
elif [ "$code" != 0 ]; then
    exit "$code"
fi

step "drivers: a till, a primary database, and faults, which began before the documentation"
join_it

# They wait much of the time, and count.
joining_and_tour() {
    printf '\n== joining: with a code, beside attackers, and without the authority\n'
    "$bin/bench" join --any-time
    printf '\n== tour: every call of every service over real mutual TLS\n'
    "$bin/market" demo --tour
}

step "attacks: an honest client beside every known attacker; joining; tour"
# Counts and memory only.
beside joining_and_tour
"$bin/bench" hostile --short
join_it

step "costs: no ratio is grossly wrong"
"$bin/bench" smoke

step ''
printf '\n== seconds of each step\n'
printf '%s\n' "${timings[@]}"
printf '%5d s  in all\n' "$SECONDS"
