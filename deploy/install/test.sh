#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# Tests deploy/install.sh with stubs of ssh and scp that stay on this machine and, if OpenSSH's server is installed,
# with a real one on loopback. Everything is installed in a temporary folder. Uses the programs in $SOUK_BIN (default
# target/debug): `gen-certs` for an authority, and `market`, which joins it.
set -euo pipefail

here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
install=${here%/*}/install.sh
bin=${SOUK_BIN:-${here%/*/*}/target/debug}
gen_certs=$bin/gen-certs
for program in "$gen_certs" "$bin/market"; do
    [ -x "$program" ] || { echo "error: $program is missing; build it, or set SOUK_BIN" >&2; exit 1; }
done
work=$(mktemp -d)
sshd='' authority=''
# shellcheck disable=SC2317 # called by the trap
leave() {
    [ -z "$sshd" ] || kill "$sshd" 2>/dev/null || true
    [ -z "$authority" ] || kill "$authority" 2>/dev/null || true
    rm -rf "$work"
}
trap leave EXIT

# shellcheck source=../checks.sh
. "${here%/*}/checks.sh"
# runs TEXT CODE WORDS ARGUMENTS…: checks that install.sh exits with CODE and prints WORDS. $input is its standard input.
runs() { says "$1" "$2" "$3" "$install" "${@:4}"; }

# await FILE WORDS: waits until a background process has written something.
await() {
    for _ in {1..100}; do
        ! grep -q "$2" "$1" 2>/dev/null || return 0
        sleep 0.1
    done
    fail "\"$2\" does not come"
}

# Small stand-ins for the programs, which are quick to copy. The market joins with the real one.
mkdir "$work/programs" "$work/fake"
for program in seller buyer; do
    printf '#!/bin/sh\necho %s\n' "$program" >"$work/programs/$program"
done
printf '#!/bin/sh\nexec %s "$@"\n' "$bin/market" >"$work/programs/market"
chmod +x "$work"/programs/*
pki() { "$gen_certs" --dir "$work/pki" "$@" >/dev/null; }
pki init
pki seller alice
pki bundle market
pki bundle alice
printf 'not so secret\n' >"$work/password"

# Hosts: "here" is this machine, "down" does not respond, "other" has another architecture.
cat >"$work/fake/ssh" <<END
#!/bin/sh
printf '%s\\n' "\$*" >>'$work/commands'
END
cat >>"$work/fake/ssh" <<'END'
while [ "$1" = -o ]; do shift 2; done
host=$1
shift
case $host in
    down) echo "ssh: connect to host down port 22: Connection timed out" >&2; exit 255 ;;
    other) [ "$1" != uname ] || { echo "Linux s390x"; exit 0; } ;;
esac
exec sh -c "$*"
END
cat >"$work/fake/scp" <<'END'
#!/bin/sh
while [ "$1" = -o ]; do shift 2; done
[ "$1" = -q ] && [ "$2" = -r ] || exit 1
exec cp -r "$3" "${4#*:}"
END
chmod +x "$work"/fake/*
real_path=$PATH
PATH=$work/fake:$PATH
export TMPDIR=$work/tmp
mkdir "$TMPDIR"

with=(--bundle "$work/pki/market.tar" --programs "$work/programs")
root=$work/root
runs "no host: says how it is used" 2 "HOST…"
runs "no programs: says how to build them" 1 "cargo build" --programs "$work" here
runs "no bundle there: says how to make one" 1 "gen-certs.sh bundle market" --programs "$work/programs" \
    --bundle "$work/none.tar" here
runs "a seller's bundle is refused" 1 "not a market's bundle" --programs "$work/programs" --bundle "$work/pki/alice.tar" here
runs "a bundle for settings of a market that joins is refused" 1 "set tls.cert" "${with[@]}" \
    --settings "${here%/*}/systemd/market.toml" here
runs "settings for a bundle without one are refused" 1 "or give the --bundle" --programs "$work/programs" \
    --settings "${here%/*}/systemd/market-bundle.toml" here
runs "a postgres store needs its password" 1 "--postgres-password" --programs "$work/programs" \
    --settings "${here%/*}/systemd/market-postgres.toml" here
runs "a host that does not answer" 1 "can't reach down" "${with[@]}" --root "$root" down here
runs "a host of another kind" 1 "other is Linux s390x" "${with[@]}" --root "$root" other
runs "dry run says what it would do" 0 "would copy" "${with[@]}" --root "$root" --dry-run here
[ ! -e "$root" ] || fail "a dry run, or a host before it, installed something"
runs "first install" 0 "new: /usr/local/bin/market" "${with[@]}" --root "$root" here
state=$root/var/lib/souk-market/pki
[ "$(stat -c %a "$state/market.key" "$state/token.key" "$state" | tr '\n' ' ')" = "600 600 700 " ] || fail "modes of keys"
[ ! -e "$state/ca.key" ] || fail "the authority's key was installed"
[ -x "$root/usr/local/bin/seller" ] || fail "no seller was installed"
check "keys have strict modes, and the authority's key is not there"
runs "second install: nothing is new" 0 "nothing was started" "${with[@]}" --root "$root" here
! grep -q "new:" "$work/out" || fail "the second install changed something"
pki renew market
pki bundle market --force
runs "a renewed certificate" 0 "new: /var/lib/souk-market/pki/market.pem" "${with[@]}" --root "$root" here
! grep -q "new: /usr" "$work/out" || fail "the renewal changed programs"

port=$(free_port)
"$gen_certs" --dir "$work/ca" init --public "127.0.0.1:$port" --market market.example.org:7443 >/dev/null
"$gen_certs" --dir "$work/ca" serve --listen "127.0.0.1:$port" >"$work/serve" 2>&1 </dev/null &
authority=$!
await "$work/serve" "enrolment is open"
invite() { "$gen_certs" --dir "$work/ca" invite market "$1" 2>/dev/null; }
joins=(--programs "$work/programs" --root "$work/joined")
context=$work/joined/var/lib/souk-market/market
runs "a market that has to join needs a code" 1 "gen-certs invite market NAME" "${joins[@]}" here
[ ! -e "$context" ] || fail "a market without a code has something"
input=$(invite m1 | sed 's/.$/1/')$'\n'
runs "a damaged code" 1 "the invitation code is damaged" "${joins[@]}" here
input=$(invite m2)$'\n'
runs "a market joins with the code on standard input" 0 "joined as market m2" "${joins[@]}" here
[ "$(stat -c %a "$context/live/party.key" "$context" "${context%/*}" | tr '\n' ' ')" = "600 700 700 " ] || fail "modes of keys"
check "its key and folders are its own"
before=$(sha256sum "$context/live/party.pem")
input=''
runs "second time: it keeps its certificate, and needs no code" 0 "nothing was started" "${joins[@]}" here
! grep -q "new:" "$work/out" || fail "the second install changed something"
[ "$before" = "$(sha256sum "$context/live/party.pem")" ] || fail "the certificate is another one"
input=$(invite m3)$'\n'
runs "hosts take the lines in turn, and one that has joined takes none" 1 "can't reach down" --programs "$work/programs" \
    --root "$work/two" here here down
grep -q "joined as market m3" "$work/out" || fail "the first host has not joined"
runs "dry run says that a code is needed" 0 "its invitation code" "${joins[@]}" --dry-run here
input=$(invite m4)$'\n'
runs "PostgreSQL's settings and password" 0 "new: /etc/souk/postgres-password" --programs "$work/programs" --root "$work/pg" \
    --settings "${here%/*}/systemd/market-postgres.toml" --postgres-password "$work/password" \
    --postgres-ca "$work/pki/ca.pem" here
[ "$(stat -c %a "$work/pg/etc/souk/postgres-password")" = 600 ] || fail "modes of the password"
! grep -rq "not so secret\|souk1" "$work/out" "$work/commands" || fail "a secret was printed, or is in a command line"
[ -z "$(ls -A "$TMPDIR")" ] || fail "something with keys in it was left in $TMPDIR"
check "nothing is left over, and no secret is printed"

PATH=$real_path
server=$(command -v sshd || true)
if [ -z "$server" ] || [ "$(id -u)" != 0 ]; then
    printf 'skipped: a real sshd (%s)\n' "$([ -n "$server" ] && echo "needs root" || echo "Debian: openssh-server")"
else
    mkdir -p /run/sshd "$work/ssh"
    ssh-keygen -q -t ed25519 -N '' -f "$work/ssh/host"
    ssh-keygen -q -t ed25519 -N '' -f "$work/ssh/mine"
    cp "$work/ssh/mine.pub" "$work/ssh/authorized"
    port=$(free_port)
    cat >"$work/ssh/config" <<END
ListenAddress 127.0.0.1:$port
HostKey $work/ssh/host
AuthorizedKeysFile $work/ssh/authorized
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
Subsystem sftp internal-sftp
END
    "$server" -D -e -f "$work/ssh/config" 2>"$work/ssh/log" &
    sshd=$!
    for _ in {1..50}; do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
        sleep 0.1
    done
    printf '[127.0.0.1]:%s %s\n' "$port" "$(cut -d' ' -f1,2 "$work/ssh/host.pub")" >"$work/ssh/known"
    over=(--ssh-option "Port=$port" --ssh-option "IdentityFile=$work/ssh/mine" --ssh-option IdentitiesOnly=yes
        --ssh-option "UserKnownHostsFile=$work/ssh/known" --ssh-option StrictHostKeyChecking=yes
        --ssh-option IdentityAgent=none --ssh-option User=root)
    runs "over a real sshd" 0 "new: /usr/local/bin/market" "${with[@]}" "${over[@]}" --root "$work/real" 127.0.0.1
    input=$(invite m5)$'\n'
    runs "joining over a real sshd" 0 "joined as market m5" "${over[@]}" --programs "$work/programs" --root "$work/far" 127.0.0.1
    input=''
    runs "over a real sshd again: nothing is new" 0 "nothing was started" "${with[@]}" "${over[@]}" --root "$work/real" 127.0.0.1
    ! grep -q "new:" "$work/out" || fail "the second install over ssh changed something"
    cmp -s "$state/market.key" "$work/real/var/lib/souk-market/pki/market.key" || fail "another key arrived"
    printf '%s\n' "[127.0.0.1]:$port $(cut -d' ' -f1,2 "$work/ssh/mine.pub")" >"$work/ssh/known"
    runs "a host with another key than known is refused" 1 "can't reach" "${with[@]}" "${over[@]}" --root "$work/no" 127.0.0.1
fi
printf '%s checks, %s ok\n' "$checks" "$checks"
