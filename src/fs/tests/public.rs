//! What the public sees of what is written.

mod headers;
mod urls;
