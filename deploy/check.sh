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

compose() {
    SOUK_PUBLIC=market.example.org docker-compose -f "$deploy/compose/compose.yaml" config --quiet
    # Without the name in codes, nothing must start.
    if SOUK_PUBLIC='' docker-compose -f "$deploy/compose/compose.yaml" config --quiet 2>/dev/null; then
        echo "the compose file does without SOUK_PUBLIC"
        return 1
    fi
    docker-compose --version
}

balancer() { haproxy -c -f "$deploy/haproxy/haproxy.cfg" && haproxy -v | sed -n 's/^HAProxy version \([^ ]*\).*/HAProxy \1/p'; }

kubernetes_tool() {
    python3 -m venv "$work/venv" >/dev/null 2>&1 &&
        "$work/venv/bin/pip" --quiet install "kubernetes-validate==$KUBERNETES_VALIDATE" >/dev/null 2>&1
}

kubernetes() {
    local version file files=("$deploy"/kubernetes/*/*.yaml) documents
    mapfile -t files < <(grep -l '^kind:' "${files[@]}" | grep -v kustomization)
    for version in "${KUBERNETES_VERSIONS[@]}"; do
        for file in "${files[@]}"; do
            "$work/venv/bin/kubernetes-validate" -k "$version" --strict "$file"
        done
    done
    # Verify that the validator rejects a file with a misspelt key.
    sed 's/minAvailable:/minAvailble:/' "$deploy/kubernetes/market/market.yaml" >"$work/wrong.yaml"
    if "$work/venv/bin/kubernetes-validate" -k "$version" --strict "$work/wrong.yaml" >/dev/null 2>&1; then
        echo "the validator did not notice a misspelt key"
        return 1
    fi
    documents=$(cat "${files[@]}" | grep -c '^kind:')
    printf '%s documents, Kubernetes %s' "$documents" "${KUBERNETES_VERSIONS[*]}"
}

# Builds what is applied, and compares what has to agree between the files.
kustomization() {
    local folder
    for folder in authority market; do
        kubectl kustomize "$deploy/kubernetes/$folder" >"$work/$folder.yaml"
    done
    "$work/venv/bin/python" - "$work" "$deploy/kubernetes/market/market.toml" <<'END'
import sys
from pathlib import Path
import yaml

work, settings = Path(sys.argv[1]), Path(sys.argv[2]).read_text()
documents = {name: list(yaml.safe_load_all((work / f"{name}.yaml").read_text())) for name in ("authority", "market")}
for name, built in documents.items():
    pods = [document["spec"]["template"]["spec"] for document in built if document["kind"] == "StatefulSet"]
    assert len(pods) == 1, f"{name}: {len(pods)} stateful sets"
    assert pods[0]["securityContext"]["runAsNonRoot"], name
    for container in pods[0]["initContainers"] + pods[0]["containers"]:
        security, where = container["securityContext"], f"{name}: {container['name']}"
        assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"], where
        assert security["capabilities"]["drop"] == ["ALL"], where
        assert {"requests", "limits"} <= container["resources"].keys(), where
        assert not any("secretKeyRef" in entry.get("valueFrom", {}) for entry in container.get("env", [])), where
    for document in built:
        namespace = document["metadata"].get("namespace", document["metadata"]["name"])
        assert namespace == {"authority": "souk-authority", "market": "souk"}[name], document["metadata"]
context = next(line.split('"')[1] for line in settings.splitlines() if line.startswith("context = "))
pod = next(d for d in documents["market"] if d["kind"] == "StatefulSet")["spec"]["template"]["spec"]
join = pod["initContainers"][0]
assert any(context in word for word in join["args"]), "the join and market.toml name different folders"
mounts = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
assert any(context.startswith(mount + "/") for mount in mounts), "the market does not see the folder"
print(sum(map(len, documents.values())), "objects")
END
    kubectl version --client 2>/dev/null | sed -n 's/^Kustomize Version: /Kustomize /p'
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
if [ -x "$bin/gen-certs" ] && [ -x "$bin/market" ]; then
    check "compose: the authority is made and the markets join, without containers" "$deploy/compose/test.sh"
else
    skip "compose: joining (programs are missing in $bin; build them, or set SOUK_BIN)"
fi
if need haproxy service haproxy -v; then
    check "haproxy.cfg: haproxy -c" balancer
else
    skip "haproxy.cfg (Debian: haproxy; installed where CI is set)"
fi
if need python3-venv python3 -c 'import ensurepip, venv' && kubernetes_tool; then
    check "Kubernetes manifests: schemas, strict" kubernetes
    if command -v kubectl >/dev/null; then
        check "Kubernetes manifests: kustomize, and what the files have to agree on" kustomization
    else
        skip "kustomize (kubectl is missing)"
    fi
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
if [ -x "$bin/gen-certs" ] && [ -x "$bin/market" ]; then
    check "installation over ssh" "$deploy/install/test.sh"
else
    skip "installation over ssh (programs are missing in $bin; build them, or set SOUK_BIN)"
fi

printf '%s checks, %s ok, %s skipped\n' "$checks" "$ok" "$skipped"
[ "$checks" = "$ok" ]
