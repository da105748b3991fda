# shellcheck shell=bash
# Sourced by scripts/programs: a real other client of the bucket, behind the mount's back.

# Names in the large directory, where no number is given: three pages and a bit.
foreign_default=3100

check_foreign() {
    "$tools/boto/bin/python" "$scripts/programs.d/foreign.py" "$mnt" "$ORIGINFS_TEST_BUCKET" "$name/" \
        "${1:-$foreign_default}" || fail "foreign: see above"
}
