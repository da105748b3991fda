# shellcheck shell=bash
# Sourced by scripts/programs: fio writes blocks that carry their own sums, and checks them all, at once and later.

# What each job is, besides its name. Every engine that a bucket's file can be written with; sizes in all mixtures.
fio_jobs() {
    cat <<'J'
sequential --ioengine=psync --rw=write --bs=1m --size=48m --end_fsync=1
random --ioengine=psync --rw=randwrite --bsrange=512-128k --size=16m
mixed --ioengine=psync --rw=randrw --bssplit=4k/60:16k/30:256k/10 --size=16m --fsync=200
direct --ioengine=libaio --direct=1 --iodepth=16 --rw=randwrite --bsrange=4k-64k --size=16m
direct-read --ioengine=libaio --direct=1 --iodepth=8 --rw=rw --bs=64k --size=16m
mapped --ioengine=mmap --rw=randwrite --bs=4k --size=8m
J
}

fio_job() {
    local job=$1
    shift
    fio --name="$job" --directory="$mnt" --aux-path="$local_dir" --filename="$job" --randseed=7 --verify=crc32c --verify_fatal=1 \
        --output="$local_dir/$job.out" "$@" || { cat "$local_dir/$job.out" >&2; fail "fio: $job"; }
}

check_fio() {
    local job arguments
    while read -r job arguments; do
        # shellcheck disable=SC2086 # they are words
        fio_job "$job" $arguments --do_verify=1
    done < <(fio_jobs)
    (cd "$mnt" && sha256sum -- *) >"$local_dir/sums"
    remount cold
    (cd "$mnt" && sha256sum --check --quiet --strict "$local_dir/sums") || fail "fio: bytes differ after a remount"
    while read -r job arguments; do
        # shellcheck disable=SC2086
        fio_job "$job" $arguments --verify_only=1
    done < <(fio_jobs)
}
