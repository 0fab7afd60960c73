#!/usr/bin/env bash
# Has the clients of this folder trade on a real market, over mutual TLS with certificates of gen-certs.
# Called by test.sh; BIN is where the programs are.
set -euo pipefail
cd "$(dirname "$0")"
bin=${BIN:-$PWD/../target/debug}

scene=$(mktemp -d)
trap 'kill "$market" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$scene"' EXIT
export SOUK_PKI=$scene/pki
for party in "init" "seller alice" "buyer bob"; do
    # shellcheck disable=SC2086
    "$bin/gen-certs" $party >/dev/null
done
"$bin/market" serve --listen 127.0.0.1:0 --cert "$SOUK_PKI/market.pem" --store memory \
    >"$scene/market.log" 2>&1 &
market=$!
for _ in $(seq 100); do
    SOUK_MARKET=$(sed -n 's/.*the market is open.*\(127\.0\.0\.1:[0-9]*\).*/\1/p' "$scene/market.log" | head -n 1)
    [ -n "$SOUK_MARKET" ] && break
    sleep 0.1
done
export SOUK_MARKET
[ -n "$SOUK_MARKET" ] || { cat "$scene/market.log" >&2; exit 1; }

# expect WORD TEXT: fails unless the text holds the word.
expect() {
    case $2 in
    *"$1"*) ;;
    *) printf 'missing %s in:\n%s\n' "$1" "$2" >&2; exit 1 ;;
    esac
}

souk() { ./curl/souk-curl.sh "$SOUK_PKI/$1.pem" "${@:2}"; }
id() { cat /proc/sys/kernel/random/uuid; }

expect shopping.v1.RideService "$(souk alice --list)"
souk alice AccountService/RegisterSeller "{\"requestId\": \"$(id)\", \"displayName\": \"Alice\"}" >/dev/null
souk bob AccountService/RegisterBuyer "{\"requestId\": \"$(id)\", \"displayName\": \"Bob\"}" >/dev/null
souk alice SellerService/SellItem "{\"requestId\": \"$(id)\", \"item\": {\"name\": \"Brass lantern\",
    \"category\": \"home/light\", \"unitPrice\": {\"amountMinor\": 1250, \"currencyCode\": \"GBP\"},
    \"quantity\": 10}}" >/dev/null
for _ in $(seq 50); do
    found=$(souk bob CatalogService/SearchItem '{"query": "lantern"}')
    case $found in *"Brass lantern"*) break ;; esac
done
expect "Brass lantern" "$found"
expect '"25' "$(souk bob BuyerService/BuyItem "{\"requestId\": \"$(id)\", \"itemId\": 1, \"quantity\": 2}")"
expect Bob "$(souk alice SellerService/ListSales)"
echo "buf curl: reflection, registering, selling, searching and buying: ok"
