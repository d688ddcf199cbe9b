# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Common to the tools: where things are kept, how progress is told. Sourced, never run.

CT_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
CT_TOOL=${CT_TOOL:-$(basename "$0")}

# Caches stay out of the clone and work with a HOME that is new, empty or not set at all.
if [ -n "${XDG_CACHE_HOME:-}" ]; then
    CT_CACHE=$XDG_CACHE_HOME/cloudtaser
elif [ -n "${HOME:-}" ]; then
    CT_CACHE=$HOME/.cache/cloudtaser
else
    CT_CACHE=${TMPDIR:-/tmp}/cloudtaser-cache-$(id -u)
fi
CT_JOBS=${CT_JOBS:-$(nproc)}

say() { printf '%s: %s\n' "$CT_TOOL" "$*" >&2; }

die() {
    say "$*"
    exit 1
}

# took START: the seconds since START (a value of $SECONDS), for people.
took() {
    local s=$((SECONDS - $1))
    if [ $s -ge 60 ]; then printf '%d min %02d s' $((s / 60)) $((s % 60)); else printf '%d s' $s; fi
}

# run_logged LOG WHAT COMMAND…: runs COMMAND with its output in LOG; says what it does, every 30 s
# that it still does, and how long it took; shows the log's end if it fails.
run_logged() {
    local log=$1 what=$2 start=$SECONDS pid ticker status=0
    shift 2
    say "$what…"
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    (
        while sleep 30 >/dev/null 2>&1 </dev/null && kill -0 $pid 2>/dev/null; do
            say "$what… $(took "$start")"
        done
    ) &
    ticker=$!
    wait $pid || status=$?
    kill $ticker 2>/dev/null || true
    wait $ticker 2>/dev/null || true
    if [ $status -ne 0 ]; then
        tail -n 40 "$log" >&2
        say "$what: failed with status $status after $(took "$start"); all of it is in $log"
        return $status
    fi
    say "$what: done in $(took "$start")"
}

# What is tested or linted, not what ships, takes the objects that any clone has compiled from the same text before:
# ccache(1) sees paths relative to the clone (cmake/CtFlags.cmake has the debugger see them so too).
export CCACHE_DIR=$CT_CACHE/ccache CCACHE_BASEDIR=$CT_ROOT CCACHE_NOHASHDIR=1 CCACHE_MAXSIZE=1G

# configure PRESET DIR: release, and coverage, which counts by paths, compile everything themselves.
configure() {
    local launcher=
    case $1 in dev | asan-ubsan | tsan | fuzz) launcher=ccache ;; esac
    cmake --preset "$1" -B "$2" -DCMAKE_C_COMPILER_LAUNCHER="$launcher"
}

# key_of FILE…: a short hash of the files' contents and of standard input.
key_of() { cat "$@" - | sha256sum | cut -c1-16; }

# with_lock FILE COMMAND…: one at a time; says so when it has to wait.
with_lock() {
    local file=$1 fd
    shift
    mkdir -p "$(dirname "$file")"
    exec {fd}>"$file"
    if ! flock -n "$fd"; then
        say "another build of the same is under way; waiting for it…"
        flock "$fd"
    fi
    "$@" {fd}>&-
    exec {fd}>&-
}

# The home directory of the account, whatever HOME says.
passwd_home() { getent passwd "$(id -u)" | cut -d: -f6; }

# find_go: sets GO and the caches that it uses.
find_go() {
    local candidate
    GO=
    for candidate in "$(command -v go || true)" /usr/local/go/bin/go /usr/lib/go/bin/go; do
        # What it builds names its version, and is refused by older ones in words that do not tell that.
        if [ -x "$candidate" ] && "$candidate" version |
            awk '{ split(substr($3, 3), v, "."); exit !(v[1] > 1 || v[2] >= 26) }'; then
            GO=$candidate
            break
        fi
    done
    [ -n "$GO" ] || die "no Go compiler found in PATH or /usr/local/go; install Go 1.26 or later"
    export GOPATH=$CT_CACHE/go/path GOMODCACHE=$CT_CACHE/go/mod GOCACHE=$CT_CACHE/go/build
    export GOTOOLCHAIN=local GOWORK=off GOFLAGS=-buildvcs=false
}

# find_cargo: sets CARGO to a program that works here. The usual `cargo` may be rustup's proxy,
# which looks for its toolchains under HOME: then the toolchain's own program is taken.
find_cargo() {
    local home candidate
    home=$(passwd_home)
    export CARGO_HOME=$CT_CACHE/cargo
    for candidate in "$(command -v cargo || true)" \
        "${RUSTUP_HOME:-$home/.rustup}"/toolchains/*/bin/cargo /usr/bin/cargo; do
        [ -x "$candidate" ] || continue
        # The registry's sparse protocol is spoken from 1.70 on.
        if "$candidate" --version 2>/dev/null |
            awk '{ split($2, v, "."); ok = v[1] > 1 || v[2] >= 70 } END { exit !ok }'; then
            CARGO=$candidate
            return 0
        fi
    done
    return 1
}

# find_pip: sets PIP_PYTHON to a Python that has pip. Debian's own often has none, and the first in PATH
# may be a shim that wants a HOME.
find_pip() {
    local candidate
    for candidate in /usr/bin/python3 "$(command -v python3 || true)"; do
        if [ -x "$candidate" ] && "$candidate" -m pip --version >/dev/null 2>&1; then
            PIP_PYTHON=$candidate
            return 0
        fi
    done
    return 1
}
