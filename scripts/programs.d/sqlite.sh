# shellcheck shell=bash
# Sourced by scripts/programs: a database with a rollback journal. What it acknowledged must outlive a kill of its
# program, and of the mount.

# Transactions FROM..TO, each in the table and in its index, each acknowledged by a line on stdout.
sqlite_transactions() {
    local n
    echo 'PRAGMA journal_mode=DELETE;'
    echo 'PRAGMA synchronous=FULL;'
    echo 'CREATE TABLE IF NOT EXISTS t(n INTEGER PRIMARY KEY, text TEXT); CREATE INDEX IF NOT EXISTS i ON t(text);'
    for ((n = $1; n <= $2; n++)); do
        echo "BEGIN; INSERT INTO t VALUES($n, hex(randomblob(500))); UPDATE t SET text='changed $n' WHERE n=$n/2; COMMIT;"
        echo "SELECT 'done $n';"
    done
}

# Everything up to the last acknowledged transaction is there, and the database is sound.
sqlite_is_whole() {
    local database=$1 acknowledged=$2 count
    [[ $(sqlite3 "$database" 'PRAGMA integrity_check') == ok ]] || fail "sqlite: the database is damaged"
    count=$(sqlite3 "$database" 'SELECT count(*) FROM t')
    # One more may have been written without an answer.
    ((count == acknowledged || count == acknowledged + 1)) ||
        fail "sqlite: $acknowledged transactions were acknowledged, and $count are there"
}

# sqlite_writes DATABASE FROM: until it is killed, or its disk is gone.
sqlite_writes() { sqlite_transactions "$2" 100000 | exec stdbuf -oL sqlite3 -bail "$1" >"$local_dir/told" 2>/dev/null; }

acknowledged() { grep -cs '^done' "$local_dir/told" || [[ -e $local_dir/told ]] || echo 0; }
has_written() { (($(acknowledged) >= $1)); }

check_sqlite() {
    local database=$mnt/db/site.sqlite writer told before=200
    mkdir "$mnt/db"
    sqlite_transactions 1 "$before" | sqlite3 -bail "$database" >/dev/null
    sqlite_is_whole "$database" "$before"
    remount cold
    sqlite_is_whole "$database" "$before"

    sqlite_killed "$database" "$before"
    before=$(sqlite3 "$database" 'SELECT count(*) FROM t')
    remount cold
    sqlite_is_whole "$database" "$before"

    # The machine goes down: nothing but the bucket is left.
    sqlite_writes "$database" $((before + 1)) &
    writer=$!
    wait_for 60 "20 transactions" has_written 20
    kill -9 "$(cat "$work/$name.pid")"
    wait "$writer" || true
    told=$(acknowledged)
    stop_mount "$name" "$mnt"
    rm -rf --one-file-system "$work/cache-$name"
    mount
    sqlite_is_whole "$database" $((before + told))
}

# Kills the program between two system calls, five times.
sqlite_killed() {
    local database=$1 before=$2 round writer program told
    for round in 1 2 3 4 5; do
        sqlite_writes "$database" $((before + 1)) &
        writer=$!
        wait_for 60 "$round transactions" has_written "$round"
        program=$(pgrep --parent "$writer" sqlite3)
        kill -9 "$program"
        wait "$writer" || true
        told=$(acknowledged)
        sqlite_is_whole "$database" $((before + told))
        before=$(sqlite3 "$database" 'SELECT count(*) FROM t')
        rm "$local_dir/told"
    done
}
