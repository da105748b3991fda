# shellcheck shell=bash
# Sourced by scripts/programs: a repository with its working tree on the mount.

# Commits of the repository, where no number is given.
git_default=200

# A history of $1 commits in five times as many objects, as git fast-import wants it.
git_history() {
    local n
    for ((n = 1; n <= $1; n++)); do
        printf 'commit refs/heads/main\nmark :%d\ncommitter Test <test@example.org> %d +0000\n' "$n" $((1700000000 + n))
        printf 'data <<END\nchange %d\nEND\n' "$n"
        ((n == 1)) || printf 'from :%d\n' $((n - 1))
        printf 'M 100%s inline dir%d/sub/file %d.txt\ndata <<END\nline %d\nEND\n' \
            $((n % 7 ? 644 : 755)) $((n % 10)) $((n % 200)) "$n"
        ((n % 50)) || printf 'M 120000 inline link%d\ndata <<END\ndir1/sub\nEND\n' "$n"
    done
}

clean() {
    local status
    status=$(git -C "$1" status --porcelain)
    [[ -z $status ]] || fail "git: the working tree is not clean $2: $status"
}

check_git() {
    local origin=$local_dir/origin clone=$mnt/clone commits=${1:-$git_default} n
    export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
    export GIT_AUTHOR_NAME=Test GIT_AUTHOR_EMAIL=test@example.org GIT_COMMITTER_NAME=Test GIT_COMMITTER_EMAIL=test@example.org
    git init --quiet --bare --initial-branch=main "$origin"
    # Loose objects: each one is a file of its own.
    git_history "$commits" | git -C "$origin" -c fastimport.unpackLimit=1000000 fast-import --quiet
    (($(git -C "$origin" count-objects | cut -d' ' -f1) > commits * 4)) || fail "git: the test repository is too small"
    git clone --quiet --no-hardlinks "$origin" "$clone"
    git -C "$clone" fsck --full --strict
    clean "$clone" "after the clone"
    for n in {1..10}; do
        echo "$n" >>"$clone/dir1/sub/file 1.txt"
        echo "$n" >"$clone/new $n"
        git -C "$clone" add --all
        git -C "$clone" commit --quiet --message "change $n"
    done
    git -C "$clone" checkout --quiet -b side HEAD~5
    git -C "$clone" mv dir2 moved
    git -C "$clone" commit --quiet --all --message moved
    git -C "$clone" merge --quiet --no-edit main
    clean "$clone" "after a merge"
    git -C "$clone" gc --quiet --prune=now
    git -C "$clone" fsck --full --strict
    # Through a pack, too.
    git clone --quiet --no-local "$clone" "$mnt/second"
    remount cold
    clean "$clone" "after a remount"
    git -C "$clone" fsck --full --strict
    git -C "$mnt/second" fsck --full --strict
    [[ $(git -C "$clone" rev-parse side) == "$(git -C "$mnt/second" rev-parse HEAD)" ]] || fail "git: the clones differ"
}
