#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# Tests deploy/compose/open.sh without a Docker engine: a stand-in for `docker` runs the real programs on this machine, with
# a folder for each volume. Uses the programs in $SOUK_BIN (default target/debug).
set -euo pipefail

here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
programs=${SOUK_BIN:-${here%/*/*}/target/debug}
for program in market gen-certs; do
    [ -x "$programs/$program" ] || { echo "error: $programs/$program is missing; build it, or set SOUK_BIN" >&2; exit 1; }
done
work=$(mktemp -d)
# shellcheck disable=SC2317 # called by the trap
leave() {
    [ ! -e "$work/authority.pid" ] || kill "$(cat "$work/authority.pid")" 2>/dev/null || true
    rm -rf "$work"
}
trap leave EXIT

# shellcheck source=../checks.sh
. "${here%/*}/checks.sh"
logs=("$work/serve.log")

# The stand-in: paths in a container become paths in the folder of its volume, and the public name this machine's address.
mkdir -p "$work/fake" "$work/volumes"
port=$(free_port)
cat >"$work/fake/docker" <<END
#!/usr/bin/env bash
set -euo pipefail
programs=$programs work=$work port=$port
END
cat >>"$work/fake/docker" <<'END'
printf '%s\n' "$*" >>"$work/commands"
[ "$1 $2 $3" = "compose -p souk" ] || exit 125
shift 3
verb=$1
shift
entrypoint=''
while [[ ${1-} == -* ]]; do
    case $1 in
        --entrypoint) entrypoint=$2; shift ;;
        --rm | --no-deps | -T | -d | --wait) ;;
        *) exit 125 ;;
    esac
    shift
done
service=${1-}
[ $# = 0 ] || shift
# in_volume PROGRAM ARGUMENTS…
in_volume() {
    local arguments=() argument
    for argument in "${@:2}"; do
        argument=${argument//\/var\/lib\/souk-market/$work\/volumes\/$service}
        argument=${argument//\/var\/lib\/souk-authority/$work\/volumes\/$service}
        [ "$argument" != market.example.org ] || argument=127.0.0.1:$port
        arguments+=("$argument")
    done
    env -i PATH=/usr/bin:/bin SOUK_PKI="$work/volumes/authority/pki" "$1" "${arguments[@]}"
}
case $verb in
    build) ;;
    up)
        if [ "$service" = authority ] && [ ! -e "$work/authority.pid" ]; then
            SOUK_PKI=$work/volumes/authority/pki "$programs/gen-certs" serve --listen "127.0.0.1:$port" \
                >"$work/serve.log" 2>&1 </dev/null &
            echo "$!" >"$work/authority.pid"
            for _ in {1..100}; do
                ! grep -q 'enrolment is open' "$work/serve.log" || exit 0
                sleep 0.1
            done
            exit 1
        fi
        ;;
    exec)
        [ "$1" = gen-certs ] || exit 125
        in_volume "$programs/gen-certs" "${@:2}"
        ;;
    run)
        case $service in
            authority) in_volume "${entrypoint:-$programs/gen-certs}" "$@" ;;
            market-*) in_volume "${entrypoint:-$programs/market}" "$@" ;;
        esac
        ;;
    *) exit 125 ;;
esac
END
chmod +x "$work/fake/docker"
PATH=$work/fake:$PATH
cp -r "$here" "$work/compose"
rm -rf "$work/compose/secrets" "$work/compose/.env"

# opens TEXT CODE WORDS ARGUMENTS…: checks that open.sh exits with CODE and prints WORDS.
opens() { says "$1" "$2" "$3" "$work/compose/open.sh" "${@:4}"; }

opens "no name: says what it is" 1 "name this machine"
opens "an address is refused as a name" 1 "is not a host name" 192.0.2.1
[ ! -e "$work/commands" ] || fail "something was done without a name"
opens "first time: an authority, and two markets that join it" 0 "joined as market market-2" market.example.org
for market in market-1 market-2; do
    context=$work/volumes/$market/market
    grep -q "^name = \"$market\"" "$context/context.toml" || fail "$market has no certificate of its own"
    [ "$(stat -c %a "$context/live/party.key" "$context")" = $'600\n700' ] || fail "modes of $market's key"
done
check "each market has a certificate and a key of its own"
[ "$(stat -c %a "$work/compose/secrets" "$work/compose/secrets/postgres.key")" = $'700\n600' ] || fail "modes of secrets"
openssl verify -CAfile "$work/compose/secrets/postgres-ca.pem" -verify_hostname database -purpose sslserver \
    "$work/compose/secrets/postgres.pem" >/dev/null || fail "the database's certificate"
check "the database's certificate names it"
grep -q "^context = \"/var/lib/souk-market/market\"" "$here/market.toml" || fail "market.toml names another folder"
! grep -rq "souk1" "$work/commands" "$work/out" "$work/serve.log" || fail "a code is in a command line or an output"
check "no code is in a command line or an output"

before=$(find "$work/volumes" "$work/compose/secrets" -name '*.pem' -o -name 'postgres-*' | sort | xargs sha256sum)
opens "second time: nothing to do, and the name may be left out" 0 "the market is open at market.example.org:7443"
[ "$before" = "$(find "$work/volumes" "$work/compose/secrets" -name '*.pem' -o -name 'postgres-*' | sort | xargs sha256sum)" ] ||
    fail "the second time changed certificates"
opens "another name is refused" 1 "has another name" shop.example.org
rm -rf "$work/volumes/market-2"
opens "a market whose volume was lost gets another certificate" 0 "joined as market market-2"
printf '%s checks, %s ok\n' "$checks" "$checks"
