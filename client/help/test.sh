#!/usr/bin/env bash
# Completes commands, options and values of all programs in bash, zsh and fish, and shows every manual page with man.
#
#   client/help/test.sh [FOLDER]     FOLDER holds the built programs (default: target/debug)
#
# Says which shells are missing, and skips them.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$(cd "${1:-target/debug}" && pwd)
export PATH="$bin:$PATH"

readonly PROGRAMS=(market seller buyer gen-certs)
# What is typed before Tab, and the word that it becomes.
readonly CASES=(
    "market sta => stats"
    "market admin sus => suspend"
    "market serve --print => --print-config"
    "market audit ver => verify"
    "seller reg => register"
    "seller ride sta => start"
    "seller sell --cat => --category"
    "seller items --output nd => ndjson"
    "seller update --timeo => --timeout"
    "buyer wi => wish"
    "buyer wish ad => add"
    "buyer search --in-st => --in-stock"
    "gen-certs ren => renew"
    "gen-certs root ret => retire"
    "gen-certs list --out => --output"
)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

die() {
    printf 'FAIL %s\n' "$*" >&2
    exit 1
}

# in_bash LINE: prints the completions of the last word.
in_bash() {
    local words
    read -ra words <<<"$1"
    # shellcheck disable=SC2016 # expanded by the shell that is started
    bash --norc --noprofile -c '
        source "$1"
        COMP_WORDS=("${@:2}") COMP_CWORD=$(($# - 2)) COMP_LINE="${*:2}" COMP_POINT=${#COMP_LINE}
        function=$(complete -p "$2" | sed "s/.* -F \([^ ]*\) .*/\1/")
        "$function" "$2" "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf "%s\n" "${COMPREPLY[@]}"' bash "$work/${words[0]}.bash" "${words[@]}"
}

in_fish() {
    # shellcheck disable=SC2016
    HOME=$work fish --no-config -c 'source $argv[1]; complete -C $argv[2]' "$work/${1%% *}.fish" "$1" | cut -f 1
}

# in_zsh LINE: types the line and Tab in a terminal, and prints the words of the line that it becomes.
in_zsh() {
    # shellcheck disable=SC2016
    HOME=$work zsh -f -c '
        zmodload zsh/zpty
        zpty terminal env TERM=dumb zsh -f -i
        zpty -w terminal "PROMPT= RPROMPT= fpath=($1 \$fpath); unsetopt zle_bracketed_paste beep; autoload -Uz compinit; compinit -u -D"
        zpty -w terminal "shown() { print; print -r -- \"<<\$BUFFER>>\"; exit }; zle -N shown; bindkey \"^X\" shown; print rea\"dy\""
        zpty -r terminal out "*ready*" || exit 1
        zpty -w -n terminal "$2"$'"'\\t\\x18'"'
        zpty -r terminal out "*<<*>>*" || exit 1
        out=${out##*<<}
        print -rl -- ${=out%%>>*}' zsh "$work" "$1"
}

for program in "${PROGRAMS[@]}"; do
    for shell in bash fish; do "$bin/$program" completions "$shell" >"$work/$program.$shell"; done
    "$bin/$program" completions zsh >"$work/_$program"
done

for shell in bash zsh fish; do
    if ! command -v "$shell" >/dev/null; then
        printf 'skipped: completions in %s (it is missing and could not be installed)\n' "$shell"
        continue
    fi
    for case in "${CASES[@]}"; do
        typed=${case% => *} expected=${case#* => }
        completed=$("in_$shell" "$typed") || die "$shell: '$typed' can't be completed: $completed"
        # zsh adds the sign that follows an option with a value.
        grep -qxF -e "$expected" -e "$expected=" <<<"$completed" || die "$shell: '$typed' becomes '$completed', not '$expected'"
    done
    printf '%s: %s completions as expected\n' "$shell" "${#CASES[@]}"
done

for program in "${PROGRAMS[@]}"; do
    "$bin/$program" man --dir "$work/man1"
    [ -s "$work/man1/$program.1" ] || die "$program has no manual page"
done
pages=("$work"/man1/*.1)
if command -v man >/dev/null; then
    for page in "${pages[@]}"; do
        warnings=$(LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -l "$page" 2>&1 >"$work/text" </dev/null) || die "$page: $warnings"
        [ -z "$warnings" ] || die "$page: $warnings"
        grep -q '^NAME' "$work/text" || die "$page shows nothing"
    done
    printf 'man: %s pages shown without a warning\n' "${#pages[@]}"
else
    printf 'skipped: showing the manual pages (man is missing)\n'
fi
