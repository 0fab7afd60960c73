#!/usr/bin/env bash
# Calls a market from the command line, with `buf curl` and a certificate from gen-certs.sh:
#
#   souk-curl.sh alice.pem --list                                  list the services (by reflection)
#   souk-curl.sh alice.pem CatalogService/SearchItem '{"query": "lantern"}'
#
# SOUK_MARKET is the market's address (default localhost:7443; the first one if there are several).
# Needs npm (for buf), openssl and sed.
set -euo pipefail

if [ $# -lt 2 ]; then
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
cert=$1 method=$2 message=${3:-"{}"}
folder=$(dirname -- "$cert")
market=${SOUK_MARKET:-localhost:7443}
market="https://${market%%,*}"

# The market is verified by its identity, independent of its address.
curl() {
    npx --yes @bufbuild/buf@1 curl --protocol grpc --servername market.souk.internal \
        --cacert "$folder/ca.pem" --cert "$cert" --key "${cert%.pem}.key" "$@" 2> >(grep -v '^npm warn' >&2)
}

if [ "$method" = --list ]; then
    curl --list-services "$market"
    exit
fi

# The certificate's SPIFFE ID ends with the account's UUID.
party=$(openssl x509 -noout -ext subjectAltName -in "$cert" |
    sed -n 's|.*URI:spiffe://[^/]*/[a-z]*/\([0-9a-f-]*\).*|\1|p')
case $method in
AccountService/* | AdminService/*)
    curl --header "x-party-id: $party" --data "$message" "$market/shopping.v1.$method"
    ;;
*)
    answer=$(curl --header "x-party-id: $party" --data '{}' "$market/shopping.v1.AccountService/IssueToken")
    token=$(sed -n 's/.*"accessToken": *"\([^"]*\)".*/\1/p' <<<"$answer")
    curl --header "x-party-id: $party" --header "authorization: Bearer $token" --data "$message" \
        "$market/shopping.v1.$method"
    ;;
esac
