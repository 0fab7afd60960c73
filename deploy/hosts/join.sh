# shellcheck shell=bash
# shellcheck disable=SC2154 # what network.sh sets
# `deploy/hosts.sh join`: three hosts that have the programs and nothing else. The six commands of the README, typed as they
# stand there, and one order. No file is carried between the hosts: a code of each party is all that they exchange.

# When to give up, in seconds: on the six commands and the order together, and on a revoked party that is still served. The times
# that are printed are the figures; they are not judged here, where other tests run as well.
readonly JOIN_LIMIT=60 CUT_LIMIT=20

# at HOST COMMAND…: runs a command on a host, in its home folder, without any variable of this shell.
at() {
    local host=$1
    shift
    (cd "$scratch/$host" && inside "$host" env -i "HOME=$scratch/$host" "PATH=$bin:/usr/bin:/bin" timeout 25 "$@")
}

join_all() {
    printf '\n== three hosts\n'
    first "${#HOSTS[@]} hosts on a switch, with empty home folders" raise_empty_hosts
    printf '\n== six commands\n'
    date +%s.%3N >"$scratch/begun"
    first "market serve --authority --listen 0.0.0.0:7443 --public ${ADDRESS[market-1]}" serve_with_authority
    first "gen-certs invite seller alice" invite seller alice
    first "gen-certs invite buyer bob" invite buyer bob
    first "seller join CODE" join_as seller alice
    first "seller sell" sell_lantern
    first "buyer join CODE" join_as buyer bob
    printf '\n== one order\n'
    step "the buyer finds the lantern and buys it, within $JOIN_LIMIT s of the first command" buy_lantern
    step "each host holds its own key and nobody else's" look_for_own_keys
    step "a revoked buyer is shut out within $CUT_LIMIT s" revoke_and_cut
    tear_down
    step "the namespaces are as before" ground_is_clean
    [ "$steps" = "$steps_ok" ] || exit 1
    printf '\njoin: three hosts, six commands, one order\n'
}

raise_empty_hosts() {
    local host
    for host in "${HOSTS[@]}"; do mkdir -m 700 "$scratch/$host"; done
    raise_hosts
}

serve_with_authority() {
    start market-1 market env -i "HOME=$scratch/market-1" "PATH=$bin:/usr/bin:/bin" \
        "$bin/market" serve --authority --listen 0.0.0.0:7443 --public "${ADDRESS[market-1]}"
    await "the market is open" grep -q 'the market is open' "$scratch/log/market.err" "$scratch/log/market.out"
}

# invite ROLE NAME: keeps the code for the party, as a chat would.
invite() {
    at market-1 gen-certs invite "$1" "$2" >"$scratch/code-$2"
    [ "$(wc -l <"$scratch/code-$2")" = 1 ] || { echo "standard output has more than the code"; return 1; }
    chmod 600 "$scratch/code-$2"
}

# join_as ROLE NAME
join_as() { at "$2" "$1" join "$(cat "$scratch/code-$2")"; }

sell_lantern() {
    at alice seller sell --name "Brass lantern" --category home/light --price "12.50 GBP" --quantity 10
}

buy_lantern() {
    local item took
    item=$(at bob buyer search lantern --output ndjson | jq -r .item_id)
    at bob buyer buy "$item" --output ndjson >/dev/null
    [ "$(at alice seller sales --output ndjson | wc -l)" = 1 ] || { echo "the seller does not see one order"; return 1; }
    took=$(since "$(cat "$scratch/begun")")
    awk -v took="$took" -v limit="$JOIN_LIMIT" 'BEGIN { exit !(took <= limit) }' || { echo "took $took s"; return 1; }
    printf '%s s' "$took"
}

look_for_own_keys() {
    local host keys
    for host in alice bob; do
        keys=$(find "$scratch/$host" -name '*.key' ! -perm 600 -printf '%P ')
        [ -z "$keys" ] || { printf '%s: others may read %s\n' "$host" "$keys"; return 1; }
        keys=$(find "$scratch/$host" -name '*.key' -printf '%f\n' | sort -u | tr '\n' ' ')
        [ "$keys" = "party.key " ] || { printf '%s holds %s\n' "$host" "$keys"; return 1; }
    done
}

revoke_and_cut() {
    local since_revoked took
    at bob buyer whoami >/dev/null
    at market-1 gen-certs revoke bob >/dev/null
    since_revoked=$(now)
    while at bob buyer whoami >/dev/null 2>&1; do
        took=$(since "$since_revoked")
        awk -v took="$took" -v limit="$CUT_LIMIT" 'BEGIN { exit !(took <= limit) }' || { echo "served after $took s"; return 1; }
    done
    printf '%s s' "$(since "$since_revoked")"
}
