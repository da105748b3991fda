# shellcheck shell=bash
# Sourced by scripts/programs: rsync believes size and mtime; a second run that sends anything has seen others.

check_rsync() {
    local tree=$local_dir/tree said
    make_odd_tree "$tree"
    # Times that differ by less than a second are the same to rsync (--modify-window): a fast machine makes such.
    find "$tree" -depth -type d -exec touch -d '2005-05-05 05:05:05.25' {} +
    rsync -a "$tree/" "$mnt/copy"
    same_trees "$tree" "$mnt/copy" rsync
    said=$(rsync -a --itemize-changes "$tree/" "$mnt/copy")
    [[ -z $said ]] || fail "rsync: the second run changed something: $said"
    remount cold
    said=$(rsync -a --itemize-changes "$tree/" "$mnt/copy")
    [[ -z $said ]] || fail "rsync: a run after a remount changed something: $said"
    said=$(rsync -a --itemize-changes --checksum --dry-run "$tree/" "$mnt/copy")
    [[ -z $said ]] || fail "rsync: bytes differ: $said"
    # One change, in a file of the same size, and one deletion: nothing else goes.
    head -c 700 /dev/urandom >"$tree/deep/file1"
    rm "$tree/deep/file2"
    said=$(rsync -a --itemize-changes --delete "$tree/" "$mnt/copy" | grep -v '^\.d' | cut -c1-2,12- | sort | tr '\n' ';')
    [[ $said == '*d deep/file2;>f deep/file1;' ]] || fail "rsync: it did other things: $said"
    # In place, and appending: writes into the middle of what is there.
    printf 'more' >>"$tree/shared/large.bin"
    rsync -a --inplace --no-whole-file "$tree/" "$mnt/copy"
    same_trees "$tree" "$mnt/copy" "rsync --inplace"
    rsync -a "$mnt/copy/" "$local_dir/back"
    same_trees "$tree" "$local_dir/back" "rsync to outside"
}
