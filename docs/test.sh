#!/usr/bin/env bash
# Runs the commands in README.md and docs/tutorial.md, and compares their output with the documented output.
#
#   docs/test.sh [FOLDER]     FOLDER holds the built programs (default: target/debug)
#
# Every ```console block is run, in order, in a copy of a fresh checkout. In a block
#
#   $ COMMAND          is run and must succeed; a `\` at the end of a line continues it
#   anything else      must be a line of the output; `…` matches any text, and runs of blanks are equal
#
# Words after `console` name the terminal, which has separate variables and a separate folder. With the word
# `background`, the block's last command continues while later blocks run. A block without a command shows further output
# of that command, for which the script waits. Ports are replaced by free ones, to avoid conflicts on this machine.
set -euo pipefail
export LC_ALL=C.UTF-8
cd "$(dirname "$0")/.."
root=$PWD
bin=$(cd "${1:-target/debug}" && pwd)

readonly PAGES=(README.md docs/tutorial.md)
readonly PORTS=(7442 7443 7444 9464)
# Deadline for expected output, and how often it is checked.
readonly DEADLINE_SECONDS=60
readonly POLL_SECONDS=0.05

# Commands that are run elsewhere, with the place.
declare -rA ELSEWHERE=(
    ["cargo build --release"]="test.sh builds the programs"
    ["./test.sh"]="it is what runs this script"
    ["cargo run --release -p market -- demo"]="the block that shows its output runs it"
)

# Commands that show changes of others with a delay. They are repeated until they print the expected output.
readonly A_MOMENT_LATER='^buyer .*search '

work=$(mktemp -d)
declare -A background=()   # terminal: process
pids=()
commands=0 ok=0

# shellcheck disable=SC2317 # called by the trap
leave() {
    end_all
    rm -rf "$work"
}
trap leave EXIT

# end_all: ends all background commands, the most recent first.
end_all() {
    local i pid
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        pid=${pids[i]}
        kill -TERM -- "-$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    pids=() background=()
}

die() {
    printf 'FAIL %s\n' "$*" >&2
    exit 1
}

# choose_ports: sets port_changes, which replaces each documented port that is in use here with a free one below the range of
# ephemeral ports. Commands without a port use the documented one.
choose_ports() {
    local documented port
    port_changes=''
    for documented in "${PORTS[@]}"; do
        port=$documented
        while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((20000 + RANDOM % 10000)); done
        port_changes+="s/\\b$documented\\b/$port/g;"
    done
}

# checkout FOLDER: creates a fresh checkout, with the programs where `cargo build --release` puts them.
checkout() {
    local to=$1 file
    mkdir -p "$to/target" "$to.home" "$to.run"
    for file in gen-certs.sh clients proto; do cp -R "$root/$file" "$to/"; done
    ln -s "$bin" "$to/target/release"
}

# ported: replaces the documented ports in the text by those of this run.
ported() {
    sed -E "$port_changes"
}

# on_this_machine COMMAND: prints the command with the built programs instead of cargo.
on_this_machine() {
    sed -E 's/cargo run (-q )?--release (-p|--bin) (market|seller|buyer) --/\3/g' <<<"$1"
}

# in_terminal TERMINAL COMMAND: runs a command with the terminal's current variables and folder.
in_terminal() {
    local state=$folder.$1
    [ -f "$state" ] || printf 'cd %q\n' "$folder" >"$state"
    # shellcheck disable=SC2016 # expanded by the shell that is started
    exec env -i HOME="$folder.home" USER=newcomer PATH="$bin:/usr/local/bin:/usr/bin:/bin" TERM=dumb LANG=C.UTF-8 \
        TMPDIR="$folder.run" XDG_RUNTIME_DIR="$folder.run" GEN_CERTS="$bin/gen-certs" \
        bash -c '. "$1"; set -a; eval "$2"; code=$?; { export -p; printf "cd %q\n" "$PWD"; } >"$1"; exit "$code"' \
        bash "$state" "$2"
}

# shows FILE LINE: succeeds if the file contains the expected line.
shows() {
    local pattern line
    pattern=$(squeezed <<<"$2")
    pattern=$(sed 's/[^[:alnum:] …]/\\&/g; s/…/*/g' <<<"$pattern")
    while IFS= read -r line || [ -n "$line" ]; do
        # shellcheck disable=SC2053 # a pattern
        [[ $line == $pattern ]] && return 0
    done < <(squeezed <"$1")
    return 1
}

# squeezed: removes colours from the text and reduces runs of blanks to one.
squeezed() {
    sed -E 's/\x1b\[[0-9;]*[a-zA-Z]//g; s/[[:space:]]+/ /g; s/^ //; s/ $//'
}

# expect LINE WAITING WHERE: checks that the line is in $out, or appears there within the deadline.
expect() {
    local until=$((SECONDS + DEADLINE_SECONDS))
    until shows "$out" "$1"; do
        if [ "$2" = no ] || ((SECONDS >= until)); then
            printf '%s\n' "--- the output was:" >&2
            cat "$out" >&2
            die "$3: the output lacks the line: $1"
        fi
        sleep "$POLL_SECONDS"
        [ -z "$again" ] || (in_terminal "$again_in" "$again") </dev/null >"$out" 2>&1 || true
    done
}

# run WHERE TERMINAL COMMAND: runs a command until it exits, with its output in $out.
run() {
    local command
    command=$(on_this_machine "$3")
    printf '%s\n' "[$2] $ $command"
    out=$work/out.$commands
    (in_terminal "$2" "$command") </dev/null >"$out" 2>&1 || {
        local code=$?
        cat "$out" >&2
        die "$1: exit code $code: $command"
    }
}

# start WHERE TERMINAL COMMAND: starts a command, with its output in $out. It is ended at the end of the page.
start() {
    local command
    command=$(on_this_machine "$3")
    printf '%s\n' "[$2] $ $command    (in the background)"
    out=$work/out.$commands
    export -f in_terminal
    folder=$folder bin=$bin setsid bash -c 'in_terminal "$@"' bash "$2" "$command" </dev/null >"$out" 2>&1 &
    pids+=($!)
    background[$2]=$out
}

# block WHERE TERMINAL BACKGROUND: processes a block, whose lines are in the array `block`.
block() {
    local where=$1 terminal=$2 in_background=$3 waiting=no line command i reason
    local last=-1 again='' again_in=$terminal
    for i in "${!block[@]}"; do [[ ${block[i]} == '$ '* ]] && last=$i; done
    out=${background[$terminal]-}
    if [ "$last" = -1 ]; then
        [ -n "$out" ] || die "$where: nothing goes on in the terminal '$terminal'"
        waiting=yes
    fi
    for ((i = 0; i < ${#block[@]}; i++)); do
        line=${block[i]}
        if [[ $line != '$ '* ]]; then
            [ -z "${line//[[:space:]]/}" ] || expect "$(ported <<<"$line")" "$waiting" "$where"
            continue
        fi
        command=${line#'$ '}
        local at=$i
        while [[ $command == *\\ ]]; do
            i=$((i + 1))
            command=${command%\\}${block[i]}
        done
        commands=$((commands + 1))
        waiting=no again=''
        reason=${ELSEWHERE[$(sed -E 's/ +#.*//; s/ +$//' <<<"$command")]-}
        if [ "$in_background" = yes ] && [ "$at" = "$last" ]; then
            start "$where" "$terminal" "$(ported <<<"$command")"
            waiting=yes
        elif [ -n "$reason" ]; then
            printf '%s\n' "[$terminal] $ $command    (not run here: $reason)"
        else
            run "$where" "$terminal" "$(ported <<<"$command")"
            if [[ $command =~ $A_MOMENT_LATER ]]; then waiting=yes again=$(on_this_machine "$(ported <<<"$command")"); fi
        fi
        ok=$((ok + 1))
    done
}

# page FILE: runs the blocks of a page in a fresh checkout.
page() {
    local line number=0 inside=no terminal in_background where word
    folder=$work/$(basename "$1" .md)
    checkout "$folder"
    choose_ports
    printf '== %s\n' "$1"
    while IFS= read -r line <&9; do
        number=$((number + 1))
        if [ "$inside" = no ] && [[ $line == '```console'* ]]; then
            inside=yes terminal=terminal in_background=no block=() where="$1:$number"
            for word in ${line#'```console'}; do
                if [ "$word" = background ]; then in_background=yes; else terminal=$word; fi
            done
        elif [ "$inside" = yes ] && [ "$line" = '```' ]; then
            inside=no
            block "$where" "$terminal" "$in_background"
        elif [ "$inside" = yes ]; then
            block+=("$line")
        fi
    done 9<"$1"
    end_all
}

printf '== docs/cli.md\n'
docs/cli.sh "$bin" >"$work/cli.md"
diff -u docs/cli.md "$work/cli.md" || die "docs/cli.md is out of date: run docs/cli.sh $bin > docs/cli.md"
echo "as the programs print it"

for page in "${PAGES[@]}"; do page "$page"; done
[ "$commands" -gt 0 ] || die "no commands were found"
printf '%s commands, %s ok\n' "$commands" "$ok"
