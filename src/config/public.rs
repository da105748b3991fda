//! What the options say about the public: who may read, with which headers, at which URLs.

use std::{fs, path::Path, sync::Arc};

use super::{Error, given::Given, parse::Host};
use crate::{
    apps::preset,
    cdn::{
        policy::{
            Exposure, Policy, Wishes, ahbe, file,
            rule::{Field, Rule, is_value},
        },
        url::{Base, Family, Mapper},
    },
    model::{key::Prefix, withheld::Withheld},
};

/// Between URLs.
const SEPARATOR: char = ';';
/// What stands for no header.
const NONE: &str = "none";

/// All of it.
pub(super) struct Public {
    pub(super) headers: Arc<Policy>,
    pub(super) urls: Arc<Mapper>,
    pub(super) withheld: Withheld,
    pub(super) acl: Option<String>,
}

pub(super) fn read(given: &mut Given, host: &Host, prefix: &Prefix, mountpoint: &Path) -> Result<Public, Error> {
    // s3fs once wrote public_read.
    let acl = given.text("acl")?.map(|acl| acl.replace('_', "-"));
    let preset = preset::of(mountpoint);
    let exposure = exposure(given, acl.as_deref(), preset)?;
    let withheld = if exposure == Exposure::Private {
        Withheld::all(prefix.clone())
    } else {
        let own = given.text("private")?;
        let known = preset.into_iter().flat_map(|(_, rule)| rule.private).copied();
        let patterns = own.as_deref().into_iter().chain(known.filter(|pattern| *pattern != "**"));
        Withheld::some(prefix.clone(), patterns).map_err(|bad| Error::new(format!("option private: {bad}")))?
    };
    let mut rules: Vec<Rule> = common(given)?.into_iter().collect();
    rules.extend(written(given, host)?);
    let wishes = Wishes {
        prefix: prefix.clone(),
        exposure,
        withheld: withheld.clone(),
        rules,
        inline_svg: given.is("inline_svg")?,
        site: given.text("cache_tags")?,
    };
    let bases = [bases(given, "cdn_url", Family::Cdn)?, bases(given, "site_url", Family::Site)?].concat();
    let urls = Mapper::new(prefix.clone(), bases);
    Ok(Public { headers: Arc::new(Policy::new(wishes)), urls: Arc::new(urls), withheld, acl })
}

fn exposure(given: &Given, acl: Option<&str>, preset: Option<preset::Known>) -> Result<Exposure, Error> {
    let public = acl.filter(|acl| acl.starts_with("public-"));
    let private = preset.filter(|(_, rule)| rule.private.contains(&"**"));
    match (given.one_word("exposure")?, public, private) {
        (Some("private"), Some(acl), _) => {
            Err(Error::new(format!("exposure=private and acl={acl} exclude each other")))
        }
        (None, Some(acl), Some((app, rule))) => Err(Error::new(format!(
            "acl={acl}: {app} keeps {} private; exposure=public says that this one is not",
            rule.directory
        ))),
        (Some("private"), ..) | (None, None, Some(_)) => Ok(Exposure::Private),
        _ => Ok(Exposure::Public),
    }
}

/// The rule that `cache_control` is.
fn common(given: &Given) -> Result<Option<Rule>, Error> {
    let Some(text) = given.text("cache_control")? else { return Ok(None) };
    let value = (text != NONE).then_some(text);
    if value.as_deref().is_some_and(|value| !is_value(value)) {
        return Err(Error::new("cache_control: expected what a header can carry"));
    }
    Ok(Some(Rule { public: true, set: vec![(Field::CacheControl, value)], ..Rule::default() }))
}

fn written(given: &mut Given, host: &Host) -> Result<Vec<Rule>, Error> {
    let Some(path) = given.path("headers")?.map(|path| host.dir.join(path)) else { return Ok(Vec::new()) };
    let wrong = |why: &dyn std::fmt::Display| Error::new(format!("headers={}: {why}", path.display()));
    let text = fs::read_to_string(&path).map_err(|err| wrong(&err))?;
    if path.extension().is_some_and(|extension| extension == "toml") {
        return file::parse(&text).map_err(|why| wrong(&why));
    }
    let imported = ahbe::parse(&text).map_err(|why| wrong(&why))?;
    given.warnings.extend(imported.warnings.iter().map(|why| format!("{}: {why}", path.display())));
    Ok(imported.rules)
}

fn bases(given: &Given, name: &str, family: Family) -> Result<Vec<Base>, Error> {
    let text = given.text(name)?.unwrap_or_default();
    let texts = text.split(SEPARATOR).map(str::trim).filter(|text| !text.is_empty());
    texts.map(|text| Base::parse(text, family).map_err(|bad| Error::new(format!("{name}: {bad}")))).collect()
}
