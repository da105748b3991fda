//! What a CDN needs to know of an object: headers that the bucket keeps and sends along, and the URLs that it has.

pub mod active;
pub mod content_type;
pub mod policy;
pub mod tags;
pub mod url;
