//! What the bucket costs, and what would cost less: requests and bytes by day, prices by vendor, what nobody reads.
//! Pure, but for the files that the [`ledger`] is kept in.

pub mod access;
pub mod bill;
pub mod changes;
pub mod cold;
pub mod day;
pub mod ledger;
mod lines;
pub mod price;
pub mod reads;
pub mod rules;
