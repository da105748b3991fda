# shellcheck shell=bash
# Sourced by the other scripts: the words they share. Not a command.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$root/target/tools
scripts=$root/scripts

say() { printf '%s\n' "$*" >&2; }
fail() { say "$(basename "$0"): $*"; exit 1; }

# wait_for SECONDS WHAT COMMAND...: until COMMAND succeeds; fails when the time is over.
wait_for() {
    local seconds=$1 what=$2 end
    shift 2
    end=$((SECONDS + seconds))
    until "$@"; do
        ((SECONDS < end)) || { say "not within $seconds s: $what"; return 1; }
        sleep 0.1
    done
}

# A port of 127.0.0.1 that nobody listens on, below the range the kernel gives to clients.
free_port() {
    local port
    for _ in {1..100}; do
        port=$((10000 + RANDOM % 22000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
    fail "no free port"
}

is_mounted() { mountpoint -q "$1"; }

# Which build the scripts run: debug, or release where speed is the matter.
profile=${ORIGINFS_PROFILE:-debug}
binary() { echo "${CARGO_TARGET_DIR:-$root/target}/$profile/$1"; }

# build CARGO-OPTIONS...: the programs, both, in that profile.
build() {
    local flags=()
    [[ $profile == debug ]] || flags=(--release)
    (cd "$root" && cargo build --locked --features dev-s3 --bins "${flags[@]}" "$@")
}

need_fuse() {
    [[ -c /dev/fuse ]] || fail "no /dev/fuse here: mounting needs it (in a container: --device /dev/fuse --cap-add SYS_ADMIN)"
    [[ $(id -u) == 0 ]] || fail "mounting in these scripts needs root"
}

# start_mount NAME BUCKET DIR OPTIONS: mounts below $work, which the caller made; returns when the mount answers.
start_mount() {
    local name=$1 bucket=$2 dir=$3 options=$4
    mkdir -p "$dir"
    "$(binary originfs)" mount "$bucket" "$dir" -f \
        -o "endpoint=$ORIGINFS_TEST_ENDPOINT,path_style,region=us-east-1" \
        -o "cache_dir=$work/cache-$name,cache_min_free=256MiB${options:+,$options}" \
        >"$work/$name.log" 2>&1 &
    echo $! >"$work/$name.pid"
    if ! wait_for 30 "$name is mounted" mounted_or_dead "$name" "$dir" || ! is_mounted "$dir"; then
        cat "$work/$name.log" >&2
        fail "$name did not mount"
    fi
}

mounted_or_dead() { is_mounted "$2" || ! kill -0 "$(cat "$work/$1.pid")" 2>/dev/null; }

# stop_mount NAME DIR: ends it as systemd does; by force if that does not help.
stop_mount() {
    local pid
    [[ -e $work/$1.pid ]] || return 0
    pid=$(cat "$work/$1.pid")
    kill "$pid" 2>/dev/null || true
    wait_for 30 "$1 is unmounted" process_is_gone "$pid" || kill -9 "$pid" 2>/dev/null || true
    ! is_mounted "$2" || umount --lazy "$2"
    rm -f "$work/$1.pid"
}

process_is_gone() { ! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }
