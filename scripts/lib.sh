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

# The binary of a debug build, where cargo puts it.
binary() { echo "${CARGO_TARGET_DIR:-$root/target}/debug/$1"; }

build_binaries() { (cd "$root" && cargo build --locked --features dev-s3 --bins); }

need_fuse() {
    [[ -c /dev/fuse ]] || fail "no /dev/fuse here: mounting needs it (in a container: --device /dev/fuse --cap-add SYS_ADMIN)"
    [[ $(id -u) == 0 ]] || fail "mounting in these scripts needs root"
}
