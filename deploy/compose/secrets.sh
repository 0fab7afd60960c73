#!/usr/bin/env bash
# Creates secrets/ next to this script for compose.yaml: the database's certificate and password. Certificates of the
# market are none of them: the markets join the authority (open.sh).
#
#   deploy/compose/secrets.sh
#
# Existing files are kept.
set -euo pipefail

if [ $# != 0 ]; then
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d' >&2
    exit 2
fi
cd "$(dirname "$0")"
umask 077
# The folder keeps other users of this machine out. The files in it are mounted into containers one by one, whose users must
# be able to read them.
mkdir -p secrets
chmod 700 secrets
cd secrets
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
# The markets read the password as a user of the image. The database copies its key as root (compose.yaml).
chmod 644 postgres.pem postgres-ca.pem postgres-password
echo "secrets/ is ready: the database's certificate (825 days) and password"
