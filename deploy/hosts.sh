#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
#
# Several hosts on one machine: a database, two markets, two sellers and two buyers. Each has its own network
# namespace and address, and only its own bundle. They trade with the real programs. Then links are cut or made slow
# and lossy, and a market and the database are killed. After each fault the script verifies that no acknowledged order
# was lost, none was duplicated, nothing was oversold, and every party received its notifications.
#
#   sudo deploy/hosts.sh                with the debug programs, built if they are missing or outdated
#   sudo deploy/hosts.sh --release      with the release programs
#   sudo deploy/hosts.sh join [--release]
#                                       three hosts that have nothing but the programs: a market with its authority, a
#                                       seller and a buyer, who join with a code each
#   sudo SOUK_BIN=DIR deploy/hosts.sh   with the programs in DIR, which are not built
#
# Everything runs in private namespaces and a temporary folder, which are removed at the end in any case.
# SOUK_KEEP_LOGS=DIR keeps the logs. Exit codes: 0 success, 1 a check failed, 77 not supported on this machine.
set -euo pipefail
shopt -s inherit_errexit

journey=trade
if [ "${1-}" = join ]; then
    journey="join"
    shift
fi

deploy=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=hosts/network.sh
. "$deploy/hosts/network.sh"
# shellcheck source=hosts/trade.sh
. "$deploy/hosts/trade.sh"
# shellcheck source=hosts/faults.sh
. "$deploy/hosts/faults.sh"
# shellcheck source=hosts/join.sh
. "$deploy/hosts/join.sh"

profile=debug
case "${1-}" in
    "") ;;
    --release) profile=release ;;
    *) sed -n '4,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed '$d' >&2; exit 2 ;;
esac

refuse_where_impossible
if [ "$journey" = join ]; then
    find_programs "$profile"
    limit_time join
    set_up
    join_all
    exit
fi
find_postgres
find_programs "$profile"
limit_time
set_up

printf '\n== the hosts\n'
first "an authority, and a bundle for each host" mint_bundles
first "${#HOSTS[@]} hosts on a switch, each with its own address" raise_hosts
first "each host holds its own keys and nobody else's" look_for_keys
first "PostgreSQL, over TLS and with a password alone" open_database
first "two markets on one database" open_markets

printf '\n== the trade\n'
first "every party registers, half of them with a callback port" register_parties
step "files, clock, network, TLS, identity and events are well on every host" doctor_everywhere
step "two parties listen at a port of theirs, two follow a stream" listen_everywhere
step "listed at one market, found at the other, bought, wished and rated" trade
step "sellers and wishing buyers are notified, by callback and by stream" all_are_notified
step "two markets sell the last units, and not one more" sell_out

printf '\n== faults\n'
step "a seller's link is cut: purchases go on, the seller is notified afterwards" cut_sellers_link
step "delay and loss between all hosts" slow_and_lossy
step "a market is killed (-9) under load" kill_market
step "it is started again, and knows what it missed" start_killed_market
step "the database is killed and started under load" crash_database
step "a market is cut off from the database" cut_off_market
if [[ $("$bin/buyer" --help) == *'HOST:PORT[,'* ]]; then
    step "clients that know both markets fail over by themselves when one is killed" fail_over_by_themselves
else
    printf 'skipped: clients that know both markets (these take one --market)\n'
fi
step "a market is stopped (SIGTERM) and started under load, as in an upgrade" roll_market
if command -v haproxy >/dev/null; then
    step "HAProxy passes mutual TLS through, and past a market that is killed" balance
    step "silent sockets of one host through HAProxy keep nobody out" silent_through_balancer
else
    printf 'skipped: a balancer (HAProxy is missing; Debian: haproxy)\n'
fi
step "a backup that is taken under load opens as a market" back_up
step "a revoked certificate is shut out at both markets" revoke_buyer

printf '\n== the books\n'
step "every order is reported to its seller, once" count_notifications
step "supplied = sold + left, for every item, and no order twice" balance_books

tear_down
step "the namespaces are as before" ground_is_clean

printf '\n%s steps, %s ok\n' "$steps" "$steps_ok"
[ "$steps" = "$steps_ok" ]
