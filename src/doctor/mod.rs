//! Checks of a host and its mounts, with a remedy for each finding.
//!
//! The files of web servers, PHP and systemd are read through [`files::Files`], so that what is judged can as well be a
//! fixture; facts of a running system come in as values. Nothing here changes the host.
//!
//! - [`finding`], [`report`]: what is said, and how it is shown.
//! - [`files`]: the inspected file system. [`tables`]: fstab and the kernel's list of mounts. [`targets`]: what should
//!   be mounted, and where that is written down.
//! - [`nginx`], [`apache`], [`lighttpd`], [`sites`]: web servers. [`php`]: PHP. [`units`]: the order of a boot.
//! - [`others`]: tools that mount the same. [`host`]: kernel and scanners. [`space`]: the cache directory.
//! - [`edge`]: the CDN, as visitors see it. [`bucket`], [`exposure`]: the bucket. [`access`]: the mount, as the user of the web server finds it.

pub mod access;
pub mod apache;
pub mod bucket;
mod directive;
pub mod edge;
pub mod exposure;
pub mod files;
pub mod finding;
pub mod host;
pub mod lighttpd;
pub mod nginx;
pub mod others;
pub mod php;
pub mod report;
pub mod sites;
pub mod space;
pub mod tables;
pub mod targets;
pub mod units;
