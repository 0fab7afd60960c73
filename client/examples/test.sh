#!/usr/bin/env bash
# Runs the examples against a market with its store in memory, and checks what they print.
# The argument is the folder with the programs and `examples/` [default: target/debug].
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$(cd "${1:-target/debug}" && pwd)

folder=$(mktemp -d)
cd "$folder"
cleanup() {
    [ -z "${market:-}" ] || kill "$market" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap cleanup EXIT

export SOUK_PKI=$folder
for party in "init" "seller alice" "buyer bob"; do
    # shellcheck disable=SC2086
    "$bin/gen-certs" $party >/dev/null
done

# The market prints its address. The rest of its log is discarded.
exec 3< <(exec "$bin/market" serve --listen 127.0.0.1:0 --cert "$folder/market.pem" --store memory 2>&1)
market=$!
SOUK_MARKET=
while IFS= read -r line <&3; do
    case $line in *"the market is open"*)
        SOUK_MARKET=$(grep -o '127\.0\.0\.1:[0-9]*' <<<"$line" | head -n 1)
        break ;;
    esac
    printf '%s\n' "$line" >&2
done
[ -n "$SOUK_MARKET" ] || { echo "the market did not open" >&2; exit 1; }
export SOUK_MARKET
cat <&3 >/dev/null &

count=0
ok=0
# check NAME CERTIFICATE TEXT ARGUMENT..: runs an example, whose output must contain the text.
check() {
    local name=$1 certificate=$2 text=$3 printed
    shift 3
    count=$((count + 1))
    if printed=$(SOUK_CERT=$folder/$certificate timeout 60 "$bin/examples/$name" "$@" 2>&1) &&
        [[ $printed == *"$text"* ]]; then
        ok=$((ok + 1))
        echo "$name: ok"
    else
        printf '%s: expected "%s", printed:\n%s\n' "$name" "$text" "$printed" >&2
    fi
}

check sell alice.pem "item 1: 10 × Brass desk lamp"
check search bob.pem "item 1: Brass desk lamp in home/light, 10 left" brass lamp
check buy bob.pem "order 1: 2 × Brass desk lamp" 1 2
check listen alice.pem "sold 2 × Brass desk lamp to Bob" 1
check till alice.pem "line 2: item 1 has 12" <<<$'1 -1\n1 +5'

echo "$count examples, $ok ok"
[ "$ok" = "$count" ]
