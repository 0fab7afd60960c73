#!/usr/bin/env bash
# Checks the files in deploy/ as far as possible without the target machines: scripts, units, compose, load balancer,
# Kubernetes, Patroni, alert rules and dashboard, and the installation over ssh. hosts.sh runs actual trades.
#
# Tools come from Debian packages and PyPI. As root, missing ones are installed. Packages that start a service
# (haproxy, openssh-server, patroni, prometheus) are installed only if CI is set, so that none is started on a developer's
# machine.
set -euo pipefail

deploy=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
bin=${SOUK_BIN:-${CARGO_TARGET_DIR:-${deploy%/*}/target}/debug}
# Maximum exposure level of the unit in tenths, as reported by systemd-analyze security (0 to 100).
readonly MAX_EXPOSURE=15
readonly KUBERNETES_VALIDATE=1.37.0
readonly KUBERNETES_VERSIONS=(1.27 1.37)

work=$(mktemp -d)
listener=''
# shellcheck disable=SC2317 # called by the trap
leave() {
    [ -z "$listener" ] || kill "$listener" 2>/dev/null || true
    rm -rf "$work"
}
trap leave EXIT

checks=0 ok=0 skipped=0

# need PACKAGE [service] COMMAND…: installs PACKAGE if COMMAND fails and that is allowed. Returns COMMAND's exit
# status.
updated=false
need() {
    local package=$1 service=false
    shift
    if [ "$1" = service ]; then service=true; shift; fi
    "$@" >/dev/null 2>&1 && return 0
    if $service && [ -z "${CI-}" ]; then return 1; fi
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        $updated || apt-get update -qq >/dev/null 2>&1 || true
        updated=true
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 || true
    fi
    "$@" >/dev/null 2>&1
}

# check TEXT FUNCTION: runs a check and shows its last line of output, or all of it if it fails. The function does not
# run in a condition, because there `set -e` would have no effect in it.
check() {
    local code=0
    checks=$((checks + 1))
    set +e
    (
        set -e
        "$2"
    ) >"$work/out" 2>&1
    code=$?
    set -e
    if [ "$code" = 0 ]; then
        ok=$((ok + 1))
        printf 'ok   %s%s\n' "$1" "$([ -s "$work/out" ] && printf ' (%s)' "$(tail -n 1 "$work/out")")"
    else
        printf 'FAIL %s\n' "$1"
        sed 's/^/     /' "$work/out"
    fi
}

skip() {
    skipped=$((skipped + 1))
    printf 'skipped: %s\n' "$*"
}

scripts() {
    local files
    mapfile -t files < <(find "$deploy" -name '*.sh')
    shellcheck -x "${files[@]}"
    printf '%s scripts' "${#files[@]}"
}

# Creates a root folder with the units and stub programs: systemd-analyze rejects units whose programs do not exist.
units_root() {
    local root=$work/units program
    mkdir -p "$root/usr/local/bin" "$root/usr/bin" "$root/etc/systemd/system" "$root/usr/lib/systemd"
    ln -sfn usr/bin "$root/bin"
    cp -r "$deploy"/systemd/*.service "$deploy"/systemd/*.d "$root/etc/systemd/system/"
    cp -r /usr/lib/systemd/system "$root/usr/lib/systemd/" 2>/dev/null || cp -r /lib/systemd/system "$root/usr/lib/systemd/"
    for program in usr/local/bin/market usr/local/bin/seller usr/local/bin/gen-certs usr/bin/kill; do
        printf '#!/bin/sh\n' >"$root/$program"
        chmod +x "$root/$program"
    done
    printf '%s' "$root"
}

units() {
    local said
    said=$(systemd-analyze --root="$(units_root)" verify souk-market.service souk-authority.service \
        souk-seller@alice.service 2>&1)
    printf '%s' "$said"
    [ -z "$said" ]
}

exposure() {
    systemd-analyze --root="$(units_root)" --offline=true --threshold="$MAX_EXPOSURE" --no-pager security \
        souk-market.service souk-authority.service souk-seller@alice.service >"$work/exposure" ||
        { cat "$work/exposure"; return 1; }
    grep -o 'Overall exposure level for .*: [0-9.]*' "$work/exposure" | sed 's/Overall exposure level for //' | paste -sd, -
}

compose() { docker-compose -f "$deploy/compose/compose.yaml" config --quiet && docker-compose --version; }

# Creates the secrets of compose.yaml in a copy of its folder, and verifies the database's certificate.
compose_secrets() {
    cp -r "$deploy/compose" "$work/compose"
    "$bin/gen-certs" --dir "$work/pki" init >/dev/null
    "$bin/gen-certs" --dir "$work/pki" bundle market >/dev/null
    "$work/compose/secrets.sh" "$work/pki/market.tar"
    cd "$work/compose/secrets"
    openssl verify -CAfile postgres-ca.pem -verify_hostname database -purpose sslserver postgres.pem
    [ "$(stat -c %a market/market.key postgres.key postgres-password | tr '\n' ' ')" = "600 600 600 " ]
    local before
    before=$(cat postgres.pem postgres-password | sha256sum)
    "$work/compose/secrets.sh" "$work/pki/market.tar" >/dev/null
    [ "$before" = "$(cat postgres.pem postgres-password | sha256sum)" ]
}

balancer() { haproxy -c -f "$deploy/haproxy/haproxy.cfg" && haproxy -v | sed -n 's/^HAProxy version \([^ ]*\).*/HAProxy \1/p'; }

kubernetes_tool() {
    python3 -m venv "$work/venv" >/dev/null 2>&1 &&
        "$work/venv/bin/pip" --quiet install "kubernetes-validate==$KUBERNETES_VALIDATE" >/dev/null 2>&1
}

kubernetes() {
    local version
    for version in "${KUBERNETES_VERSIONS[@]}"; do
        "$work/venv/bin/kubernetes-validate" -k "$version" --strict "$deploy/kubernetes/market.yaml"
    done
    # Verify that the validator rejects a file with a misspelt key.
    sed 's/maxUnavailable:/maxUnavailble:/' "$deploy/kubernetes/market.yaml" >"$work/wrong.yaml"
    if "$work/venv/bin/kubernetes-validate" -k "$version" --strict "$work/wrong.yaml" >/dev/null 2>&1; then
        echo "the validator did not notice a misspelt key"
        return 1
    fi
    printf '%s documents, Kubernetes %s' "$(grep -c '^kind:' "$deploy/kubernetes/market.yaml")" "${KUBERNETES_VERSIONS[*]}"
}

# Patroni connects to etcd when it validates its configuration, so a stub listens in its place.
patroni_settings() {
    local port
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    python3 -m http.server --bind 127.0.0.1 "$port" --directory "$work/units" >/dev/null 2>&1 &
    listener=$!
    for _ in {1..50}; do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
        sleep 0.1
    done
    sed "s/db-[0-9]\.example\.org:2379/127.0.0.1:$port/g" "$deploy/patroni/patroni.yml" >"$work/patroni.yml"
    local code=0
    patroni --validate-config "$work/patroni.yml" || code=$?
    kill "$listener"
    patroni --version
    return "$code"
}

alerts() {
    (cd "$deploy/prometheus" && promtool check config prometheus.yml && promtool test rules tests.yaml)
    printf '%s alerts, %s' "$(grep -c -- '- alert:' "$deploy/prometheus/alerts.yaml")" "$(promtool --version 2>&1 | sed -n '1s/,* *version \([^ ]*\).*/ \1/p')"
}

# Turns the queries of the dashboard into rules, because promtool knows no dashboards.
dashboard() {
    python3 - "$deploy/grafana/souk.json" >"$work/queries.yaml" <<'END'
import json, sys
panels = json.load(open(sys.argv[1]))["panels"]
queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
rules = [
    {"record": f"query_{number}", "expr": query.replace("$__rate_interval", "5m").replace("$instance", ".*")}
    for number, query in enumerate(queries)
]
json.dump({"groups": [{"name": "queries", "rules": rules}]}, sys.stdout)
END
    promtool check rules "$work/queries.yaml"
    printf '%s queries' "$(grep -c '"expr":' "$deploy/grafana/souk.json")"
}

if need shellcheck shellcheck --version; then
    check "scripts: shellcheck" scripts
else
    skip "shellcheck (Debian: shellcheck)"
fi
if need systemd systemd-analyze --version; then
    check "systemd units: verify" units
    check "systemd units: security, at most ${MAX_EXPOSURE%?}.${MAX_EXPOSURE#?}" exposure
else
    skip "systemd units (Debian: systemd)"
fi
if need docker-compose docker-compose --version; then
    check "compose file: config" compose
else
    skip "compose file (Debian: docker-compose)"
fi
if [ -x "$bin/gen-certs" ]; then
    check "compose: secrets" compose_secrets
else
    skip "compose: secrets ($bin/gen-certs is missing; build it, or set SOUK_BIN)"
fi
if need haproxy service haproxy -v; then
    check "haproxy.cfg: haproxy -c" balancer
else
    skip "haproxy.cfg (Debian: haproxy; installed where CI is set)"
fi
if need python3-venv python3 -c 'import ensurepip, venv' && kubernetes_tool; then
    check "Kubernetes manifests: schemas, strict" kubernetes
else
    skip "Kubernetes manifests (PyPI: kubernetes-validate)"
fi
if need patroni service patroni --version; then
    check "patroni.yml: patroni --validate-config" patroni_settings
else
    skip "patroni.yml (Debian: patroni; installed where CI is set)"
fi
if need prometheus service promtool --version; then
    check "alert rules: promtool" alerts
    check "dashboard: promtool" dashboard
else
    skip "alert rules and dashboard (Debian: prometheus; installed where CI is set)"
fi
need openssh-server service command -v sshd || true
if [ -x "$bin/gen-certs" ]; then
    check "installation over ssh" "$deploy/install/test.sh"
else
    skip "installation over ssh ($bin/gen-certs is missing; build it, or set SOUK_BIN)"
fi

printf '%s checks, %s ok, %s skipped\n' "$checks" "$ok" "$skipped"
[ "$checks" = "$ok" ]
