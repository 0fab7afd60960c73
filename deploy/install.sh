#!/usr/bin/env bash
# Installs or updates a market on each HOST over ssh (programs, unit and settings), has it join the authority, and starts it.
#
#   deploy/install.sh HOST…
#
# A market that has no certificate yet joins with an invitation code (`gen-certs invite market NAME`). You are asked for the
# code of each such HOST, or it is read from standard input if that is no terminal: one line for each of them, in their order.
# A code goes to the host over ssh's standard input. It is in no file and no command line.
#
# It is safe to run again. Unchanged files are left alone, and a market is restarted only if its program, unit or
# settings change; it renews its certificate and follows the authority by itself. Hosts are processed one at a time,
# and the next one only after the market on the current one is ready. With several markets on one database, that is a
# rolling upgrade.
#
#   --programs DIR            folder with market, seller and buyer (default: target/release)
#   --settings FILE           installed as /etc/souk/market.toml (default: deploy/systemd/market.toml, for SQLite)
#   --postgres-password FILE  password for a postgres:// store, installed as a credential of the service
#   --postgres-ca FILE        CA certificate of the database, installed as /etc/souk/postgres-ca.pem
#   --bundle FILE             output of `gen-certs.sh bundle market`, of an authority that stays offline: nothing is joined, and
#                             the markets use these files. The default settings are deploy/systemd/market-bundle.toml then.
#                             Run it again with a new bundle after each renewal and revocation
#   --ssh-option OPTION       option for ssh and scp, such as Port=2222 or User=admin; may be repeated
#   --root DIR                install below DIR instead of / and start nothing, for images and tests
#   --dry-run                 print what would be done
set -euo pipefail

deploy=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly SSH_DEFAULTS=(-o BatchMode=yes -o ConnectTimeout=10)
readonly PROGRAMS=(market seller buyer)

programs=${deploy%/*}/target/release
settings='' bundle='' password='' authority='' root=''
dry_run=false
options=("${SSH_DEFAULTS[@]}")
hosts=()

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed '$d'; }

while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) dry_run=true; shift; continue ;;
        --help | -h) usage; exit 0 ;;
        --bundle | --programs | --settings | --postgres-password | --postgres-ca | --ssh-option | --root)
            [ $# -ge 2 ] || die "$1 needs a value; see --help" ;;
        -*) die "there is no option $1; see --help" ;;
        *) hosts+=("$1"); shift; continue ;;
    esac
    case $1 in
        --bundle) bundle=$2 ;;
        --programs) programs=$2 ;;
        --settings) settings=$2 ;;
        --postgres-password) password=$2 ;;
        --postgres-ca) authority=$2 ;;
        --ssh-option) options+=(-o "$2") ;;
        --root) root=$2 ;;
    esac
    shift 2
done

[ "${#hosts[@]}" -gt 0 ] || { usage >&2; exit 2; }
for program in "${PROGRAMS[@]}"; do
    [ -x "$programs/$program" ] || die "$programs/$program is missing; build it with cargo build --release, or use --programs"
done
if [ -n "$bundle" ]; then
    settings=${settings:-$deploy/systemd/market-bundle.toml}
else
    settings=${settings:-$deploy/systemd/market.toml}
fi
[ -r "$settings" ] || die "there are no settings $settings; name them with --settings"
# The folder of the certificate that the settings name: that of `market join`, or of a bundle.
joined=$(sed -n 's/^context *= *"\(.*\)"$/\1/p' "$settings")
if [ -n "$bundle" ]; then
    [ -r "$bundle" ] || die "there is no bundle $bundle; make it with ./gen-certs.sh bundle market"
    contents=$(tar -tf "$bundle" 2>/dev/null || true)
    grep -q '^market/market.pem$' <<<"$contents" ||
        die "$bundle is not a market's bundle; make one with ./gen-certs.sh bundle market"
    [ -z "$joined" ] || die "$settings names the folder of a market that joins (tls.context); with --bundle, set tls.cert instead"
elif [ "$joined" != /var/lib/souk-market/market ]; then
    die "$settings must set tls.context to /var/lib/souk-market/market, where the market joins; or give the --bundle of tls.cert"
fi
if grep -q '^path *= *"postgres' "$settings"; then
    [ -n "$password" ] || die "$settings names a PostgreSQL: give its password's file with --postgres-password"
    [ -r "$password" ] || die "can't read $password"
    [ -z "$authority" ] || [ -r "$authority" ] || die "can't read $authority"
elif [ -n "$password$authority" ]; then
    die "$settings names no PostgreSQL; leave --postgres-password and --postgres-ca out, or give other --settings"
fi
case $root in *[!A-Za-z0-9/._-]*) die "--root may hold letters, digits, / . _ and - only" ;; esac

# Everything for a host in one folder, with restrictive modes because it may contain private keys.
umask 077
parcel=$(mktemp -d)
trap 'rm -rf "$parcel"' EXIT
mkdir "$parcel/souk"
if [ -n "$bundle" ]; then
    mkdir "$parcel/souk/pki"
    tar -xf "$bundle" -C "$parcel/souk/pki" --strip-components 1
    rm -f "$parcel/souk/pki/README.txt"
fi
for program in "${PROGRAMS[@]}"; do
    cp "$programs/$program" "$parcel/souk/"
done
cp "$settings" "$parcel/souk/market.toml"
cp "$deploy/systemd/souk-market.service" "$deploy/systemd/souk-seller@.service" "$deploy/install/on-host.sh" "$parcel/souk/"
[ -z "$password" ] || cp "$password" "$parcel/souk/postgres-password"
[ -z "$password" ] || cp "$deploy/systemd/souk-market.service.d/postgres.conf" "$parcel/souk/"
[ -z "$authority" ] || cp "$authority" "$parcel/souk/postgres-ca.pem"

# install_on HOST
install_on() {
    local host=$1 kind folder needed code=''
    # Standard input has the codes, of which ssh must not take any.
    kind=$(ssh "${options[@]}" "$host" uname -sm </dev/null) ||
        die "can't reach $host by ssh; try: ssh $host true (a password can't be asked for: use a key)"
    [ "$kind" = "$(uname -sm)" ] ||
        die "$host is $kind, the programs in $programs are for $(uname -sm); build them there, or name others with --programs"
    # shellcheck disable=SC2029 # nothing of ours is in the command
    folder=$(ssh "${options[@]}" "$host" 'umask 077 && mktemp -d' </dev/null) || die "can't make a folder on $host"
    if ! scp "${options[@]}" -q -r "$parcel/souk" "$host:$folder/" </dev/null; then
        remove_from "$host" "$folder"
        die "can't copy to $host"
    fi
    if ! needed=$(on_host "$host" "$folder" needs </dev/null); then
        remove_from "$host" "$folder"
        die "$host is not done; the reason stands above"
    fi
    if [ "$needed" = code ] && ! code=$(read_code "$host"); then
        remove_from "$host" "$folder"
        die "$host has no certificate yet, and there is no code for it on standard input: gen-certs invite market NAME"
    fi
    if ! install_with "$code" "$host" "$folder"; then
        remove_from "$host" "$folder"
        die "$host is not done; the reason stands above. Hosts before it are done, hosts after it untouched"
    fi
}

# install_with CODE HOST FOLDER
install_with() {
    if [ -n "$1" ]; then
        # A builtin command: the code is in no list of processes.
        printf '%s\n' "$1" | on_host "$2" "$3" install
    else
        on_host "$2" "$3" install </dev/null
    fi
}

# on_host HOST FOLDER COMMAND
on_host() {
    # shellcheck disable=SC2029 # expanded here on purpose; it was checked to be a plain path
    ssh "${options[@]}" "$1" "sh '$2/souk/on-host.sh' '$3' '$2' '$root'"
}

# read_code HOST: prints the code, which is not shown while it is typed.
read_code() {
    local code=''
    if [ -t 0 ]; then
        read -r -s -p "invitation code for the market on $1 (not shown): " code
        printf '\n' >&2
    else
        read -r code || true
    fi
    [ -n "$code" ] && printf '%s' "$code"
}

# remove_from HOST FOLDER: removes the folder after a failure. After success the host has removed it itself.
remove_from() {
    # shellcheck disable=SC2029 # expanded here on purpose
    ssh "${options[@]}" "$1" "rm -rf '$2'" </dev/null ||
        printf 'warning: %s is left over on %s, perhaps with keys in it\n' "$2" "$1" >&2
}

for host in "${hosts[@]}"; do
    if $dry_run; then
        if [ -n "$bundle" ]; then
            certificate="$bundle ($(tr '\n' ' ' <<<"$contents"))"
        else
            certificate='its invitation code, unless it has joined'
        fi
        printf '%s: would copy %s, %s, the unit and %s; then install them%s and start souk-market\n' "$host" \
            "$certificate" "${PROGRAMS[*]} from $programs" "$settings" "${root:+ below $root}"
        printf '%s: ssh%s\n' "$host" "$(printf ' %q' "${options[@]}" "$host")"
    else
        printf '%s:\n' "$host"
        install_on "$host"
    fi
done
