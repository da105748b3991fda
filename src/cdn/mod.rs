//! What a CDN needs to know of an object: headers that the bucket keeps and sends along, and the URLs that it has.

pub mod content_type;
pub mod url;
