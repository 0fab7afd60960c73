# shellcheck shell=bash
# shellcheck disable=SC2154 # what network.sh sets
# The faults that deploy/hosts.sh injects, and the checks after each of them.

# A bad link between hosts: delay and jitter in milliseconds and loss in percent, in each direction.
readonly WIRE_DELAY=25 WIRE_JITTER=10 WIRE_LOSS=2
# Promised recovery time in seconds.
readonly BACK_WITHIN=30
# Maximum duration of a purchase in seconds while another party's link is cut.
readonly UNDISTURBED=5
# Maximum duration of a shutdown in seconds: the drain in hosts/market.toml plus closing.
readonly DRAIN_LIMIT=10

# load ITEM: two buyers buy at both markets until `load_ends`. Acknowledged orders are recorded in acked-ITEM.
load() { load_through "$1" "$MARKET_1" "$MARKET_2"; }

load_through() {
    rm -f "$scratch/stop-load"
    local item=$1 lane
    lanes=()
    for lane in "bob $2 $3" "dave $3 $2"; do
        (
            set +e
            # shellcheck disable=SC2086 # three words
            set -- $lane
            while [ -e "$scratch" ] && [ ! -e "$scratch/stop-load" ]; do
                purchase "$1" "$item" "$2" "$3" >>"$scratch/acked-$item" || printf 'failed %s\n' "$?" >>"$scratch/failed-$item"
            done
        ) &
        lanes+=("$!")
    done
}

load_ends() {
    touch "$scratch/stop-load"
    wait "${lanes[@]}"
}

acked() { if [ -e "$scratch/acked-$1" ]; then wc -l <"$scratch/acked-$1"; else printf 0; fi; }
acked_more() { [ "$(acked "$1")" -gt "$2" ]; }

# settle ITEM: compares acknowledged orders with existing ones: none lost, none duplicated, none of unknown origin.
settle() {
    local item=$1 buyer
    awk '{ print $1 }' "$scratch/acked-$item" | sort -n >"$scratch/acknowledged"
    for buyer in bob dave; do
        as "$buyer" "$MARKET_2" orders --item "$item" --all
    done | jq -r .order_id | sort -n >"$scratch/there"
    local lost duplicated
    lost=$(comm -23 <(sort -u "$scratch/acknowledged") <(sort -u "$scratch/there") | wc -l)
    duplicated=$(($(wc -l <"$scratch/there") - $(awk '{ print $2 }' "$scratch/acked-$item" | sort -u | wc -l)))
    printf 'acked=%s lost=%s duplicated=%s' "$(wc -l <"$scratch/acknowledged")" "$lost" "$duplicated"
    [ ! -s "$scratch/failed-$item" ] && [ "$lost" = 0 ] && [ "$duplicated" = 0 ]
}

cut_sellers_link() {
    local item began took
    item=$(list alice "$MARKET_1" "Copper kettle" 5)
    cut alice
    began=$(now)
    purchase bob "$item" "$MARKET_1" "$MARKET_2" >>"$scratch/acked-$item"
    took=$(since "$began")
    sleep 2
    if notified alice order_placed "$item" >/dev/null; then
        echo "the link was not cut"
        return 1
    fi
    restore_link alice
    began=$(now)
    await "alice is notified of it" notified alice order_placed "$item"
    printf 'bought in %s s, notified %s s after the link was back' "$took" "$(since "$began")"
    awk -v took="$took" -v most="$UNDISTURBED" 'BEGIN { exit !(took <= most) }'
}

slow_and_lossy() {
    local item began i host by buying
    by=$(has_netem && printf netem || printf 'wire.py, for want of netem')
    item=$(list carol "$MARKET_2" "Silver spoon" 100)
    for host in market-1 database bob; do worsen "$host"; done
    began=$(now)
    for i in 1 2 3 4; do
        purchase bob "$item" "$MARKET_1" "$MARKET_2" >>"$scratch/acked-$item" &
        buying=$!
        purchase dave "$item" "$MARKET_2" "$MARKET_1" >>"$scratch/acked-$item" &
        wait "$buying" "$!"
    done
    local took
    took=$(since "$began")
    for host in market-1 database bob; do better "$host"; done
    printf '%s ± %s ms and %s %% on three links by %s, %s rounds in %s s: %s' \
        "$WIRE_DELAY" "$WIRE_JITTER" "$WIRE_LOSS" "$by" "$i" "$took" "$(settle "$item")"
    settle "$item" >/dev/null
    [ "$(acked "$item")" = 8 ]
}

# under_load NAME FAULT: injects the fault under load, and measures the recovery time.
under_load() {
    local item when books
    item=$(list alice "$MARKET_2" "$1" 1000)
    load "$item"
    await "trade goes on" acked_more "$item" 5
    when=$(now)
    "$2"
    back_after "$item" "$when"
    load_ends
    books=$(settle "$item") || { printf '%s\n' "$books"; return 1; }
    printf '%s, back after %s s' "$books" "$(cat "$scratch/back")"
}

# back_after ITEM TIME: waits until purchases succeed again, and records how long after TIME that was.
back_after() {
    local before
    before=$(acked "$1")
    # One purchase per lane may have been in progress at the time of the fault, so only the third one started after
    # it.
    await "trade goes on after it" acked_more "$1" $((before + 2))
    awk -v from="$2" -v skip="$before" 'NR == skip + 3 { printf "%.1f", $3 - from }' "$scratch/acked-$1" >"$scratch/back"
    await "trade goes on for a while" acked_more "$1" $((before + 8))
    awk -v back="$(cat "$scratch/back")" -v most="$BACK_WITHIN" 'BEGIN { exit !(back <= most) }'
}

kill_market() { under_load "Iron stove" kill_market_1; }
kill_market_1() { kill -9 "$(pid_of market-1)"; }

start_killed_market() {
    local began
    began=$(now)
    start_market market-1
    await "market 1 is ready" probe market-1 /readyz
    await "it finds what was listed while it was down" found_at "Iron stove" "$MARKET_1"
    printf 'in %s s' "$(since "$began")"
}

crash_database() { under_load "Tin whistle" crash_and_start_database; }
crash_and_start_database() {
    # SIGQUIT is PostgreSQL's immediate shutdown: without a checkpoint, so that the next start needs recovery.
    kill -QUIT "$(pid_of postgres)"
    await "PostgreSQL is gone" is_gone "$(pid_of postgres)"
    start_database
}

# is_gone PID: succeeds if the process has ended; a zombie counts as ended.
is_gone() { ! grep -q '^State:[[:space:]]*[^Z[:space:]]' "/proc/$1/status" 2>/dev/null; }

# A market without its database does not hang: it fails calls in time, and the other market continues to work.
cut_off_market() {
    local item began code=0
    item=$(list carol "$MARKET_1" "Oak chest" 5)
    inside database ip route add blackhole "${ADDRESS[market-2]}/32"
    began=$(now)
    as dave "$MARKET_2" --timeout 6s buy "$item" >/dev/null 2>"$scratch/log/cut-off.err" || code=$?
    local refused
    refused=$(since "$began")
    purchase dave "$item" "$MARKET_2" "$MARKET_1" >>"$scratch/acked-$item"
    inside database ip route del blackhole "${ADDRESS[market-2]}/32"
    began=$(now)
    await "market 2 serves again" as dave "$MARKET_2" --timeout 4s buy "$item" --dry-run
    printf 'refused in %s s with exit code %s, bought at the other, back after %s s' "$refused" "$code" "$(since "$began")"
    [ "$code" = 6 ]
}

# Here each purchase is a single command, which the script does not retry.
fail_over_by_themselves() {
    local item began books tries
    item=$(list carol "$MARKET_1,$MARKET_2" "Paper kite" 100)
    load_through "$item" "$MARKET_1,$MARKET_2" "$MARKET_1,$MARKET_2"
    await "trade goes on" acked_more "$item" 5
    began=$(now)
    kill -9 "$(pid_of market-1)"
    back_after "$item" "$began"
    load_ends
    start_market market-1
    await "market 1 is ready" probe market-1 /readyz
    books=$(settle "$item") || { printf '%s\n' "$books"; return 1; }
    tries=$(awk '$4 > 1' "$scratch/acked-$item" | wc -l)
    printf '%s, %s commands had to be repeated, back after %s s' "$books" "$tries" "$(cat "$scratch/back")"
    [ "$tries" = 0 ]
}

roll_market() { under_load "Glass bowl" stop_and_start_market_2; }
stop_and_start_market_2() {
    local began
    began=$SECONDS
    kill -TERM "$(pid_of market-2)"
    await "market 2 drains" is_gone "$(pid_of market-2)"
    [ $((SECONDS - began)) -le "$DRAIN_LIMIT" ]
    start_market market-2
    await "market 2 is ready" probe market-2 /readyz
}

# The shipped configuration, with host names replaced by addresses.
balance() {
    local item began books
    mkdir -p "$scratch/balancer"
    sed "s/market-1:7443/$MARKET_1/; s/market-2:7443/$MARKET_2/; s/init-addr [a-z,]*//; s/resolvers system *//" \
        "$deploy/haproxy/haproxy.cfg" | sed '/^ *parse-resolv-conf/d; /^ *hold valid/d' >"$scratch/balancer/haproxy.cfg"
    start balancer balancer haproxy -db -f haproxy.cfg
    item=$(list alice "$MARKET_1" "Wax candle" 100)
    await "the balancer answers" as bob "$BALANCER" --timeout 2s whoami
    load_through "$item" "$BALANCER" "$BALANCER"
    await "trade goes on through the balancer" acked_more "$item" 5
    began=$(now)
    kill -9 "$(pid_of market-1)"
    back_after "$item" "$began"
    load_ends
    start_market market-1
    await "market 1 is ready" probe market-1 /readyz
    books=$(settle "$item") || { printf '%s\n' "$books"; return 1; }
    printf '%s, back after %s s' "$books" "$(cat "$scratch/back")"
}

# 300 sockets of one host say nothing, and 300 stop in the middle of their TLS hello. The markets know the clients of the
# balancer by their own addresses.
silent_through_balancer() {
    local began silent i market
    start carol silent python3 "$deploy/hosts/silent.py" "${BALANCER%:*}" "${BALANCER#*:}" 600
    await "the silent sockets are open" grep -q open "$scratch/log/silent.out"
    silent=$(pid_of silent)
    began=$(now)
    for i in 1 2 3 4 5 6; do
        as bob "$BALANCER" --timeout 4s whoami >/dev/null
    done
    printf '%s of 6 new connections, in %s s' "$i" "$(since "$began")"
    kill -9 "$silent"
    for market in "${MARKETS[@]}"; do
        if grep -q "at ${ADDRESS[balancer]}:" "$scratch/log/$market.out" "$scratch/log/$market.err"; then
            printf ', and a call came from the address of the balancer\n'
            return 1
        fi
    done
}

# A dump taken under load and restored into another database must be consistent: a market on it has balanced books.
back_up() {
    local item copy=10.77.0.22:7445 left sold
    item=$(list carol "$MARKET_1" "Felt hat" 500)
    load "$item"
    await "trade goes on" acked_more "$item" 5
    PGPASSWORD=$(cat "$scratch/market-1/postgres-password") inside market-1 "$postgres/pg_dump" --format custom \
        --file "$scratch/souk.dump" \
        "host=${ADDRESS[database]} user=souk dbname=souk sslmode=verify-full sslrootcert=$scratch/market-1/postgres-ca.pem"
    await "trade goes on for a while" acked_more "$item" $(($(acked "$item") + 3))
    load_ends
    as_owner "$postgres/createdb" --owner souk --encoding UTF8 --template template0 restored
    as_owner "$postgres/pg_restore" --no-owner --role souk --exit-on-error --dbname restored "$scratch/souk.dump"
    start market-2 market-restored "$bin/market" serve --config market.toml --listen "0.0.0.0:${copy#*:}" \
        --admin-listen 127.0.0.1:9465 --store "postgres://souk@${ADDRESS[database]}/restored?sslmode=verify-full"
    await "a market opens on the copy" probe market-2 /readyz 9465
    left=$(as carol "$copy" items --all | jq --argjson item "$item" 'select(.item_id == $item) | .quantity')
    sold=$(for buyer in bob dave; do as "$buyer" "$copy" orders --item "$item" --all; done | wc -l)
    kill -9 "$(pid_of market-restored)"
    printf '%s sold + %s left = 500, and %s sold by now' "$sold" "$left" "$(acked "$item")"
    [ "$sold" -ge 5 ] && [ $((sold + left)) = 500 ] && settle "$item" >/dev/null
}

revoke_buyer() {
    local market began
    "$bin/gen-certs" --dir "$scratch/pki" revoke dave >/dev/null
    for market in "${MARKETS[@]}"; do
        cp "$scratch/pki/crl.pem" "$scratch/$market/market/crl.pem"
    done
    began=$(now)
    for market in "$MARKET_1" "$MARKET_2"; do
        await "dave is shut out of $market" is_refused dave "$market"
    done
    as bob "$MARKET_1" whoami >/dev/null
    printf 'within %s s' "$(since "$began")"
}

# Exit code 4: identity.
is_refused() {
    local code=0
    as "$1" "$2" --timeout 3s whoami >/dev/null 2>&1 || code=$?
    [ "$code" = 4 ]
}

count_notifications() {
    local item _ seller orders=0 found
    while read -r item _ seller; do
        [ -e "$scratch/acked-$item" ] || continue
        await "$seller is notified of all orders of item $item" all_notified "$seller" "$item"
        orders=$((orders + $(acked "$item")))
    done <"$scratch/supplied"
    found=$(cat "$scratch"/log/{alice,carol}-events.out | jq -r 'select(.kind == "order_placed") | .event_id' | sort | uniq -d | wc -l)
    printf '%s orders, %s reported twice' "$orders" "$found"
}

# The orders reported to the seller must be the acknowledged ones.
all_notified() {
    cmp -s <(awk '{ print $1 }' "$scratch/acked-$2" | sort -u) <(
        jq -r --argjson item "$2" 'select(.kind == "order_placed" and .order.item_id == $item) | .order.order_id' \
            "$scratch/log/$1-events.out" | sort -u)
}

balance_books() {
    local item supplied seller left sold all
    for seller in alice carol; do
        as "$seller" "$MARKET_1" items --all
    done >"$scratch/items"
    for seller in alice carol; do
        as "$seller" "$MARKET_2" sales --all
    done >"$scratch/sales"
    while read -r item supplied seller; do
        left=$(jq --argjson item "$item" 'select(.item_id == $item) | .quantity' "$scratch/items")
        sold=$(jq -s --argjson item "$item" '[.[] | select(.item_id == $item) | .quantity] | add // 0' "$scratch/sales")
        if [ "$supplied" != $((sold + left)) ] || [ "$left" -lt 0 ]; then
            printf 'item %s: supplied %s, sold %s, left %s\n' "$item" "$supplied" "$sold" "$left"
            return 1
        fi
    done <"$scratch/supplied"
    all=$(jq -r .order_id "$scratch/sales" | wc -l)
    [ "$all" = "$(jq -r .order_id "$scratch/sales" | sort -u | wc -l)" ]
    printf '%s items, %s orders' "$(wc -l <"$scratch/supplied")" "$all"
}
