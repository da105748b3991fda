//! What the public is to see of a mount.

use super::{
    super::table::{
        Kind::{Flag, Path, Text, Word},
        Meaning::Same,
        Otherwise::{Chosen, Value},
        Row,
    },
    row,
};

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
        "purge",
        Word(&["async", "sync"]),
        Value("async"),
        &[],
        "sync: a close waits up to 3 s until the CDN has forgotten what it replaced; it does not fail if that takes longer.",
    ),
];
