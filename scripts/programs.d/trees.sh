# shellcheck shell=bash
# Sourced by scripts/programs: tar, cp, mv, find, du and rm on trees with all that a bucket can hold.

# Files of the large tree, where no number is given.
trees_default=800

# A small tree of every kind and attribute, made below $1.
make_odd_tree() {
    local dir=$1 n long
    mkdir -p "$dir/empty" "$dir/deep/er/and/deeper" "$dir/secret" "$dir/shared"
    for n in {1..20}; do
        head -c $((n * n * 700)) /dev/urandom >"$dir/deep/file$n"
        touch -d "2001-02-03 04:05:$n.123456789" "$dir/deep/file$n"
        chmod "$((n % 8))$((n % 7))4" "$dir/deep/file$n"
    done
    : >"$dir/deep/nothing"
    printf 'script' >"$dir/deep/er/run.sh"
    chmod 4755 "$dir/deep/er/run.sh"
    chown 1234:4321 "$dir/deep/file3"
    long=$(printf 'n%.0s' {1..255})
    echo long >"$dir/$long"
    echo far >"$dir/deep/er/and/deeper/${long:0:200}"
    echo odd >"$dir/deep/er/ name with 'quotes', 100% + & ? # \\ \"; tail. "
    echo utf8 >"$dir/deep/"$'\xc3\xa9-\xe6\x97\xa5-\xf0\x9f\x98\x80'
    ln -s ../deep/file1 "$dir/secret/link"
    ln -s /nowhere/at/all "$dir/secret/dangling"
    ln -s ../deep "$dir/shared/dirlink"
    head -c 9437184 /dev/urandom >"$dir/shared/large.bin"
    chmod 700 "$dir/secret"
    chmod 2775 "$dir/shared"
    touch -d '1999-12-31 23:59:59.5' "$dir/empty" "$dir/secret"
    # Its last second that 32 bits hold, and one beyond.
    touch -d @2147483647 "$dir/deep/file1"
    touch -d @4102444800.25 "$dir/deep/file2"
    touch -h -d @1000000000.75 "$dir/secret/link"
}

# $2 small files as in a kernel's sources, made below $1 fast.
make_many_files() {
    local dir=$1
    mkdir -p "$dir"
    python3 - "$dir" "$2" <<'P'
import os, random, sys
top, chance = sys.argv[1], random.Random(5)
for n in range(int(sys.argv[2])):
    path = os.path.join(top, f"d{n % 10}", f"s{n // 10 % 20}", f"t{n // 200 % 3}")
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, f"file-{n}.c"), "wb") as file:
        file.write(chance.randbytes(chance.choice((0, 1, 100, 2000, 5000, 20000))))
P
}

# One line for each name: all that stat shows and that is kept. A directory has no size; its time is its marker's.
attributes() { (cd "$1" && find . \( -type d -printf '%P %y %m %U %G %T@\n' -o -printf '%P %y %m %U %G %s %T@ %l\n' \) | sort); }

same_trees() {
    diff -r --no-dereference "$1" "$2" || fail "$3: contents differ"
    diff <(attributes "$1") <(attributes "$2") || fail "$3: attributes differ"
}

check_trees() {
    local odd=$local_dir/odd many=$local_dir/many count=${1:-$trees_default}
    make_odd_tree "$odd"
    make_many_files "$many" "$count"
    trees_tar "$odd"
    trees_cp "$odd"
    trees_many "$many" "$count"
}

trees_tar() {
    local tree=$1
    tar -C "$tree" -cf "$local_dir/odd.tar" --format=posix .
    mkdir "$mnt/tar"
    tar -C "$mnt/tar" -xpf "$local_dir/odd.tar" --same-owner
    tar -C "$mnt/tar" --compare -f "$local_dir/odd.tar" || fail "tar: the tree is not what was in the archive"
    same_trees "$tree" "$mnt/tar" "tar"
    remount cold
    tar -C "$mnt/tar" --compare -f "$local_dir/odd.tar" || fail "tar: the tree is another one after a remount"
    same_trees "$tree" "$mnt/tar" "tar, after a remount"
    # And back: what is read here is a whole archive.
    tar -C "$mnt/tar" -cf "$local_dir/back.tar" --format=posix .
    tar -C "$tree" --compare -f "$local_dir/back.tar" || fail "tar: an archive of the mount differs"
}

trees_cp() {
    local tree=$1
    cp -a "$tree" "$mnt/cp"
    same_trees "$tree" "$mnt/cp" "cp from outside"
    cp -a "$mnt/cp" "$mnt/cp2"
    same_trees "$tree" "$mnt/cp2" "cp inside"
    cp -a "$mnt/cp2" "$local_dir/back"
    same_trees "$tree" "$local_dir/back" "cp to outside"
    mkdir "$mnt/target"
    mv "$mnt/cp2" "$mnt/target/moved"
    [[ ! -e $mnt/cp2 ]] || fail "mv: the old name is still there"
    same_trees "$tree" "$mnt/target/moved" "mv inside"
    mv "$mnt/target/moved" "$local_dir/moved"
    same_trees "$tree" "$local_dir/moved" "mv to outside"
    mv "$local_dir/moved" "$mnt/target/again"
    same_trees "$tree" "$mnt/target/again" "mv from outside"
    rm -r "$mnt/cp" "$mnt/target" "$mnt/tar"
    [[ -z $(ls -A "$mnt") ]] || fail "rm -r left something: $(find "$mnt" | head -n 5)"
}

trees_many() {
    local tree=$1 count=$2
    mkdir "$mnt/many"
    tar -C "$tree" -cf - . | tar -C "$mnt/many" -xf -
    remount
    diff -r "$tree" "$mnt/many" || fail "untar: contents differ"
    [[ $(find "$mnt/many" -type f | wc -l) == "$count" ]] || fail "find: not $count files"
    [[ $(find "$mnt/many" -type d | wc -l) == $(find "$tree" -type d | wc -l) ]] || fail "find: other directories"
    [[ $(du -s --apparent-size --block-size=1 "$mnt/many/d1" | cut -f1) -gt $((count * 200)) ]] || fail "du: too little"
    [[ $(find "$mnt/many" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }') == \
        $(find "$tree" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }') ]] || fail "find: other sizes"
    mv "$mnt/many/d1" "$mnt/many/d2/below"
    [[ $(find "$mnt/many/d2/below" -type f | wc -l) == $((count / 10)) ]] || fail "mv: not $((count / 10)) files"
    diff -r "$tree/d1" "$mnt/many/d2/below" || fail "mv: contents differ"
    rm -r "$mnt/many"
    [[ ! -e $mnt/many ]] || fail "rm -r: it is still there"
    remount cold
    [[ -z $(ls -A "$mnt") ]] || fail "rm -r left something: $(find "$mnt" | head -n 5)"
}
