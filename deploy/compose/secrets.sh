#!/usr/bin/env bash
# Creates secrets/ next to this script for compose.yaml: a market's bundle, and the database's certificate and
# password.
#
#   deploy/compose/secrets.sh certs/pki/market.tar
#
# Existing files are kept, except for the bundle. Run it again with a new bundle after a renewal.
set -euo pipefail

if [ $# != 1 ] || [ ! -r "$1" ]; then
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d' >&2
    exit 2
fi
bundle=$(realpath "$1")
cd "$(dirname "$0")"
umask 077
mkdir -p secrets/market
cd secrets
tar -xf "$bundle" -C market --strip-components 1
if [ ! -e postgres-password ]; then
    openssl rand -hex 24 >postgres-password
fi
if [ ! -e postgres.pem ]; then
    # An authority for this one certificate. Its key is deleted with the temporary folder.
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 825 -keyout "$work/ca.key" \
        -out postgres-ca.pem -subj "/CN=souk database authority" -addext "basicConstraints=critical,CA:TRUE" \
        -addext "keyUsage=critical,keyCertSign,cRLSign" 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout postgres.key -out "$work/csr" \
        -subj "/CN=database" 2>/dev/null
    printf 'subjectAltName=DNS:database\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n' >"$work/ext"
    openssl x509 -req -in "$work/csr" -CA postgres-ca.pem -CAkey "$work/ca.key" -set_serial "0x$(openssl rand -hex 16)" \
        -days 825 -extfile "$work/ext" -out postgres.pem 2>/dev/null
fi
# PostgreSQL runs as a different user, who must be able to read the certificate.
chmod 644 postgres.pem postgres-ca.pem
echo "secrets/ is ready: a market's bundle, the database's certificate (825 days) and password"
