# shellcheck shell=bash
# shellcheck disable=SC2154 # what network.sh sets
# The part of deploy/hosts.sh without faults: starts the database and the markets, and trades.

# Ports for callbacks to alice and dave. carol and bob open no port and use a stream.
readonly CALLBACK=0.0.0.0:7444
# Number of units in the race for the last units, and number of competing purchases.
readonly SCARCE=12 RACERS=24

# as PARTY MARKET COMMAND…: runs the party's program on its host, with its bundle.
as() {
    local party=$1 market=$2
    shift 2
    inside "$party" timeout 25 "$bin/${ROLE[$party]}" --market "$market" --cert "$scratch/$party/$party/$party.pem" \
        --output ndjson "$@"
}

# Installs the files named in deploy/hosts/market.toml: the database's CA certificate and password, for each market.
open_database() {
    local folder=$scratch/database account=postgres market
    id "$account" >/dev/null 2>&1 || account=nobody
    mkdir -p "$folder/tls"
    (
        set -e
        cd "$folder/tls" || exit
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout ca.key -out ca.pem \
            -subj "/CN=database authority" -addext "basicConstraints=critical,CA:TRUE" \
            -addext "keyUsage=critical,keyCertSign,cRLSign"
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr \
            -subj "/CN=database"
        printf 'subjectAltName=IP:%s\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n' \
            "${ADDRESS[database]}" >server.ext
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext \
            -out server.pem
        openssl rand -hex 24 >password
        openssl rand -hex 24 >owner-password
        chmod 600 ./*
        for market in "${MARKETS[@]}"; do
            install -m 600 password "$scratch/$market/postgres-password"
            install -m 644 ca.pem "$scratch/$market/postgres-ca.pem"
        done
    ) >/dev/null 2>"$scratch/log/openssl.err"
    chown -R "$account:" "$folder"
    as_postgres() { inside database setpriv --reuid "$account" --regid "$account" --clear-groups "$@"; }
    as_postgres "$postgres/initdb" --auth=scram-sha-256 --encoding=UTF8 --locale=C --username=owner \
        --pwfile="$folder/tls/owner-password" -D "$folder/data" >"$scratch/log/initdb.out"
    cat >>"$folder/data/postgresql.conf" <<-END
	listen_addresses = '${ADDRESS[database]}'
	unix_socket_directories = '$folder'
	ssl = on
	ssl_cert_file = '$folder/tls/server.pem'
	ssl_key_file = '$folder/tls/server.key'
	ssl_min_protocol_version = 'TLSv1.3'
	shared_buffers = 64MB
	END
    printf 'local all owner scram-sha-256\nhostssl all souk 10.77.0.0/24 scram-sha-256\n' >"$folder/data/pg_hba.conf"
    printf '%s' "$account" >"$scratch/account"
    start_database
    printf '*:*:*:owner:%s\n' "$(cat "$folder/tls/owner-password")" >"$folder/tls/pgpass"
    chmod 600 "$folder/tls/pgpass"
    await "PostgreSQL answers" as_owner "$postgres/psql" -qX -d postgres -c 'SELECT 1'
    # Passed by standard input, because other users can see command lines.
    printf "CREATE ROLE souk LOGIN PASSWORD '%s';\nCREATE DATABASE souk OWNER souk;\n" \
        "$(cat "$folder/tls/password")" | as_owner "$postgres/psql" -qX -v ON_ERROR_STOP=1 -d postgres
    refuses_plain
    as_market_of_database "sslmode=verify-full sslrootcert=$scratch/market-1/postgres-ca.pem" \
        "SELECT version || ', ' || cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
}

# as_owner PROGRAM…: runs a PostgreSQL program on the database's host, as the owner of the database.
as_owner() {
    PGPASSFILE=$scratch/database/tls/pgpass PGHOST=$scratch/database PGUSER=owner "$@"
}

as_market_of_database() {
    PGPASSWORD=$(cat "$scratch/market-1/postgres-password") inside market-1 \
        "$postgres/psql" -qXAt "host=${ADDRESS[database]} user=souk dbname=souk $1" -c "$2"
}

refuses_plain() {
    if as_market_of_database sslmode=disable 'SELECT 1' >/dev/null 2>&1; then
        echo "the database takes connections in plain"
        return 1
    fi
}

start_database() {
    start database postgres setpriv --reuid "$(cat "$scratch/account")" --regid "$(cat "$scratch/account")" \
        --clear-groups "$postgres/postgres" -D "$scratch/database/data"
}

start_market() { start "$1" "$1" "$bin/market" serve --config market.toml; }

# probe HOST PATH [PORT]: succeeds if the market's health endpoint returns 200.
probe() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    inside "$1" timeout 5 bash -c '
        exec 3<>"/dev/tcp/127.0.0.1/$2"
        printf "GET %s HTTP/1.0\r\n\r\n" "$1" >&3
        read -r _ code _ <&3
        [ "$code" = 200 ]' probe "$2" "${3:-9464}"
}

open_markets() {
    local market
    for market in "${MARKETS[@]}"; do
        start_market "$market"
    done
    for market in "${MARKETS[@]}"; do
        await "$market is ready" probe "$market" /readyz
    done
}

register_parties() {
    as alice "$MARKET_1" --listen "$CALLBACK" register Alice >/dev/null
    as carol "$MARKET_2" register Carol >/dev/null
    as bob "$MARKET_1" register Bob >/dev/null
    as dave "$MARKET_2" --listen "$CALLBACK" register Dave >/dev/null
    printf '2 sellers, 2 buyers'
}

# Runs after `doctor`, which opens a stream itself: a party can have only one.
listen_everywhere() {
    local party market
    for party in alice carol bob dave; do
        market=$MARKET_1
        [ "$party" = bob ] && market=$MARKET_2
        [ "$party" = carol ] && market=$MARKET_2
        local listen=()
        case $party in alice | dave) listen=(--listen "$CALLBACK") ;; esac
        start "$party" "$party-events" "$bin/${ROLE[$party]}" --market "$market" \
            --cert "$party/$party.pem" --output ndjson "${listen[@]}" listen
    done
    for party in alice dave; do
        await "$party listens" grep -q "listening on" "$scratch/log/$party-events.err"
    done
    for party in carol bob; do
        await "$party follows" grep -q "following your mailbox" "$scratch/log/$party-events.err"
    done
}

doctor_everywhere() {
    local party market=$MARKET_1 checks=0
    for party in alice carol bob dave; do
        as "$party" "$market" doctor >"$scratch/log/$party-doctor.out"
        checks=$((checks + $(wc -l <"$scratch/log/$party-doctor.out")))
        market=$MARKET_2
    done
    printf '%s checks' "$checks"
}

# list SELLER MARKET NAME QUANTITY: lists an item, prints its id, and records the supplied quantity.
list() {
    local item
    item=$(as "$1" "$2" sell --name "$3" --category home/light --price "12.50 GBP" --quantity "$4" | jq -r .item_id)
    printf '%s %s %s\n' "$item" "$4" "$1" >>"$scratch/supplied"
    printf '%s' "$item"
}

found_at() { as bob "$2" search "$1" | jq -es --arg name "$1" 'any(.name == $name)'; }

trade() {
    local lantern bell
    lantern=$(list alice "$MARKET_1" "Brass lantern" 10)
    bell=$(list carol "$MARKET_2" "Bronze bell" 10)
    await "market 2 finds what was listed at market 1" found_at "Brass lantern" "$MARKET_2"
    await "market 1 finds what was listed at market 2" found_at "Bronze bell" "$MARKET_1"
    as dave "$MARKET_1" wish add "$lantern" >/dev/null
    purchase bob "$lantern" "$MARKET_2" "$MARKET_1" >>"$scratch/acked-$lantern"
    purchase dave "$bell" "$MARKET_1" "$MARKET_2" >>"$scratch/acked-$bell"
    as bob "$MARKET_1" rate "$lantern" 5 >/dev/null
    as alice "$MARKET_2" update "$lantern" --price "11.00 GBP" >/dev/null
    printf '%s %s\n' "$lantern" "$bell" >"$scratch/first-items"
    [ "$(as dave "$MARKET_2" show "$lantern" | jq -r '[.rating.mean, .unit_price.amount_minor] | @csv')" = 5,1100 ]
}

# notified PARTY KIND ITEM: succeeds if the party received the event. Events are delivered at least once.
notified() {
    jq -es --arg kind "$2" --argjson item "$3" \
        'any(.kind == $kind and (.order.item_id // .item.item_id) == $item)' "$scratch/log/$1-events.out"
}

all_are_notified() {
    local lantern bell
    read -r lantern bell <"$scratch/first-items"
    await "alice (callback) is notified of the order" notified alice order_placed "$lantern"
    await "carol (stream) is notified of the order" notified carol order_placed "$bell"
    await "dave (callback) is notified of the new price" notified dave item_updated "$lantern"
}

# purchase BUYER ITEM MARKET OTHER: buys one unit. If a market does not respond, the same request is sent to the
# other. Prints the order id, the request id, and the time of the acknowledgement.
purchase() {
    local buyer=$1 item=$2 market=$3 other=$4 request order code try
    request=$(cat /proc/sys/kernel/random/uuid)
    for try in {1..40}; do
        code=0
        order=$(as "$buyer" "$market" --timeout 4s buy "$item" --request-id "$request" 2>>"$scratch/log/purchase.err") ||
            code=$?
        case $code in
            0)
                printf '%s %s %s %s\n' "$(jq -r .order_id <<<"$order")" "$request" "$(now)" "$try"
                return 0
                ;;
            6 | 124) sleep 0.2 ;;
            *) return "$code" ;;
        esac
        market=$other
        other=$([ "$market" = "$3" ] && printf '%s' "$4" || printf '%s' "$3")
    done
    return 6
}

# race BUYER MARKET OTHER ITEM COUNT OUT: makes COUNT purchases and writes the exit code of each.
race() {
    local i code
    for ((i = 0; i < $5; i++)); do
        code=0
        purchase "$1" "$4" "$2" "$3" >>"$6" || code=$?
        printf '%s\n' "$code"
    done
}

sell_out() {
    local item codes=$scratch/race
    item=$(list carol "$MARKET_1" "Last lamps" "$SCARCE")
    local racing=()
    race bob "$MARKET_1" "$MARKET_2" "$item" $((RACERS / 4)) "$scratch/acked-$item" >"$codes-1" &
    racing+=("$!")
    race dave "$MARKET_2" "$MARKET_1" "$item" $((RACERS / 4)) "$scratch/acked-$item" >"$codes-2" &
    racing+=("$!")
    race bob "$MARKET_2" "$MARKET_1" "$item" $((RACERS / 4)) "$scratch/acked-$item" >"$codes-3" &
    racing+=("$!")
    race dave "$MARKET_1" "$MARKET_2" "$item" $((RACERS / 4)) "$scratch/acked-$item" >"$codes-4" &
    racing+=("$!")
    wait "${racing[@]}"
    local bought sold_out
    bought=$(cat "$codes"-* | grep -cx 0)
    # Exit code 5: out of stock.
    sold_out=$(cat "$codes"-* | grep -cx 5)
    printf '%s asked, %s bought, %s refused, 0 oversold' "$RACERS" "$bought" "$sold_out"
    [ "$bought" = "$SCARCE" ] && [ "$sold_out" = $((RACERS - SCARCE)) ]
}
