//! nginx: what its configuration does with a mount.
//!
//! It is read from its files, as nginx reads them, so nothing has to run. Which location answers is decided as nginx
//! decides (`ngx_http_core_module`, "location"); what depends on variables is not known.

mod parse;
mod serve;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use super::{
    directive::Directive,
    files::{self, Files},
    finding::{Finding, about},
    sites::{self, PHP_PROBE, Root},
};
use serve::{Answer, Served};

/// Where every distribution has it.
const MAIN: &str = "/etc/nginx/nginx.conf";

/// File names that are looked for in a mount: a picture, and what no rule is written for.
const FILES: [&str; 2] = ["originfs-doctor.jpg", "originfs-doctor.bin"];

/// The configuration of nginx.
#[derive(Debug)]
pub struct Nginx {
    main: Vec<Directive>,
}

impl Nginx {
    /// `None`: it is not installed.
    pub fn read(files: &impl Files) -> Option<Self> {
        let main = parse::read(files, Path::new(MAIN))?;
        Some(Self { main })
    }

    /// The user that it reads files as.
    pub fn user(&self) -> Option<&str> {
        self.main.iter().rfind(|directive| directive.name == "user")?.args.first().map(String::as_str)
    }

    /// The document roots.
    pub fn roots(&self) -> Vec<Root> {
        let mut roots = Vec::new();
        collect(&self.main, &mut roots);
        roots
    }

    /// Whether descriptors of files below `mount` are kept without a look at what other hosts did.
    pub fn open_file_cache(&self, files: &impl Files, mount: &Path, subject: &str) -> Finding {
        let on = about("open-file-cache", subject);
        let dirs = self.dirs(files, mount);
        let paths = dirs.iter().flat_map(|dir| FILES.iter().map(move |name| dir.join(name)));
        let served: Vec<Served> = paths.flat_map(|path| serve::all(&self.main, files, &path)).collect();
        if served.is_empty() {
            return on.ok("nginx serves nothing of this mount");
        }
        let Some((cache, place)) = served.iter().filter_map(Served::cached).max_by_key(|(cache, _)| cache.errors)
        else {
            return on.ok("nginx keeps no files open (open_file_cache is off)");
        };
        let errors = if cache.errors { ", and names that were absent" } else { "" };
        on.warning(
            format!("nginx keeps files of this mount open{errors} ({place})"),
            "it knows a file by its number, which a replaced file has too, so what another webserver replaced comes with its \
             new length and the old bytes for as long as it is asked for, whatever open_file_cache_valid says",
            "in the server or location of the mount: open_file_cache off;",
        )
    }

    /// The mount, and the document roots in it.
    fn dirs(&self, files: &impl Files, mount: &Path) -> Vec<PathBuf> {
        let roots = self.roots().into_iter().map(|root| files::real(files, &root.path));
        let inside = roots.filter(|root| root.starts_with(mount) && root != mount);
        [mount.to_owned()].into_iter().chain(inside).collect()
    }

    /// Whether a PHP file that somebody uploads is run.
    pub fn php(&self, files: &impl Files, mount: &Path, subject: &str) -> Option<Finding> {
        let on = about("php-execution", subject);
        let dirs = self.dirs(files, mount);
        let served: Vec<Served> =
            dirs.iter().flat_map(|dir| serve::all(&self.main, files, &dir.join(PHP_PROBE))).collect();
        let first = served.first()?;
        for served in &served {
            let place = &served.place;
            match served.answer {
                Answer::Runs => {
                    return Some(on.warning(
                        format!("nginx passes {} to PHP ({place})", served.uri),
                        sites::PHP_WHY,
                        format!(
                            "in the server of nginx: location ^~ {}/ {{ location ~* \\.(php[0-9]*|phtml|phar)$ {{ \
                             return 403; }} }}",
                            served.directory()
                        ),
                    ));
                }
                Answer::Unknown => {
                    return Some(on.skipped(format!("what nginx does with {} is not clear ({place})", served.uri)));
                }
                Answer::Refused | Answer::Sent => {}
            }
        }
        let word = if first.answer == Answer::Refused { "refused" } else { "not run" };
        Some(on.ok(format!("nginx: PHP files are {word} ({})", first.place)))
    }
}

fn collect(block: &[Directive], roots: &mut Vec<Root>) {
    for directive in block {
        if let ("root", Some(path)) = (directive.name.as_str(), directive.args.first())
            && path.starts_with('/')
            && !path.contains('$')
        {
            roots.push(Root { path: PathBuf::from(path), from: directive.place.clone() });
        }
        collect(&directive.block, roots);
    }
}
