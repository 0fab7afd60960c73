# shellcheck shell=bash
# shellcheck disable=SC2154 # what the tests set
# What the tests of the scripts here have in common; they source it. $work is a test's folder, and $work/out what its last
# command has printed.

checks=0
check() {
    checks=$((checks + 1))
    printf 'ok   %s\n' "$1"
}

# fail TEXT: ends the test. Shows $work/out, and the files in $logs.
logs=()
fail() {
    printf 'FAIL %s\n' "$1"
    sed 's/^/     /' "$work/out" "${logs[@]}" 2>/dev/null || true
    exit 1
}

# says TEXT CODE WORDS COMMAND…: checks that a command exits with CODE and prints WORDS. $input is its standard input.
input=''
says() {
    local text=$1 code=0 expected=$2 words=$3
    shift 3
    printf '%s' "$input" | "$@" >"$work/out" 2>&1 || code=$?
    [ "$code" = "$expected" ] || fail "$text: exit code $code"
    grep -q -- "$words" "$work/out" || fail "$text: does not say \"$words\""
    check "$text"
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
