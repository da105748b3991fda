//! What the public is to see of a mount.

use std::time::Duration;

use super::{
    super::table::{
        Kind::{Flag, Number, Path, Span, Text, Word},
        Meaning::Same,
        Otherwise::{Chosen, Value},
        Row,
    },
    row,
};

/// More looks than that nobody would wait for.
const LOOKS_MAX: u32 = 100;
/// The shortest time between two looks, and for one: ten requests in a second are a burden nowhere.
const LOOK_MIN: Duration = Duration::from_millis(100);

pub(in super::super) const CDN: &[Row] = &[
    row(
        "exposure",
        Word(&["public", "private"]),
        Chosen("private where an application keeps the directory private (such as filedir), else public"),
        &[],
        "Whether the public may read what is written: headers, ACL and URLs follow it.",
    ),
    row(
        "private",
        Text,
        Chosen("what the application keeps private"),
        &[],
        "More names that are never public: patterns with ':' between, such as invoices/**; dot files, programs, databases \
         and their dumps never are.",
    ),
    row(
        "cache_control",
        Text,
        Chosen("by class of file: see docs/CDN.md"),
        &[],
        "Cache-Control of public files that no rule of headers= is about; none sends none.",
    ),
    row(
        "headers",
        Path,
        Chosen("none"),
        &[("ahbe_conf", Same)],
        "File with rules for headers: TOML where its name ends in .toml, else the form of s3fs (ahbe_conf).",
    ),
    row(
        "inline_svg",
        Flag,
        Value("false"),
        &[],
        "Have browsers show an SVG file that holds no script, instead of downloading it.",
    ),
    row(
        "cache_tags",
        Text,
        Chosen("none"),
        &[],
        "Name of the site, as the first of the cache tags that objects get, so that a CDN can purge by directory.",
    ),
    row(
        "cdn_url",
        Text,
        Chosen("none"),
        &[],
        "URL of the bucket's root on a CDN; several with ';' between. {path} at its end: that of the mounted part.",
    ),
    row(
        "site_url",
        Text,
        Chosen("none"),
        &[],
        "URL at which the site serves the mounted directory; several with ';' between.",
    ),
    row(
        "cdn_probe",
        Text,
        Chosen("none: nobody looks at the CDN"),
        &[],
        "Path in the mount of a small public file, such as a logo, that shows whether the CDN works; needs cdn_url and site_url.",
    ),
    row(
        "cdn_probe_interval",
        Span { min: LOOK_MIN, max: Duration::from_hours(1) },
        Value("10s"),
        &[],
        "Time between two looks at the CDN, give or take a tenth.",
    ),
    row(
        "cdn_probe_timeout",
        Span { min: LOOK_MIN, max: Duration::from_mins(2) },
        Value("2s"),
        &[],
        "How long the CDN may take for the whole file.",
    ),
    row(
        "cdn_down_after",
        Number { min: 1, max: LOOKS_MAX },
        Value("3"),
        &[],
        "The CDN is down when so many of the last looks failed: of 5 for 3, of 2n-1 for n.",
    ),
    row(
        "cdn_up_after",
        Number { min: 1, max: LOOKS_MAX },
        Value("5"),
        &[],
        "The CDN is up again when so many looks in a row showed the file, and cdn_hold is over.",
    ),
    row(
        "cdn_hold",
        Span { min: Duration::ZERO, max: Duration::from_hours(24) },
        Value("1m"),
        &[],
        "The least time that the CDN counts as down; doubled with each relapse, up to 16 times.",
    ),
    row(
        "cdn_map",
        Path,
        Chosen("none"),
        &[],
        "File for a map block of nginx, written when the CDN goes down or comes back: see docs/CDN.md.",
    ),
    row(
        "cdn_reload",
        Text,
        Chosen("none"),
        &[],
        "Command for a shell, run when cdn_map has changed, such as \"nginx -s reload\".",
    ),
    row(
        "cdn_socket",
        Path,
        Chosen("none"),
        &[],
        "Unix socket on which everybody on this host may ask by HTTP for the base URL to use: GET /v1/base.",
    ),
    row(
        "purge",
        Word(&["async", "sync"]),
        Value("async"),
        &[],
        "sync: a close waits up to 3 s until the CDN has forgotten what it replaced; it does not fail if that takes longer.",
    ),
];
