use super::{
    super::{files::Fixture, finding::Verdict},
    *,
};

/// As Debian installs it, shortened.
const DEBIAN: &str = "user www-data;
worker_processes auto;
include /etc/nginx/modules-enabled/*.conf;
events { worker_connections 768; }
http {
    sendfile on;
    types_hash_max_size 2048;
    include /etc/nginx/mime.types;
    include /etc/nginx/conf.d/*.conf;
    include /etc/nginx/sites-enabled/*;
}
";

/// A site of WordPress as handbooks have it.
const SITE: &str = r"server {
    listen 80 default_server;
    server_name _;
    root /var/www/html;
    index index.php;
    location / { try_files $uri $uri/ /index.php?$args; }
    location = /favicon.ico { log_not_found off; }
    # uploads
    location ~ \.php$ {
        include snippets/fastcgi-php.conf;
        fastcgi_pass unix:/run/php/php8.2-fpm.sock;
    }
    location ~* \.(js|css|png|jpg|jpeg|gif|ico)$ { expires max; log_not_found off; }
    location ~ /\.ht { deny all; }
}
";

const MOUNT: &str = "/var/www/html/wp-content/uploads";

fn debian(site: &str) -> Fixture {
    Fixture::new(&[
        ("/etc/nginx/nginx.conf", DEBIAN),
        ("/etc/nginx/mime.types", "types { text/html html; image/jpeg jpg; }"),
        (
            "/etc/nginx/snippets/fastcgi-php.conf",
            "fastcgi_split_path_info ^(.+?\\.php)(/.*)$;\ntry_files $fastcgi_script_name =404;\n",
        ),
        ("/etc/nginx/sites-available/default", site),
        ("/etc/nginx/sites-enabled/default", "-> /etc/nginx/sites-available/default"),
    ])
}

fn cache(files: &Fixture) -> Finding {
    Nginx::read(files).unwrap().open_file_cache(files, Path::new(MOUNT), MOUNT)
}

fn php(files: &Fixture) -> Option<Finding> {
    Nginx::read(files).unwrap().php(files, Path::new(MOUNT), MOUNT)
}

#[test]
fn users_and_roots_are_read_through_includes() {
    let files = debian(SITE);
    let nginx = Nginx::read(&files).unwrap();
    assert_eq!(nginx.user(), Some("www-data"));
    let expect = Root { path: "/var/www/html".into(), from: "/etc/nginx/sites-enabled/default:4".into() };
    assert_eq!(nginx.roots(), [expect]);
    assert!(Nginx::read(&Fixture::default()).is_none());
}

#[test]
fn an_open_file_cache_counts_where_it_is_in_effect() {
    let http = |line: &str| debian(SITE).with("/etc/nginx/conf.d/cache.conf", line);
    let server = |line: &str| debian(&SITE.replace("index index.php;", line));
    let pictures = |line: &str| debian(&SITE.replace("expires max;", line));
    for (files, expect) in [
        (debian(SITE), Verdict::Ok),
        (http("open_file_cache max=1000 inactive=20s;"), Verdict::Warning),
        (http("open_file_cache off;"), Verdict::Ok),
        // Seen with nginx 1.22: it looks again, finds the same number, and keeps the descriptor of what was replaced.
        (http("open_file_cache max=1000; open_file_cache_valid 1s;"), Verdict::Warning),
        (server("open_file_cache max=1000;"), Verdict::Warning),
        (pictures("open_file_cache max=1000;"), Verdict::Warning),
        (debian(&SITE.replace("location ~ /\\.ht {", "location ~ /\\.ht { open_file_cache max=9;")), Verdict::Ok),
    ] {
        let found = cache(&files);
        assert_eq!(found.verdict, expect, "{found:?}");
    }
    let off = server("open_file_cache off;").with("/etc/nginx/conf.d/cache.conf", "open_file_cache max=9;");
    assert_eq!(cache(&off).verdict, Verdict::Ok);
    let found = cache(&http("open_file_cache max=1000;\nopen_file_cache_errors on;"));
    let expect = "nginx keeps files of this mount open, and names that were absent (/etc/nginx/conf.d/cache.conf:1)";
    assert_eq!(found.message, expect);
}

#[test]
fn a_mount_that_nginx_does_not_serve_is_none_of_its() {
    let files = debian(SITE).with("/etc/nginx/conf.d/cache.conf", "open_file_cache max=1000;");
    let nginx = Nginx::read(&files).unwrap();
    let data = Path::new("/srv/moodledata/filedir");
    assert_eq!(nginx.open_file_cache(&files, data, "x").verdict, Verdict::Ok);
    assert_eq!(nginx.php(&files, data, "x"), None);
}

#[test]
fn who_runs_an_uploaded_php_file_is_decided_as_nginx_decides() {
    let before = |rule: &str| debian(&SITE.replace("# uploads", &format!("{rule}\n")));
    let after = |rule: &str| debian(&SITE.replace("location ~ /\\.ht { deny all; }", rule));
    for (files, expect) in [
        (debian(SITE), Verdict::Warning),
        (before("location ~* ^/wp-content/uploads/.*\\.php$ { deny all; }"), Verdict::Ok),
        (before("location ~* /(?:uploads|files)/.*\\.php$ { return 403; }"), Verdict::Ok),
        // The first regular expression counts, so this one comes too late.
        (after("location ~* ^/wp-content/uploads/.*\\.php$ { deny all; }"), Verdict::Warning),
        (after("location ^~ /wp-content/uploads/ { try_files $uri =404; }"), Verdict::Ok),
        (after("location ^~ /wp-content/uploads/ { location ~* \\.php$ { return 403; } }"), Verdict::Ok),
        // A plain prefix does not stop regular expressions.
        (after("location /wp-content/uploads/ { try_files $uri =404; }"), Verdict::Warning),
        (after("location /wp-content/uploads/ { location ~ \\.php$ { deny all; } }"), Verdict::Ok),
        (before("location ~ ^/(?!index)[^.]+\\.php$ { deny all; }"), Verdict::Skipped),
        (before("location ~ ^/wp-content/ { proxy_pass http://127.0.0.1:8080; }"), Verdict::Skipped),
    ] {
        let found = php(&files).unwrap();
        assert_eq!(found.verdict, expect, "{found:?} {:?}", files.read(Path::new("/etc/nginx/sites-enabled/default")));
    }
    assert!(php(&debian(SITE)).unwrap().fix.unwrap().contains("location ^~ /wp-content/uploads/ {"));
}

#[test]
fn aliases_and_other_roots_are_followed() {
    let site = "server {\n root /var/www/site;\n location /media/ { alias /var/www/html/wp-content/uploads/; open_file_cache max=9; }\n}\n";
    assert_eq!(cache(&debian(site)).verdict, Verdict::Warning);
    assert_eq!(php(&debian(site)).unwrap().verdict, Verdict::Ok);
    let site = "server { root /var/www/html; location /wp-content/ { root /elsewhere; open_file_cache max=9; } }";
    assert_eq!(cache(&debian(site)).message, "nginx serves nothing of this mount");
    let linked =
        debian("server { root /srv/current; open_file_cache max=9; }").with("/srv/current", "-> /var/www/html");
    assert_eq!(cache(&linked).verdict, Verdict::Warning);
}

#[test]
fn a_document_root_inside_of_the_mount_counts() {
    let files =
        debian("server { root /srv/site/html; open_file_cache max=9; location ~ \\.php$ { fastcgi_pass php; } }");
    let nginx = Nginx::read(&files).unwrap();
    let mount = Path::new("/srv/site");
    assert_eq!(nginx.open_file_cache(&files, mount, "x").verdict, Verdict::Warning);
    assert_eq!(nginx.php(&files, mount, "x").unwrap().verdict, Verdict::Warning);
}

#[test]
fn red_hat_has_its_server_in_the_main_file() {
    let main = "user nginx;\nhttp {\n open_file_cache max=1000;\n server {\n  root /var/www/html;\n  include /etc/nginx/default.d/*.conf;\n }\n}\n";
    let php_conf = "location ~ \\.(php|phar)(/.*)?$ { fastcgi_pass php-fpm; }";
    let files = Fixture::new(&[("/etc/nginx/nginx.conf", main), ("/etc/nginx/default.d/php.conf", php_conf)]);
    assert_eq!(cache(&files).verdict, Verdict::Warning);
    assert_eq!(php(&files).unwrap().verdict, Verdict::Warning);
}
