# shellcheck shell=bash
# Sourced by scripts/programs: a real other client of the bucket, behind the mount's back.

check_foreign() {
    "$tools/boto/bin/python" "$scripts/programs.d/foreign.py" "$mnt" "$ORIGINFS_TEST_BUCKET" "$name/" || fail "foreign: see above"
}
