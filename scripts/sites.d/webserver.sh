# shellcheck shell=bash
# Sourced by scripts/sites: one webserver is a mount namespace of its own, in which the same paths as on every other
# webserver are its own mount, its own temporary files and its own sockets. Code is the same everywhere, and read-only.

# background NAME COMMAND...: its log and pid are below $work.
background() {
    local name=$1
    shift
    "$@" >"$work/$name.log" 2>&1 </dev/null &
    echo $! >"$work/$name.pid"
}

runs() { [[ -e $work/$1.pid ]] && ! process_is_gone "$(cat "$work/$1.pid")"; }

# end_of NAME: asks the process to end, and insists after a while.
end_of() {
    local pid
    [[ -e $work/$1.pid ]] || return 0
    pid=$(cat "$work/$1.pid")
    kill "$pid" 2>/dev/null || true
    wait_for 30 "$1 ends" process_is_gone "$pid" || kill -9 "$pid" 2>/dev/null || true
    # Its exit code.
    local code=0
    wait "$pid" 2>/dev/null || code=$?
    rm -f "$work/$1.pid"
    return "$code"
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# inside WEB COMMAND...: replaces itself by the command, so that its pid is the command's.
inside() {
    local namespace
    namespace=/proc/$(cat "$work/$1.pid")/ns/mnt
    shift
    exec nsenter --mount="$namespace" "$@"
}

make_webserver() { # WEB
    local web=$1
    mkdir -p "$work/$web/www/"{html,run,tmp} "$work/$web/control"
    chmod 1777 "$work/$web/www/tmp"
    chown www-data: "$work/$web/www/run"
    # shellcheck disable=SC2016
    background "$web" unshare --mount --propagation private bash -euc '
        mount --bind "$1/$2/www" /var/www
        mount --bind "$1/html" /var/www/html
        mount -o remount,bind,ro /var/www/html
        mount --bind "$1/wordpress" /etc/wordpress
        mkdir -p /run/originfs
        mount --bind "$1/$2/control" /run/originfs
        touch "$1/$2/ready"
        exec sleep infinity' webserver "$work" "$web"
    wait_for 10 "$web has its namespace" test -e "$work/$web/ready"
}

uploads=/var/www/html/wp-content/uploads

is_mounted_in() { grep -q " $uploads " "/proc/$(cat "$work/$1.pid")/mounts"; }

# With the options that `originfs plan` gives for the site, and those of the test.
mount_uploads() { # WEB MORE-OPTIONS
    local web=$1 planned source options
    planned=$(
        inside "$web" env APPLICATION=wordpress WEBROOT=/var/www/html WEBSITE_URL="$site" \
            S3_HOST_BASE="$ORIGINFS_TEST_ENDPOINT" S3_ACCESS_KEY="$AWS_ACCESS_KEY_ID" \
            S3_SECRET_KEY="$AWS_SECRET_ACCESS_KEY" "$(binary originfs)" plan --json
    )
    source=$(field source <<<"$planned")
    options=$(field options <<<"$planned")
    [[ -e $work/bucket ]] || s3_bucket "${source%%:*}"
    echo "$source" >"$work/bucket"
    background "$web-originfs" inside "$web" "$(binary originfs)" mount "$source" "$uploads" -f -o "$options" \
        -o "cache_dir=$work/$web/cache,cache_min_free=256MiB${2:+,$2}"
    if ! wait_for 30 "$web is mounted" mounted_or_ended "$web" || ! is_mounted_in "$web"; then
        cat "$work/$web-originfs.log" >&2
        fail "$web did not mount"
    fi
}
mounted_or_ended() { is_mounted_in "$1" || ! runs "$1-originfs"; }
# The one mount's field of a plan.
field() { /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["mounts"][0][sys.argv[1]])' "$1"; }

# Success: everything is in the bucket, and the mount is gone.
unmount_uploads() {
    end_of "$1-originfs" || fail "$1: originfs ended with $?, see $work/$1-originfs.log"
    ! is_mounted_in "$1" || fail "$1: still mounted"
    ! grep -E ' ERROR |panicked' "$work/$1-originfs.log" >&2 || fail "$1: the mount told of errors"
}

s3_bucket() {
    # curl signs the sum of the body only if it is told the sum.
    curl --silent --show-error --fail --max-time 10 --output /dev/null --aws-sigv4 aws:amz:us-east-1:s3 \
        --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \
        --header "x-amz-content-sha256: $(sha256sum </dev/null | cut -c1-64)" \
        --request PUT --data-binary "" "$ORIGINFS_TEST_ENDPOINT/$1"
}

# serve WEB: PHP and the three web servers; their ports go to $work/WEB/ports.
serve() {
    local web=$1 program port
    fpm_config "$web" >"$work/$web/fpm.conf"
    background "$web-fpm" inside "$web" env PHP_INI_SCAN_DIR=":$root/share/php" "$php_fpm" -F -O -y "$work/$web/fpm.conf"
    for program in nginx apache2 lighttpd; do
        port=$(unused_port)
        echo "$program=$port" >>"$work/$web/ports"
        case $program in
            nginx)
                nginx_config "$web" "$port" >"$work/$web/nginx.conf"
                background "$web-nginx" inside "$web" nginx -c "$work/$web/nginx.conf"
                ;;
            apache2)
                apache_config "$web" "$port" >"$work/$web/apache2.conf"
                background "$web-apache2" inside "$web" apache2 -DFOREGROUND -f "$work/$web/apache2.conf"
                ;;
            lighttpd)
                lighttpd_config "$web" "$port" >"$work/$web/lighttpd.conf"
                background "$web-lighttpd" inside "$web" lighttpd -D -f "$work/$web/lighttpd.conf"
                ;;
        esac
        wait_for 30 "$program of $web listens" answers "$port" ||
            { cat "$work/$web-$program.log" "$work/$web"/*-errors.log >&2; fail "$program does not start"; }
    done
    wait_for 30 "PHP of $web listens" test -S "$work/$web/www/run/php.sock" ||
        { cat "$work/$web-fpm.log" "$work/$web/fpm-errors.log" >&2; fail "PHP does not start"; }
}

stop_serving() {
    local program
    for program in nginx apache2 lighttpd fpm; do end_of "$1-$program" || true; done
}

# A free port that no former call gave.
unused_port() {
    local port
    while port=$(free_port); [[ -e $work/port-$port ]]; do :; done
    touch "$work/port-$port"
    echo "$port"
}
