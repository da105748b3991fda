# Made by `originfs cdn rules emit`. Changes are lost when it is made anew; what it is made of
# is the configuration of the mounts: site_url, cdn_url, private, exposure.
vcl 4.1;

import std;

backend origin_0 {
    .host = "127.0.0.1";
    .port = "8080";
}
backend origin_1 {
    .host = "127.0.0.1";
    .port = "9000";
}

acl originfs_purgers {
    "127.0.0.1";
    "10.0.0.0"/8;
}

sub vcl_recv {
    # Nobody but this file sets these.
    unset req.http.x-originfs-area;
    set req.http.x-originfs-host = std.tolower(regsub(req.http.host, ":[0-9]+$", ""));
    set req.http.x-originfs-path = regsub(req.url, "[?].*$", "");
    set req.http.x-originfs-v = "";
    if (req.url ~ "[?&]v=[0-9a-f]{12}(&|$)") {
        set req.http.x-originfs-v = regsub(req.url, "^.*[?&]v=([0-9a-f]{12})(&.*)?$", "\1");
    }
    if (!req.http.x-originfs-area && req.http.x-originfs-host == "www.example.org" && req.http.x-originfs-path ~ "^/wp-content/uploads/") {
        set req.http.x-originfs-area = "1";
        set req.backend_hint = origin_0;
        if (req.method != "BAN" && req.http.x-originfs-path ~ "(?i)^/wp-content/uploads/(?:(?:.*/)?(?:[.][^/]*|[^/]*[.]php|[^/]*[.]php[0-9]|[^/]*[.]phps|[^/]*[.]phtml|[^/]*[.]pht|[^/]*[.]phar|[^/]*[.]inc|[^/]*[.]ini|[^/]*[.]sql|[^/]*[.]sql[.][^/]*|[^/]*[.]dump|[^/]*[.]db|[^/]*[.]sqlite|[^/]*[.]sqlite[0-9]|[^/]*[.]sqlite-[^/]*|[^/]*[.]log|[^/]*[.]bak|[^/]*[.]old|[^/]*[.]orig|[^/]*[.]swp|[^/]*~|web[.]config)|woocommerce_uploads/.*)(?:/|$)") { return (synth(404)); }
    }
    if (!req.http.x-originfs-area && req.http.x-originfs-host == "www.example.org" && req.http.x-originfs-path ~ "^/images/") {
        set req.http.x-originfs-area = "0";
        set req.backend_hint = origin_0;
        if (req.method != "BAN" && req.http.x-originfs-path ~ "(?i)^/images/(?:.*/)?(?:[.][^/]*|[^/]*[.]php|[^/]*[.]php[0-9]|[^/]*[.]phps|[^/]*[.]phtml|[^/]*[.]pht|[^/]*[.]phar|[^/]*[.]inc|[^/]*[.]ini|[^/]*[.]sql|[^/]*[.]sql[.][^/]*|[^/]*[.]dump|[^/]*[.]db|[^/]*[.]sqlite|[^/]*[.]sqlite[0-9]|[^/]*[.]sqlite-[^/]*|[^/]*[.]log|[^/]*[.]bak|[^/]*[.]old|[^/]*[.]orig|[^/]*[.]swp|[^/]*~|web[.]config)(?:/|$)") { return (synth(404)); }
    }
    if (!req.http.x-originfs-area && req.http.x-originfs-host == "cdn.example.org" && req.http.x-originfs-path ~ "^/images/") {
        set req.http.x-originfs-area = "2";
        set req.backend_hint = origin_1;
        if (req.method != "BAN" && req.http.x-originfs-path ~ "(?i)^/images/(?:(?:.*/)?(?:[.][^/]*|[^/]*[.]php|[^/]*[.]php[0-9]|[^/]*[.]phps|[^/]*[.]phtml|[^/]*[.]pht|[^/]*[.]phar|[^/]*[.]inc|[^/]*[.]ini|[^/]*[.]sql|[^/]*[.]sql[.][^/]*|[^/]*[.]dump|[^/]*[.]db|[^/]*[.]sqlite|[^/]*[.]sqlite[0-9]|[^/]*[.]sqlite-[^/]*|[^/]*[.]log|[^/]*[.]bak|[^/]*[.]old|[^/]*[.]orig|[^/]*[.]swp|[^/]*~|web[.]config)(?:/|$)|(?:.*/)?$)") { return (synth(404)); }
    }
    if (!req.http.x-originfs-area) {
        call originfs_others;
    }
    # Spellings of a path that no browser sends: of a letter, of a slash, of dots. Servers read them each in its own way.
    if (req.http.x-originfs-path ~ "(?i)%(00|2[def]|3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])"
        || req.http.x-originfs-path ~ "/[.][.]?(/|$)") {
        return (synth(400));
    }
    if (req.method == "PURGE" || req.method == "BAN") {
        if (client.ip !~ originfs_purgers) {
            return (synth(405));
        }
        if (req.method == "PURGE") {
            return (purge);
        }
        if (!req.http.x-ban-url) {
            return (synth(400));
        }
        ban("obj.http.x-originfs-host == " + req.http.x-originfs-host + " && obj.http.x-originfs-path ~ " + req.http.x-ban-url);
        return (synth(200));
    }
    if (req.method != "GET" && req.method != "HEAD" && req.method != "OPTIONS") {
        return (synth(405));
    }
    if (req.method == "OPTIONS" || req.http.authorization) {
        return (pass);
    }
    unset req.http.cookie;
    return (hash);
}

# Nothing else is kept.
sub originfs_others {
    if (req.method == "PURGE" || req.method == "BAN") {
        return (synth(405));
    }
    if (req.http.x-originfs-host == "www.example.org") {
        set req.backend_hint = origin_0;
        return (pass);
    }
    return (synth(404));
}

sub vcl_hash {
    hash_data(req.http.x-originfs-path);
    hash_data(req.http.x-originfs-host);
    return (lookup);
}

sub vcl_backend_fetch {
    if (bereq.http.x-originfs-area == "2") {
        set bereq.url = regsub(bereq.http.x-originfs-path, "^/images/", "/site-bucket/images/");
        set bereq.http.host = "127.0.0.1:9000";
        unset bereq.http.authorization;
    }
    return (fetch);
}

sub vcl_backend_response {
    if (!bereq.http.x-originfs-area) {
        return (deliver);
    }
    set beresp.http.x-originfs-host = bereq.http.x-originfs-host;
    set beresp.http.x-originfs-path = bereq.http.x-originfs-path;
    set beresp.http.x-originfs-check = bereq.http.x-originfs-v + "|" + beresp.http.etag;
    # Each version in a URL is a variant, and a purge removes all variants.
    set beresp.http.vary = "x-originfs-v";
    if (beresp.http.set-cookie
        || beresp.http.cache-control ~ "(?i)private|no-store|no-cache"
        # It is not the version that its URL names: it was replaced since.
        || beresp.http.x-originfs-check ~ {"^([0-9a-f]{12})[|](?:W/)?"(?!\1)[0-9a-f]{32}"$"}) {
        set beresp.http.x-originfs-pass = "1";
        set beresp.uncacheable = true;
        set beresp.ttl = 10s;
    } elsif (beresp.status == 200) {
        set beresp.ttl = 2678400s;
        set beresp.grace = 1d;
    } elsif (beresp.status == 404 || beresp.status == 410) {
        set beresp.ttl = 10s;
        set beresp.grace = 0s;
    } else {
        set beresp.uncacheable = true;
        set beresp.ttl = 0s;
    }
    unset beresp.http.set-cookie;
    unset beresp.http.x-originfs-check;
    return (deliver);
}

sub vcl_deliver {
    if (!req.http.x-originfs-area) {
        return (deliver);
    }
    if (req.http.x-originfs-v != "" && resp.status == 200 && !resp.http.x-originfs-pass) {
        set resp.http.cache-control = "public, max-age=31536000, immutable";
    }
    unset resp.http.age;
    set resp.http.x-content-type-options = "nosniff";
    if (req.http.x-originfs-path ~ "(?i)[.](hta|htc|htm|html|mht|mhtml|shtml|svg|svgz|swf|xht|xhtml|xml|xsl)$") {
        set resp.http.content-security-policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox";
    }
    if (req.http.x-originfs-area ~ "^(2)$") {
        set resp.http.cross-origin-resource-policy = "cross-origin";
    }
    set resp.http.access-control-allow-origin = "*";
    if (obj.hits > 0) {
        set resp.http.cache-status = "originfs; hit";
    } else {
        set resp.http.cache-status = "originfs; fwd=miss";
    }
    unset resp.http.vary;
    unset resp.http.x-originfs-host;
    unset resp.http.x-originfs-path;
    unset resp.http.x-originfs-pass;
    return (deliver);
}
