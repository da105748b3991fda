use super::{
    super::{files::Fixture, finding::Verdict},
    *,
};

const MOUNT: &str = "/var/www/html/wp-content/uploads";

/// As Debian installs it, shortened.
fn debian(ini: &str, pool: &str) -> Fixture {
    let ini_text = format!("[PHP]\n; realpath_cache_ttl = 3600\nmemory_limit = 128M\n{ini}\n");
    let pool_text =
        format!("; comment\n[www]\nuser = www-data\ngroup = www-data\nlisten = /run/php/php8.2-fpm.sock\n{pool}\n");
    Fixture::new(&[
        ("/etc/php/8.2/fpm/php.ini", &ini_text),
        ("/etc/php/8.2/fpm/conf.d/10-opcache.ini", "-> /etc/php/8.2/mods-available/opcache.ini"),
        ("/etc/php/8.2/mods-available/opcache.ini", "zend_extension=opcache.so\nopcache.jit=off\n"),
        ("/etc/php/8.2/fpm/pool.d/www.conf", &pool_text),
        ("/etc/php/8.2/cli/php.ini", "realpath_cache_ttl = 99999\n"),
    ])
}

fn found(files: &Fixture, code: &[&Path]) -> Vec<(String, Verdict)> {
    let all = read(files);
    let judged = all.iter().flat_map(|php| judge(php, files, &[(Path::new(MOUNT), MOUNT)], code));
    judged.map(|finding| (finding.check, finding.verdict)).collect()
}

fn pairs(list: &[(&str, Verdict)]) -> Vec<(String, Verdict)> {
    list.iter().map(|(check, verdict)| ((*check).to_owned(), *verdict)).collect()
}

#[test]
fn pools_have_the_settings_of_all_their_files() {
    let all = read(&debian("realpath_cache_ttl = 10 ; short\n", "php_admin_value[upload_tmp_dir] = \"/srv/tmp\""));
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].name.as_str(), all[0].user.as_deref()), ("PHP 8.2 fpm, pool www", Some("www-data")));
    assert_eq!(all[0].number("realpath_cache_ttl"), Some(10));
    assert_eq!((all[0].text("upload_tmp_dir"), all[0].text("opcache.jit")), (Some("/srv/tmp"), Some("off")));
}

#[test]
fn red_hat_and_alpine() {
    let red_hat = Fixture::new(&[
        ("/etc/php.ini", "realpath_cache_ttl = 600\n"),
        ("/etc/php.d/10-opcache.ini", "opcache.enable=1\n"),
        ("/etc/php-fpm.d/www.conf", "[www]\nuser = apache\nphp_value[session.save_path] = /var/lib/php/session\n"),
    ]);
    let all = read(&red_hat);
    assert_eq!(
        (all.len(), all[0].user.as_deref(), all[0].number("realpath_cache_ttl")),
        (1, Some("apache"), Some(600))
    );
    let alpine =
        Fixture::new(&[("/etc/php82/php.ini", "a=1\n"), ("/etc/php82/php-fpm.d/www.conf", "[www]\nuser = nobody\n")]);
    assert_eq!(read(&alpine)[0].user.as_deref(), Some("nobody"));
    assert!(read(&Fixture::default()).is_empty());
}

#[test]
fn defaults_are_well() {
    assert_eq!(found(&debian("", ""), &[]), pairs(&[("opcache", Verdict::Ok), ("realpath-cache", Verdict::Ok)]));
}

#[test]
fn the_cache_of_paths_may_not_be_older_than_by_default() {
    let verdict = |ini: &str| found(&debian(ini, ""), &[])[1].1;
    assert_eq!(verdict("realpath_cache_ttl = 120"), Verdict::Ok);
    assert_eq!(verdict("realpath_cache_ttl = 3600"), Verdict::Warning);
}

#[test]
fn opcache_matters_only_where_a_mount_holds_code() {
    let code = [Path::new("/var/www/html/wp-content")];
    for (ini, in_code) in [
        ("", Verdict::Ok),
        ("opcache.validate_timestamps=0", Verdict::Warning),
        ("opcache.revalidate_freq=3600", Verdict::Warning),
        ("opcache.validate_timestamps=Off\nopcache.enable=0", Verdict::Ok),
    ] {
        assert_eq!(found(&debian(ini, ""), &code)[0].1, in_code, "{ini}");
        assert_eq!(found(&debian(ini, ""), &[])[0].1, Verdict::Ok, "{ini}");
    }
}

#[test]
fn directories_of_php_do_not_belong_into_a_mount() {
    let cases = [
        (format!("opcache.file_cache={MOUNT}/.opcache"), "", "opcache"),
        (String::new(), "php_admin_value[upload_tmp_dir] = /var/www/html/wp-content/uploads/tmp", "php-directories"),
        (format!("session.save_path = \"2;0600;{MOUNT}/sessions\""), "", "php-directories"),
        ("sys_temp_dir = /srv/link".to_owned(), "", "php-directories"),
    ];
    for (ini, pool, check) in cases {
        let files = debian(&ini, pool).with("/srv/link", "-> /var/www/html/wp-content/uploads/t");
        assert_eq!(found(&files, &[])[2..], pairs(&[(check, Verdict::Failure)]), "{ini}{pool}");
    }
    let outside = debian("opcache.file_cache=/var/cache/php\nsession.save_path=/var/lib/php/sessions", "");
    assert_eq!(found(&outside, &[]).len(), 2);
}
