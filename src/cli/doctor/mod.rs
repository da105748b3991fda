//! `originfs doctor`: gathers what [`crate::doctor`] judges, and shows it.

mod live;
mod part;

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use super::{Failure, place};
use crate::{
    apps::service,
    config::{
        CredentialSource, Options, Unknown,
        parse::{self, Host, Request},
        words,
    },
    doctor::{
        apache::Apache,
        bucket,
        files::{self, Disk, Files as _},
        finding::{Finding, HOST, Verdict, about, of_host},
        host::{self, User},
        lighttpd::Lighttpd,
        nginx::Nginx,
        others,
        php::{self, Php},
        report::Report,
        sites::{self, Root},
        tables,
        targets::{self, Target},
        units,
    },
    telemetry::status::Status,
};
use live::Live;
pub(super) use part::{PART, command as part};

/// What the exit code says.
pub(super) const CODES: &str = "Exit code: 0 all is well, 1 warnings, 2 failures, or it could not be found out. What was \
                                skipped counts as neither.";

/// What a mount point is called where there is none: options are read against one.
const NOWHERE: &str = "/originfs-doctor";

#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    /// Mount points, or buckets as for `mount`; all mounts that run or are configured without them
    #[arg(value_name = "DIR|BUCKET")]
    what: Vec<String>,
    /// For programs
    #[arg(long)]
    json: bool,
    /// Options of a bucket that is not configured here, as for `mount`
    #[arg(short, value_name = "NAME=VALUE,...")]
    options: Vec<String>,
    /// Where the configuration of the host is read: /etc, units, crontabs and /proc/self/mountinfo below it
    #[arg(long, hide = true, default_value = "/")]
    root: PathBuf,
}

/// Whether a command line is this command's.
pub(super) fn is_meant(args: &[OsString]) -> bool {
    args.get(1).is_some_and(|arg| arg == OsStr::new("doctor"))
}

pub(super) fn command(command: &DoctorArgs, out: &mut impl Write) -> Result<(), Failure> {
    // Wrong use ends with 2 here: 1 says that there are warnings.
    let wrong = |failure: Failure| Failure { code: 2, ..failure };
    let files = Disk::new(&command.root);
    let live = live::find(&files);
    let chosen = choose(command, &files, &live).map_err(wrong)?;
    let findings = Examination::new(&files, &live).run(&chosen);
    let report = Report::new(findings);
    let text =
        if command.json { serde_json::to_string_pretty(&report).map_err(Failure::system)? } else { report.text() };
    match writeln!(out, "{text}") {
        // Whoever read it has seen enough.
        Err(err) if err.kind() != ErrorKind::BrokenPipe => return Err(Failure::system(err)),
        _ => {}
    }
    match report.code() {
        0 => Ok(()),
        code => Err(Failure { code, message: None }),
    }
}

/// The targets that the command line names, or all.
fn choose(command: &DoctorArgs, files: &Disk, live: &[Live]) -> Result<Vec<Target>, Failure> {
    let mut all = targets::configured(files);
    for live in live {
        let mut target = live.target.clone();
        // A configured path may be a link to where it is mounted.
        let same = |other: &&Target| other.dir.as_ref().is_some_and(|dir| files::real(files, dir) == live.dir);
        if let Some(known) = all.iter().find(same) {
            target.dir.clone_from(&known.dir);
            if target.process.is_none() {
                continue; // what is configured says more than the list of mounts
            }
        }
        targets::add(&mut all, target);
    }
    if command.what.is_empty() {
        return Ok(all);
    }
    let mut chosen = Vec::new();
    for what in &command.what {
        let path = Path::new(what);
        if !what.starts_with(['/', '.']) && !path.is_dir() {
            chosen.extend(of_bucket(what, &command.options, &all));
            continue;
        }
        let wanted = place::resolve(path).map_err(|err| Failure::usage(format!("{what}: {err}")))?;
        let at = |target: &&Target| target.dir.as_ref().is_some_and(|dir| wanted.starts_with(files::real(files, dir)));
        let nearest =
            all.iter().filter(at).max_by_key(|target| target.dir.as_ref().map(|dir| dir.components().count()));
        let nearest = nearest.ok_or_else(|| {
            let unit = service::instance(&wanted);
            Failure::usage(format!(
                "nothing is known of {}: it is not mounted, and neither /etc/fstab nor /etc/originfs/{unit}.env has it",
                wanted.display()
            ))
        })?;
        chosen.push(nearest.clone());
    }
    Ok(chosen)
}

/// The mounts of a bucket, or the bucket alone.
fn of_bucket(source: &str, options: &[String], all: &[Target]) -> Vec<Target> {
    let known = all.iter().filter(|target| target.source == source || target.bucket() == source);
    let known: Vec<Target> = known.filter(|_| options.is_empty()).cloned().collect();
    if !known.is_empty() {
        return known;
    }
    vec![Target { source: source.to_owned(), options: options.join(","), ..Target::default() }]
}

/// What all checks look at.
struct Examination<'a> {
    files: &'a Disk,
    live: &'a [Live],
    nginx: Option<Nginx>,
    apache: Option<Apache>,
    lighttpd: Option<Lighttpd>,
    php: Vec<Php>,
    users: Vec<User>,
    tools: Vec<others::Use>,
    roots: Vec<Root>,
}

impl<'a> Examination<'a> {
    fn new(files: &'a Disk, live: &'a [Live]) -> Self {
        let (nginx, apache, lighttpd) = (Nginx::read(files), Apache::read(files), Lighttpd::read(files));
        let php = php::read(files);
        let mut pools: Vec<String> = php.iter().filter_map(|php| php.user.clone()).collect();
        if php.iter().any(|php| php.is_module) {
            pools.extend(apache.as_ref().and_then(Apache::user));
        }
        let mut web: Vec<String> = nginx.as_ref().and_then(Nginx::user).map(str::to_owned).into_iter().collect();
        web.extend(apache.as_ref().and_then(Apache::user));
        web.extend(lighttpd.as_ref().and_then(Lighttpd::user).map(str::to_owned));
        let mut roots = nginx.as_ref().map(Nginx::roots).unwrap_or_default();
        roots.extend(apache.as_ref().map(Apache::roots).unwrap_or_default());
        roots.extend(lighttpd.as_ref().map(Lighttpd::roots).unwrap_or_default());
        let users = host::users(files, &pools, &web);
        Self { files, live, nginx, apache, lighttpd, php, users, tools: others::uses(files), roots }
    }

    fn run(&self, targets: &[Target]) -> Vec<Finding> {
        let mut findings: Vec<Finding> = targets.iter().flat_map(|target| self.target(target)).collect();
        if targets.is_empty() {
            findings.push(of_host("mounted").skipped("no mount of originfs runs here or is configured"));
        }
        findings.extend(self.host(targets));
        findings
    }

    fn host(&self, targets: &[Target]) -> Vec<Finding> {
        let mut findings = host::kernel(self.files);
        findings.push(host::updatedb(self.files));
        let mounts: Vec<(PathBuf, String)> =
            targets.iter().filter_map(|target| Some((self.real(target)?, target.subject()))).collect();
        let mounts: Vec<(&Path, &str)> =
            mounts.iter().map(|(dir, subject)| (dir.as_path(), subject.as_str())).collect();
        let roots: Vec<PathBuf> = self.roots.iter().map(|root| root.path.clone()).collect();
        let code = host::with_code(self.files, targets, &roots);
        let code: Vec<&Path> = code.iter().map(PathBuf::as_path).collect();
        findings.extend(self.php.iter().flat_map(|php| php::judge(php, self.files, &mounts, &code)));
        if self.php.is_empty() {
            findings.push(of_host("opcache").skipped("no PHP that serves pages was found"));
        }
        findings.extend(self.lighttpd.as_ref().map(|lighttpd| lighttpd.stat_cache(HOST)));
        if self.nginx.is_none() && self.apache.is_none() && self.lighttpd.is_none() {
            findings.push(of_host("web-server").skipped("no configuration of nginx, Apache or lighttpd was found"));
        }
        findings
    }

    fn real(&self, target: &Target) -> Option<PathBuf> {
        target.dir.as_ref().map(|dir| files::real(self.files, dir))
    }

    fn target(&self, target: &Target) -> Vec<Finding> {
        let subject = target.subject();
        let options = match options(target) {
            Ok(options) => options,
            Err(why) => {
                return vec![about("options", &subject).failure(
                    why,
                    "it cannot be mounted",
                    "correct it where it is configured",
                )];
            }
        };
        let mut findings = Vec::new();
        let real = self.real(target);
        if let Some(dir) = &real {
            findings.extend(self.place(target, dir, &options));
        }
        if target.is_known() {
            findings.extend(self.keys(target, &options));
            findings.extend(part::bucket(target));
            if !options.fs.urls.bases().is_empty() || !target.cdn.is_empty() {
                findings.extend(part::edge(target));
            }
        } else {
            findings.push(about("endpoint", &subject).skipped("how it was mounted is written down nowhere"));
        }
        let Some(dir) = &real else { return findings };
        findings.push(units::order(self.files, target));
        findings.push(sites::links(self.files, &self.roots, target.dir.as_deref(), dir));
        findings.extend(self.web(dir, &subject));
        findings.extend(others::judge(&self.tools, target, Some(dir)));
        let live = self.live.iter().find(|live| live.dir == *dir);
        let status: Option<&Status> = live.and_then(|live| live.status.as_ref());
        if target.is_known() {
            findings.extend(live::cache(target, &options, status));
        }
        findings.extend(status.map(|status| live::passthrough(&subject, status)));
        findings
    }

    /// The mount itself, and what users may do in it.
    fn place(&self, target: &Target, dir: &Path, options: &Options) -> Vec<Finding> {
        let subject = target.subject();
        let kind = tables::mounted(self.files).into_iter().rfind(|line| line.dir == dir).map(|line| line.kind);
        let mounted = part::mounted(&subject, dir, kind, &target.mount_command());
        let answers = mounted.verdict == Verdict::Ok;
        let mut findings = vec![mounted];
        let on = about("web-user", &subject);
        if !answers {
            findings.push(on.skipped("not known while the mount does not answer"));
        } else if self.users.is_empty() {
            findings.push(on.skipped("this host has none of the users that run web servers"));
        } else {
            findings.extend(self.users.iter().map(|user| part::user(&subject, dir, user, options.fs.read_only)));
        }
        findings
    }

    /// The files with keys in them.
    fn keys(&self, target: &Target, options: &Options) -> Vec<Finding> {
        let subject = target.subject();
        let set = |wanted: &str| target.env.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let secret = set("AWS_SECRET_ACCESS_KEY").is_some();
        let mut paths = bucket::key_files(&options.s3.credentials);
        if matches!(options.s3.credentials, CredentialSource::Chain { file: None, .. }) && !secret {
            let home = set("HOME").map(OsString::from).or_else(|| env::var_os("HOME")).unwrap_or_default();
            // It need not be there: a role of the machine has no file.
            paths.extend(Some(Path::new(&home).join(".aws/credentials")).filter(|path| path.exists()));
        }
        let mut findings: Vec<Finding> =
            paths.iter().map(|path| bucket::key_file(&subject, path, live::mode(path))).collect();
        if let Some(path) = target.settings.as_ref().filter(|path| secret && self.files.exists(path)) {
            findings.push(bucket::key_file(&subject, path, live::mode(&self.files.place(path))));
        }
        findings
    }

    fn web(&self, dir: &Path, subject: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(nginx) = &self.nginx {
            findings.push(nginx.open_file_cache(self.files, dir, subject));
            findings.extend(nginx.php(self.files, dir, subject));
        }
        if let Some(apache) = &self.apache {
            findings.extend(apache.maps(self.files, dir, subject));
            findings.extend(apache.php(self.files, dir, subject));
        }
        if let Some(lighttpd) = &self.lighttpd {
            findings.extend(lighttpd.php(self.files, dir, subject));
        }
        findings
    }
}

/// The options of a target as a mount reads them.
fn options(target: &Target) -> Result<Options, String> {
    let words = words::split(&target.options).map_err(|err| err.to_string())?;
    let mountpoint = target.dir.as_deref().unwrap_or(Path::new(NOWHERE));
    let request = Request { source: &target.source, mountpoint, words: &words, unknown: Unknown::Refuse };
    parse::parse(&request, &Host::current()).map(|parsed| parsed.options).map_err(|err| err.to_string())
}
