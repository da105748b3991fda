//! The distribution's nginx with the configuration that docs/CDN.md gives.

use std::{
    fs, io,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
};

use nix::sys::signal::Signal;

use super::cdn::get;
use crate::harness::{Process, eventually, fresh_dir, start};

const PROGRAM: &str = "/usr/sbin/nginx";
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CDN.md");

/// Ends with the test.
#[derive(Debug)]
pub(super) struct Nginx {
    process: Process,
    config: PathBuf,
    port: u16,
}

impl Nginx {
    /// By the recipe with a map. `None` where there is no nginx.
    pub(super) fn redirecting(root: &Path, cdn: &str, map: &Path) -> Option<Self> {
        let map = map.to_str().unwrap().replace(".map", "[.]map");
        let recipe = |title| block(title).replace("/run/originfs-cdn[.]map", &map);
        assert!(recipe("redirect-http").contains(&map), "the file is named as documented");
        Self::start(root, cdn, &recipe("redirect-http"), &recipe("redirect-server"))
    }

    /// By the recipe with a proxy.
    pub(super) fn proxying(root: &Path, cdn: &str) -> Option<Self> {
        Self::start(root, cdn, "", &block("proxy-server"))
    }

    fn start(root: &Path, cdn: &str, http: &str, server: &str) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            assert!(std::env::var_os("CI").is_none(), "no nginx");
            println!("skipped: no nginx");
            return None;
        }
        let dir = fresh_dir();
        let (port, config) = (free_port(), dir.join("nginx.conf"));
        let host = cdn.trim_start_matches("http://");
        let ours = |text: &str| {
            let text = text.replace("/var/www/html", root.to_str().unwrap());
            text.replace("https://cdn.example.org", cdn).replace("cdn.example.org", host)
        };
        let temporary = ["client_body", "fastcgi", "proxy", "scgi", "uwsgi"];
        let temporary = temporary.map(|name| format!("{name}_temp_path {}/{name};", dir.display())).join("\n");
        let text = format!(
            "user root;\nworker_processes 1;\ndaemon off;\npid {0}/pid;\nerror_log {0}/errors.log;\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary}\n{1}\nserver {{\nlisten 127.0.0.1:{port};\n{2}\n}}\n}}\n",
            dir.display(),
            ours(http),
            ours(server)
        );
        fs::write(&config, text).unwrap();
        let process = start([PROGRAM, "-c", config.to_str().unwrap(), "-e", dir.join("errors.log").to_str().unwrap()]);
        let nginx = Self { process, config, port };
        eventually("nginx listens", || {
            assert_eq!(nginx.process.ended(), None, "{}", nginx.process.said());
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Some(nginx)
    }

    pub(super) fn config(&self) -> &Path {
        &self.config
    }

    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Who showed it in the end, with which status, and what. A CDN that is gone shows nothing.
    pub(super) fn visit(&self, target: &str) -> (String, u16, Vec<u8>) {
        let address = self.address();
        let (status, location, body) = get(&format!("{address}{target}")).unwrap();
        let Some(location) = location.filter(|_| status == 302) else { return (address, status, body) };
        let host: String = location.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        match get(&location) {
            Ok((status, _, body)) => (host, status, body),
            Err(err) if err.kind() != io::ErrorKind::InvalidInput => (host, 0, Vec::new()),
            Err(err) => panic!("{location}: {err}"),
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let errors = self.config.with_file_name("errors.log");
            println!("--- nginx\n{}", fs::read_to_string(errors).unwrap_or_default());
        }
        self.process.signal(Signal::SIGTERM);
    }
}

/// The block of code that follows this comment in the document.
fn block(title: &str) -> String {
    let text = fs::read_to_string(DOCUMENT).unwrap();
    let (_, rest) = text.split_once(&format!("<!-- tested: {title} -->")).unwrap_or_else(|| panic!("no {title}"));
    let lines = rest.lines().skip_while(|line| line.trim().is_empty());
    let code = lines.take_while(|line| line.is_empty() || line.starts_with("    "));
    code.collect::<Vec<_>>().join("\n")
}

/// One that nobody listens on. Another program may take it meanwhile, which is told by nginx and not hidden.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
