//! What a CDN needs to know of an object: headers that the bucket keeps and sends along.

pub mod content_type;
