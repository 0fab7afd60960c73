#!/usr/bin/env bash
# Opens the markets of compose.yaml on this machine, or updates them. It makes what is missing: the database's certificate
# and password, the authority, and each market's certificate, for which the market joins the authority with a code.
#
#   deploy/compose/open.sh market.example.org
#
# The name is the one by which others reach this machine; it goes into invitation codes and certificates. It is kept in .env,
# and may be left out from the second time on. The script may be run again at any time, and continues after an interruption.
#
# A code goes from the authority's container to the market's through a pipe: it is in no file, environment or command line.
set -euo pipefail

readonly MARKETS=(market-1 market-2)
# As in market.toml.
readonly CONTEXT=/var/lib/souk-market/market
readonly AUTHORITY=/var/lib/souk-authority/pki

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

compose() { docker compose -p souk "$@"; }

# once SERVICE COMMAND…: runs a command in a new container of a service. Standard input is passed on.
once() { compose run --rm --no-deps -T "$@"; }

# exists SERVICE PATH: returns whether the service's volume has a file.
exists() { once --entrypoint /usr/bin/test "$1" -e "$2" </dev/null; }

# A market whose volume was lost, or whose join was interrupted, gets a code for the identity that it had.
invite() {
    compose exec -T authority gen-certs invite market "$1" </dev/null 2>/dev/null ||
        compose exec -T authority gen-certs invite market "$1" --again </dev/null
}

cd "$(dirname "$0")"
case $# in
    0) [ -e .env ] || die "name this machine as others reach it: open.sh market.example.org" ;;
    1)
        [[ $1 =~ ^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$ && ! $1 =~ ^[0-9.]+$ ]] ||
            die "'$1' is not a host name; containers can't be given an address of this machine as a name"
        [ ! -e .env ] || [ "$(cat .env)" = "SOUK_PUBLIC=$1" ] ||
            die "the authority has another name, in .env: $(cat .env)"
        printf 'SOUK_PUBLIC=%s\n' "$1" >.env
        ;;
    *)
        sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d' >&2
        exit 2
        ;;
esac
public=$(sed -n 's/^SOUK_PUBLIC=//p' .env)

./secrets.sh
compose build
if ! exists authority "$AUTHORITY/ca.pem"; then
    once authority init --public "$public" --market "$public:7443" </dev/null
fi
compose up -d --wait authority
for market in "${MARKETS[@]}"; do
    if ! exists "$market" "$CONTEXT/live/party.pem"; then
        invite "$market" | once "$market" join --dir "$CONTEXT"
    fi
done
compose up -d --wait
printf 'the market is open at %s:7443. Invite somebody:\n' "$public"
printf '  docker compose -p souk exec authority gen-certs invite seller alice\n'
