# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # used by, and set in, hosts.sh and the files beside this one
# The environment of deploy/hosts.sh: namespaces, links, processes and files, and their removal.

# Maximum duration of a run, in case something hangs.
readonly RUN_LIMIT=280
# Maximum wait for one condition, in seconds.
readonly PATIENCE=30

if [ "${journey:-trade}" = join ]; then
    HOSTS=(market-1 alice bob)
else
    HOSTS=(database market-1 market-2 alice carol bob dave)
    command -v haproxy >/dev/null && HOSTS+=(balancer)
fi
readonly HOSTS
readonly MARKETS=(market-1 market-2)
declare -rA ADDRESS=(
    [database]=10.77.0.10 [market-1]=10.77.0.21 [market-2]=10.77.0.22
    [balancer]=10.77.0.30 [alice]=10.77.0.31 [carol]=10.77.0.32 [bob]=10.77.0.41 [dave]=10.77.0.42
)
declare -rA ROLE=([alice]=seller [carol]=seller [bob]=buyer [dave]=buyer)
readonly MARKET_1=10.77.0.21:7443 MARKET_2=10.77.0.22:7443 BALANCER=10.77.0.30:7443

steps=0
steps_ok=0
scratch=
running=
namespaces_before=

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# cannot WHY: exits with 77, because this machine does not support the test.
cannot() {
    printf 'error: %s\n' "$*" >&2
    exit 77
}

# step TEXT FUNCTION…: runs a step in a subshell and reports its result with its last line of output. The subshell runs
# in the background, because bash handles a signal only after a foreground command has ended.
step() {
    local text=$1 code=0 notes=${scratch:-$(mktemp -d)} detail
    steps=$((steps + 1))
    (
        set -e
        "${@:2}"
    ) >"$notes/step.out" 2>"$notes/step.err" &
    running=$!
    wait "$running" || code=$?
    running=
    detail=$(tail -n 1 "$notes/step.out")
    if [ "$code" = 0 ]; then
        steps_ok=$((steps_ok + 1))
        printf 'ok   %2d  %s%s\n' "$steps" "$text" "${detail:+ ($detail)}"
    else
        printf 'FAIL %2d  %s\n' "$steps" "$text"
        tail -n 5 "$notes/step.out" | sed 's/^/         /'
        tail -n 15 "$notes/step.err" | sed 's/^/         /'
    fi
    [ -n "$scratch" ] || rm -rf "$notes"
}

# Like step, but a failure ends the run, because the following steps depend on it.
first() {
    local ok=$steps_ok
    step "$@"
    [ "$steps_ok" -gt "$ok" ] || die "there is nothing to trade on; the reason stands above"
}

# limit_time ARGUMENTS…: restarts the script once under `timeout`. By then the programs are built, since building them may
# take long.
limit_time() {
    [ -z "${SOUK_HOSTS_LIMITED-}" ] || return 0
    SOUK_HOSTS_LIMITED=1 SOUK_BIN=$bin exec timeout --foreground "$RUN_LIMIT" "$0" "$@"
}

refuse_where_impossible() {
    [ "$(id -u)" = 0 ] || cannot "network namespaces need root; run it with sudo"
    local command
    for command in ip jq openssl python3 setpriv timeout; do
        command -v "$command" >/dev/null ||
            cannot "$command is missing; install it (Debian: iproute2 jq openssl python3 util-linux coreutils)"
    done
    ip netns add "souk-$$-probe" 2>/dev/null ||
        cannot "this machine does not permit network namespaces (ip netns add); run it where it may"
    ip netns del "souk-$$-probe"
}

# Sets `postgres` to the folder of its programs.
find_postgres() {
    postgres=$(find /usr/lib/postgresql/*/bin -name initdb 2>/dev/null | sort -V | tail -n 1 || true)
    postgres=${postgres:-$(command -v initdb || true)}
    [ -n "$postgres" ] || cannot "PostgreSQL is missing; install it (Debian: postgresql)"
    postgres=$(dirname "$postgres")
}

# find_programs PROFILE: sets `bin`.
find_programs() {
    bin=${SOUK_BIN-}
    if [ -z "$bin" ]; then
        local root=${deploy%/*} flags=()
        [ "$1" = debug ] || flags=(--release)
        printf 'building the programs (%s)\n' "$1"
        cargo build --quiet --manifest-path "$root/Cargo.toml" --bins "${flags[@]}" \
            -p market -p seller -p buyer -p souk-authority
        bin=${CARGO_TARGET_DIR:-$root/target}/$1
    fi
    local program
    for program in market seller buyer gen-certs; do
        [ -x "$bin/$program" ] || die "$bin/$program is missing; build it, or set SOUK_BIN to where it is"
    done
}

# Removes what a run that was killed with SIGKILL has left, because no trap runs then. Such a run is recognised by its
# process id, which no longer exists.
sweep_leftovers() {
    local name pid
    for name in $(ip netns list | sed -n 's/^\(souk-[0-9]*-[a-z0-9-]*\).*/\1/p'); do
        pid=${name#souk-}
        [ ! -e "/proc/${pid%%-*}" ] || continue
        end_namespace "$name"
        rm -rf "${TMPDIR:-/tmp}/souk-hosts.${pid%%-*}".??????
        printf 'swept up: %s\n' "$name"
    done
}

end_namespace() {
    local pid
    for pid in $(ip netns pids "$1" 2>/dev/null || true); do
        kill -9 "$pid" 2>/dev/null || true
    done
    ip netns del "$1" 2>/dev/null || true
}

set_up() {
    sweep_leftovers
    namespaces_before=$(ip netns list | sort)
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/souk-hosts.$$.XXXXXX")
    # The database's user must be able to traverse the folder.
    chmod 711 "$scratch"
    mkdir "$scratch/log"
    trap 'exit 130' INT TERM
    trap tear_down EXIT
}

# Ends every process in the namespaces, then the namespaces, then the files. May be called twice.
tear_down() {
    [ -n "$scratch" ] || return 0
    local name
    if [ -n "$running" ]; then
        { kill -9 "$running" && wait "$running"; } 2>/dev/null || true
    fi
    for name in switch "${HOSTS[@]}"; do
        end_namespace "$(namespace "$name")"
    done
    if [ -n "${SOUK_KEEP_LOGS-}" ]; then
        mkdir -p "$SOUK_KEEP_LOGS"
        cp -r "$scratch/log/." "$SOUK_KEEP_LOGS" || true
    fi
    rm -rf "$scratch"
    trap - EXIT
    left=$scratch
    scratch=
}

ground_is_clean() {
    local now
    now=$(ip netns list | sort)
    [ "$now" = "$namespaces_before" ] || { printf 'left over: %s\n' "$now"; return 1; }
    [ ! -e "$left" ]
}

namespace() { printf 'souk-%s-%s' "$$" "$1"; }

# inside HOST COMMAND…: runs the command in the host's namespace.
inside() { ip netns exec "$(namespace "$1")" "${@:2}"; }

# start HOST NAME COMMAND…: starts the command in the background, in the host's folder. Writes its process id to
# NAME.pid.
start() {
    local host=$1 name=$2
    shift 2
    (
        cd "$scratch/$host"
        exec ip netns exec "$(namespace "$host")" "$@" </dev/null >>"$scratch/log/$name.out" 2>>"$scratch/log/$name.err"
    ) &
    printf '%s\n' "$!" >"$scratch/$name.pid"
}

pid_of() { cat "$scratch/$1.pid"; }

# await TEXT COMMAND…: waits until the command succeeds, with a deadline.
await() {
    local text=$1 deadline=$((SECONDS + PATIENCE))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || { printf 'not within %s s: %s\n' "$PATIENCE" "$text"; return 1; }
        sleep 0.1
    done
}

# Prints the time in seconds with millisecond resolution.
now() { date +%s.%3N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f", b - a }'; }

mint_bundles() {
    local pki=$scratch/pki party
    mint() { "$bin/gen-certs" --dir "$pki" "$@" >/dev/null; }
    mint init
    for party in alice carol; do mint seller "$party"; done
    for party in bob dave; do mint buyer "$party"; done
    for party in market alice carol bob dave; do mint bundle "$party"; done
    for party in "${MARKETS[@]}"; do
        mkdir "$scratch/$party"
        tar -xpf "$pki/market.tar" -C "$scratch/$party"
        cp "$deploy/hosts/market.toml" "$scratch/$party/market.toml"
    done
    for party in alice carol bob dave; do
        mkdir "$scratch/$party"
        tar -xpf "$pki/$party.tar" -C "$scratch/$party"
    done
    printf '%s bundles' "$(find "$pki" -name '*.tar' | wc -l)"
}

raise_hosts() {
    local host switch
    switch=$(namespace switch)
    ip netns add "$switch"
    ip -n "$switch" link add switch type bridge
    ip -n "$switch" link set switch up
    for host in "${HOSTS[@]}"; do
        ip netns add "$(namespace "$host")"
        ip -n "$switch" link add "p-$host" type veth peer name eth0 netns "$(namespace "$host")"
        ip -n "$switch" link set "p-$host" master switch up
        ip -n "$(namespace "$host")" addr add "${ADDRESS[$host]}/24" dev eth0
        ip -n "$(namespace "$host")" link set lo up
        ip -n "$(namespace "$host")" link set eth0 up
        # Disable offloading: frames that pass through wire.py need complete checksums and must fit into the MTU.
        has_netem || inside "$host" python3 "$deploy/hosts/wire.py" --plain eth0
    done
    for host in "${HOSTS[@]}"; do printf '%s ' "$host"; done
}

look_for_keys() {
    local host keys
    for host in "${!ROLE[@]}"; do
        keys=$(find "$scratch/$host" -name '*.key' -printf '%f ')
        [ "$keys" = "$host.key " ] || { printf '%s holds %s\n' "$host" "$keys"; return 1; }
    done
    for host in "${MARKETS[@]}"; do
        keys=$(find "$scratch/$host" -name '*.key' -printf '%f\n' | sort | tr '\n' ' ')
        [ "$keys" = "market.key token.key " ] || { printf '%s holds %s\n' "$host" "$keys"; return 1; }
    done
}

cut() { ip -n "$(namespace switch)" link set "p-$1" down; }
restore_link() { ip -n "$(namespace switch)" link set "p-$1" up; }

has_netem() {
    [ -e "$scratch/netem" ] && return 0
    [ -e "$scratch/no-netem" ] && return 1
    if ip netns exec "$(namespace switch)" tc qdisc add dev lo root netem delay 1ms 2>/dev/null; then
        ip netns exec "$(namespace switch)" tc qdisc del dev lo root
        touch "$scratch/netem"
    else
        touch "$scratch/no-netem"
        return 1
    fi
}

# worsen HOST: delays the host's traffic by WIRE_DELAY ± WIRE_JITTER ms in each direction and drops WIRE_LOSS percent.
worsen() {
    local host=$1 switch
    switch=$(namespace switch)
    if has_netem; then
        ip netns exec "$switch" tc qdisc add dev "p-$host" root netem \
            delay "${WIRE_DELAY}ms" "${WIRE_JITTER}ms" loss "$WIRE_LOSS%"
        inside "$host" tc qdisc add dev eth0 root netem delay "${WIRE_DELAY}ms" "${WIRE_JITTER}ms" loss "$WIRE_LOSS%"
    else
        ip -n "$switch" link add "w-$host" type veth peer name "x-$host"
        ip -n "$switch" link set "p-$host" nomaster promisc on
        ip -n "$switch" link set "w-$host" promisc on up
        ip -n "$switch" link set "x-$host" master switch up
        ip netns exec "$switch" python3 "$deploy/hosts/wire.py" "p-$host" "w-$host" \
            "$WIRE_DELAY" "$WIRE_JITTER" "$WIRE_LOSS" </dev/null >>"$scratch/log/wire.out" 2>>"$scratch/log/wire.err" &
        printf '%s\n' "$!" >"$scratch/wire-$host.pid"
    fi
}

# better HOST: restores the host's link.
better() {
    local host=$1 switch
    switch=$(namespace switch)
    if has_netem; then
        ip netns exec "$switch" tc qdisc del dev "p-$host" root
        inside "$host" tc qdisc del dev eth0 root
    else
        kill "$(cat "$scratch/wire-$host.pid")"
        ip -n "$switch" link del "w-$host"
        ip -n "$switch" link set "p-$host" promisc off master switch
    fi
}
