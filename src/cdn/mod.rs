//! What a CDN needs to know of an object: headers that the bucket keeps and sends along, the URLs that it has, and when
//! an edge is to forget it.

pub mod active;
pub mod content_type;
pub mod manifest;
pub mod outage;
pub mod policy;
pub mod purge;
pub mod rules;
pub mod tags;
pub mod url;
