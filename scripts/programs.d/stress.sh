# shellcheck shell=bash
# Sourced by scripts/programs: every stressor of stress-ng's class "filesystem" that a bucket can serve, first one by
# one, then all at once. With --verify each of them checks what it reads.

# Left out, because
# - link: there are no hard links; it then removes 8,192 names that never were, and each is a question to the bucket;
# - symlink: it makes 8,192 links before it looks at the clock, and each is an object;
# - bind-mount, binderfs: nothing of them reaches the file system under test;
# - fiemap, verity, xattr: they find out by themselves that there is no such thing here, and do nothing.
stress_out=link,symlink,bind-mount,binderfs,fiemap,verity,xattr
# Only alone: as long as it has not opened what it was told of, nobody gets IN_DELETE_SELF of those files, on any file
# system (its queue holds their paths); inotify waits for that for a second, and with all others there is much to tell.
stress_alone=fanotify

# Seconds of all at once, where none are given.
stress_default=10

stress_run() {
    local limit=$1 exclude=$2 out=$local_dir/stress.out code=0
    shift 2
    # Whoever is not through then hangs: the slowest needs half a minute to clean up.
    timeout --kill-after=10 "$limit" stress-ng --class filesystem --exclude "$exclude" --verify --metrics-brief \
        --chdir-dirs 256 --dentries 256 --temp-path "$mnt/stress" "$@" >"$out" 2>&1 || code=$?
    ((code == 0)) && ! grep -E 'fail:|error:' "$out" && return
    # What went wrong stands before the figures, and those may be many.
    grep -E 'fail:|error:' "$out" >&2 || true
    tail -n 60 "$out" >&2
    case $code in
        124 | 137) fail "stress: not finished after $limit s" ;;
        *) fail "stress: a stressor failed ($code)" ;;
    esac
}

check_stress() {
    local seconds=${1:-$stress_default}
    mkdir -m 777 "$mnt/stress"
    chmod 755 "$mnt"
    stress_run 400 "$stress_out" --seq 1 --timeout 1
    check_log
    stress_run $((seconds + 200)) "$stress_out,$stress_alone" --all 1 --timeout "$seconds"
    sed -n 's/^stress-ng: info: *\[[0-9]*\] //p' "$local_dir/stress.out"
    rmdir "$mnt/stress" || fail "stress: something was left: $(find "$mnt/stress" | head -n 5)"
}
