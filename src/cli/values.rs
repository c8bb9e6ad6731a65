//! Values that several commands take.

/// What `--over` takes.
pub const TRANSPORTS: [&str; 3] = ["tcp", "multi", "rdma"];

/// An IP MTU in bytes.
pub fn ip_mtu(text: &str) -> Result<u32, String> {
    let bytes = text.parse().ok().filter(|bytes| (68..=65_535).contains(bytes));
    bytes.ok_or_else(|| format!("{text} is no IP MTU; give a number of bytes from 68 to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transports_that_can_be_typed_are_those_of_this_build() {
        assert_eq!(crate::registry::Registry::new().names(), TRANSPORTS);
    }
}
