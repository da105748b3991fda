use super::{
    super::{files::Fixture, finding::Verdict},
    *,
};

/// As Debian installs it, shortened.
const DEBIAN: &str = "DefaultRuntimeDir ${APACHE_RUN_DIR}
User ${APACHE_RUN_USER}
Group ${APACHE_RUN_GROUP}
IncludeOptional mods-enabled/*.load
IncludeOptional mods-enabled/*.conf
<Directory />
\tOptions FollowSymLinks
\tAllowOverride None
\tRequire all denied
</Directory>
<Directory /var/www/>
\tOptions Indexes FollowSymLinks
\tRequire all granted
</Directory>
IncludeOptional conf-enabled/*.conf
IncludeOptional sites-enabled/*.conf
";

const PHP_FPM: &str = "<IfModule !mod_php8.c>
<IfModule proxy_fcgi_module>
    <FilesMatch \".+\\.ph(?:ar|p|tml)$\">
        SetHandler \"proxy:unix:/run/php/php8.2-fpm.sock|fcgi://localhost\"
    </FilesMatch>
    <FilesMatch \".+\\.phps$\">
        Require all denied
    </FilesMatch>
</IfModule>
</IfModule>
";

/// What Debian's own module has.
const MOD_PHP: &str = "<FilesMatch \".+\\.ph(?:ar|p|tml)$\">
    SetHandler application/x-httpd-php
</FilesMatch>
<FilesMatch \".+\\.phps$\">
    SetHandler application/x-httpd-php-source
    Require all denied
</FilesMatch>
";

const MOUNT: &str = "/var/www/html/wp-content/uploads";

fn debian(site: &str) -> Fixture {
    Fixture::new(&[
        ("/etc/apache2/apache2.conf", DEBIAN),
        ("/etc/apache2/envvars", "unset HOME\nexport APACHE_RUN_USER=www-data\nexport APACHE_RUN_GROUP=www-data\n"),
        ("/etc/apache2/mods-enabled/php8.2.conf", MOD_PHP),
        (
            "/etc/apache2/sites-enabled/000-default.conf",
            &format!("<VirtualHost *:80>\n\tDocumentRoot /var/www/html\n{site}\n</VirtualHost>\n"),
        ),
    ])
}

fn maps(files: &Fixture) -> Vec<Verdict> {
    let found = Apache::read(files).unwrap().maps(files, Path::new(MOUNT), MOUNT);
    found.iter().map(|finding| finding.verdict).collect()
}

fn php(files: &Fixture) -> Option<Finding> {
    Apache::read(files).unwrap().php(files, Path::new(MOUNT), MOUNT)
}

#[test]
fn users_and_roots() {
    let apache = Apache::read(&debian("")).unwrap();
    assert_eq!(apache.user().as_deref(), Some("www-data"));
    let roots = apache.roots();
    assert_eq!(roots.len(), 1);
    assert_eq!(roots[0].from, "/etc/apache2/sites-enabled/000-default.conf:2");
    let red_hat = Fixture::new(&[(
        "/etc/httpd/conf/httpd.conf",
        "ServerRoot \"/etc/httpd\"\nUser apache\nDocumentRoot \"/var/www/html\"\n",
    )]);
    assert_eq!(Apache::read(&red_hat).unwrap().user().as_deref(), Some("apache"));
    assert!(Apache::read(&Fixture::default()).is_none());
}

#[test]
fn mapping_is_on_unless_it_is_switched_off_for_the_mount() {
    use Verdict::{Ok, Warning};
    let section = |dir: &str, line: &str| format!("<Directory {dir}>\n{line}\n</Directory>");
    for (site, expect) in [
        (String::new(), [Warning, Ok]),
        ("EnableMMAP Off".to_owned(), [Ok, Ok]),
        (section("/var/www/html/wp-content/uploads", "EnableMMAP off\nEnableSendfile On"), [Ok, Warning]),
        (section("/var/www/html", "EnableMMAP off"), [Ok, Ok]),
        (section("/var/www/*/wp-content", "EnableMMAP off"), [Ok, Ok]),
        (section("~ \"/uploads/\"", "EnableMMAP off"), [Ok, Ok]),
        (section("/var/www/other", "EnableMMAP off"), [Warning, Ok]),
        // The narrower section counts, wherever it stands.
        (
            section("/var/www/html/wp-content", "EnableMMAP off") + "\n" + &section("/var/www", "EnableMMAP on"),
            [Ok, Ok],
        ),
    ] {
        assert_eq!(maps(&debian(&site)), expect, "{site}");
    }
}

#[test]
fn a_mount_that_apache_does_not_serve_is_none_of_its() {
    let files = debian("");
    let apache = Apache::read(&files).unwrap();
    let data = Path::new("/srv/moodledata/filedir");
    assert_eq!(apache.maps(&files, data, "x")[0].verdict, Verdict::Ok);
    assert_eq!(apache.php(&files, data, "x"), None);
    let files = debian("Alias /files \"/srv/moodledata\"");
    assert_eq!(Apache::read(&files).unwrap().maps(&files, data, "x")[0].verdict, Verdict::Warning);
}

#[test]
fn who_runs_an_uploaded_php_file() {
    let inside = |lines: &str| debian(&format!("<Directory {MOUNT}>\n{lines}\n</Directory>"));
    for (files, expect) in [
        (debian(""), Verdict::Warning),
        (inside("php_admin_flag engine off"), Verdict::Ok),
        (inside("<FilesMatch \"\\.(php|phar)$\">\nRequire all denied\n</FilesMatch>"), Verdict::Ok),
        (inside("<Files *.php>\nDeny from all\n</Files>"), Verdict::Ok),
        (inside("<FilesMatch \"\\.cgi$\">\nRequire all denied\n</FilesMatch>"), Verdict::Warning),
        (inside("SetHandler none"), Verdict::Ok),
        (inside("AllowOverride None"), Verdict::Warning),
        (debian("").with("/etc/apache2/mods-enabled/php8.2.conf", ""), Verdict::Ok),
        // By php-fpm, as Debian has it, and the same where a loaded module takes its place.
        (debian("").with("/etc/apache2/mods-enabled/php8.2.conf", PHP_FPM), Verdict::Warning),
        (
            debian("")
                .with("/etc/apache2/mods-enabled/php8.2.load", "LoadModule php_module libphp8.2.so")
                .with("/etc/apache2/mods-enabled/php8.2.conf", PHP_FPM),
            Verdict::Ok,
        ),
    ] {
        let found = php(&files).unwrap();
        assert_eq!(found.verdict, expect, "{found:?}");
    }
}
