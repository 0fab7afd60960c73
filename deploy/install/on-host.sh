#!/bin/sh
# Runs on the host, in the folder that deploy/install.sh copied there.
#
#   on-host.sh needs FOLDER [ROOT]      prints `code` if the market has to join first, or else `nothing`
#   on-host.sh install FOLDER [ROOT]    installs the files that differ, joins with the code on standard input if that is
#                                       necessary, prints what it did, and removes the folder
set -eu

command=$1
folder=$2
root=${3-}
parcel=$folder/souk
patience=60
[ "$command" = needs ] || trap 'rm -rf "$folder"' EXIT

die() {
    printf '  error: %s\n' "$*" >&2
    exit 1
}

if [ "$(id -u)" != 0 ] && [ -z "$root" ]; then
    sudo -n true 2>/dev/null ||
        die "$(id -un) may not install: log in as root (--ssh-option User=root), or allow it sudo without a password"
    trap - EXIT
    exec sudo -n sh "$0" "$@"
fi
[ -n "$root" ] || [ -d /run/systemd/system ] ||
    die "this host does not run systemd; start the market by other means, or install below --root"

# With DynamicUser, the state directory is below /var/lib/private once the service has run. systemd moves it there at
# the first start.
state=/var/lib/souk-market
[ ! -d "$root/var/lib/private/souk-market" ] || state=/var/lib/private/souk-market
joins=false
[ -d "$parcel/pki" ] || [ -e "$root$state/market/live/party.pem" ] || joins=true
if [ "$command" = needs ]; then
    if $joins; then echo code; else echo nothing; fi
    exit 0
fi

changed=''
owner=$(id -u):$(id -g)
# put MODE SOURCE TARGET: installs a file if it differs, by a rename, so that no reader sees a partial file.
put() {
    if cmp -s "$2" "$root$3"; then
        chmod "$1" "$root$3"
        return 0
    fi
    mkdir -p "$(dirname "$root$3")"
    cp "$2" "$root$3.new"
    chmod "$1" "$root$3.new"
    chown "$owner" "$root$3.new"
    mv -f "$root$3.new" "$root$3"
    changed="$changed $3"
    printf '  new: %s\n' "$3"
}

# join: gets the market's certificate with the code on standard input. On a host, as the user of the unit, to whom the state
# directory belongs.
join() {
    if [ -n "$root" ]; then
        mkdir -p "$root$state"
        chmod 700 "$root$state"
        "$root/usr/local/bin/market" join --dir "$root$state/market"
    else
        systemd-run --quiet --wait --pipe --collect --property=DynamicUser=yes --property=User=souk-market \
            --property=StateDirectory=souk-market --property=StateDirectoryMode=0700 --property=UMask=0077 \
            /usr/local/bin/market join --dir /var/lib/souk-market/market
    fi
}

for program in market seller buyer; do
    put 755 "$parcel/$program" "/usr/local/bin/$program"
done
put 644 "$parcel/souk-market.service" /etc/systemd/system/souk-market.service
put 644 "$parcel/souk-seller@.service" /etc/systemd/system/souk-seller@.service
put 644 "$parcel/market.toml" /etc/souk/market.toml
chmod 755 "$root/etc/souk"
if [ -e "$parcel/postgres-password" ]; then
    put 600 "$parcel/postgres-password" /etc/souk/postgres-password
    put 644 "$parcel/postgres.conf" /etc/systemd/system/souk-market.service.d/postgres.conf
fi
if [ -e "$parcel/postgres-ca.pem" ]; then
    put 644 "$parcel/postgres-ca.pem" /etc/souk/postgres-ca.pem
fi
restart=$changed

changed=''
if [ -d "$parcel/pki" ]; then
    mkdir -p "$root$state/pki"
    chmod 700 "$root$state" "$root$state/pki"
    # Once the service has run, its user owns the directory, and a running market must be able to read new files.
    owner=$(stat -c %u:%g "$root$state")
    chown "$owner" "$root$state/pki"
    for file in "$parcel"/pki/*; do
        case $file in
            *.key) put 600 "$file" "$state/pki/$(basename "$file")" ;;
            *) put 644 "$file" "$state/pki/$(basename "$file")" ;;
        esac
    done
elif $joins; then
    said=$(join) || die "the market has not joined; the reason stands above. Then install again, with the same code"
    printf '%s\n' "$said" | sed -n 's/^joined/  joined/p'
fi
renewed=$changed

if [ -n "$root" ]; then
    printf '  installed below %s; nothing was started\n' "$root"
    exit 0
fi
systemctl daemon-reload
systemctl enable --quiet souk-market
if [ -n "$restart" ] || ! systemctl is-active --quiet souk-market; then
    # With Type=notify, this returns when the market is ready or has failed.
    systemctl restart souk-market || {
        journalctl -u souk-market -n 15 --no-pager -o cat >&2 || true
        die "souk-market does not start; its last lines stand above"
    }
    printf '  started\n'
elif [ -n "$renewed" ]; then
    # The market would notice the new files by itself; the reload makes it do so now.
    systemctl reload souk-market
    printf '  the running market takes the new certificates up\n'
else
    printf '  nothing to change\n'
fi
seconds=0
until systemctl is-active --quiet souk-market; do
    [ "$seconds" -lt "$patience" ] || die "souk-market is not up after $patience s: journalctl -u souk-market"
    seconds=$((seconds + 1))
    sleep 1
done
