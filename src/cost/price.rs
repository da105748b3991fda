//! Prices, as vendors list them: data with a date and a source.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The tables that come with the program.
const TABLE: &str = include_str!("prices.toml");

/// US dollars; see the head of prices.toml.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Price {
    pub name: String,
    /// As of when.
    pub date: String,
    pub source: String,
    /// A GB for a month.
    pub storage: f64,
    /// 1,000 requests.
    pub class_a: f64,
    pub class_b: f64,
    /// A GB.
    pub egress: f64,
    /// Flat, for each month.
    pub monthly: f64,
    pub free_class_a: u64,
    pub free_class_b: u64,
    pub free_storage_gb: f64,
    pub free_egress_gb: f64,
    pub cold: Option<Cold>,
}

/// The class for what is rarely read.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Cold {
    pub class: String,
    pub storage: f64,
    /// 1,000 objects.
    pub transition: f64,
    /// A GB.
    pub retrieval: f64,
    pub class_b: f64,
    /// Smaller objects are billed as this many KiB.
    pub minimum_kib: u64,
    /// What is deleted earlier is billed for so many days.
    pub minimum_days: u32,
}

/// By name of the vendor.
pub type Prices = BTreeMap<String, Price>;

/// What is known, with `own` instead where it says so. An error is one line.
pub fn prices(own: Option<&str>) -> Result<Prices, String> {
    let read = |text: &str| toml::from_str::<Prices>(text).map_err(|err| err.message().to_owned());
    let mut all = read(TABLE)?;
    for (vendor, price) in own.map(read).transpose()?.unwrap_or_default() {
        let all_of = |price: &Price| {
            let Price { storage, class_a, class_b, egress, monthly, .. } = price;
            [*storage, *class_a, *class_b, *egress, *monthly]
        };
        if all_of(&price).iter().any(|price| !price.is_finite() || *price < 0.0) {
            return Err(format!("{vendor}: a price is a number that is not below 0"));
        }
        all.insert(vendor, price);
    }
    Ok(all)
}

/// The vendor that an endpoint is of; `None`: nobody here knows. No endpoint is AWS.
pub fn vendor_of(endpoint: Option<&str>) -> Option<&'static str> {
    let Some(endpoint) = endpoint else { return Some("aws") };
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let host = rest.split(['/', ':']).next().unwrap_or_default().to_ascii_lowercase();
    let known = [
        ("amazonaws.com", "aws"),
        ("r2.cloudflarestorage.com", "r2"),
        ("digitaloceanspaces.com", "digitalocean"),
        ("linodeobjects.com", "linode"),
    ];
    let is_of = |domain: &str| host.strip_suffix(domain).is_some_and(|left| left.is_empty() || left.ends_with('.'));
    known.iter().find(|(domain, _)| is_of(domain)).map(|(_, vendor)| *vendor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_a_date_and_a_source() {
        let all = prices(None).unwrap();
        assert!(all.len() >= 4);
        for (vendor, price) in all {
            assert!(price.date.parse::<super::super::day::Day>().is_ok() && !price.source.is_empty(), "{vendor}");
            assert!(price.cold.is_none_or(|cold| cold.storage < price.storage), "{vendor}");
        }
    }

    #[test]
    fn vendors_are_known_by_their_hosts() {
        for (endpoint, vendor) in [
            (None, Some("aws")),
            (Some("https://s3.eu-west-1.amazonaws.com"), Some("aws")),
            (Some("https://abc.r2.cloudflarestorage.com"), Some("r2")),
            (Some("https://fra1.digitaloceanspaces.com:443/"), Some("digitalocean")),
            (Some("https://us-east-1.linodeobjects.com"), Some("linode")),
            (Some("http://127.0.0.1:9000"), None),
            (Some("https://evilamazonaws.com"), None),
        ] {
            assert_eq!(vendor_of(endpoint), vendor, "{endpoint:?}");
        }
    }

    #[test]
    fn own_prices_come_first_and_make_sense() {
        let own = prices(Some("[mine]\nstorage = 0.01\nclass_a = 0.001\n[aws]\nstorage = 0.5\n")).unwrap();
        assert_eq!((own["mine"].storage, own["aws"].storage, own["aws"].cold.is_none()), (0.01, 0.5, true));
        assert!(prices(Some("[mine]\nstorage = -1.0\n")).is_err() && prices(Some("[mine]\nstrage = 1.0\n")).is_err());
    }
}
