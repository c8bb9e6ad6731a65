//! Values that several commands take.

/// An IP MTU in bytes.
pub fn ip_mtu(text: &str) -> Result<u32, String> {
    let bytes = text.parse().ok().filter(|bytes| (68..=65_535).contains(bytes));
    bytes.ok_or_else(|| format!("{text} is no IP MTU; give a number of bytes from 68 to 65535"))
}
