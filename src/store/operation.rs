//! Names of writes: what tells a write whose answer was lost from that of another host.

/// The metadata name that carries it (`x-amz-meta-op`). Whoever wants to name a write puts it into the user metadata;
/// an answer has it in [`Object::operation`](super::Object::operation).
pub const OPERATION: &str = "op";

/// A name that no other write has: 128 random bits in hex.
pub fn operation_id() -> String {
    let random = || getrandom::u64().expect("the kernel always has random bytes");
    format!("{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_128_bits_and_never_the_same() {
        let id = operation_id();
        assert!(id.len() == 32 && id != operation_id());
    }
}
