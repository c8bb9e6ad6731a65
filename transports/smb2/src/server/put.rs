//! Fields of answers, little-endian, as MS-SMB2 lays them out.

/// A message that is being written.
pub(super) trait Put {
    /// One byte.
    fn byte(&mut self, value: u8);
    /// Two bytes.
    fn word(&mut self, value: u16);
    /// Four bytes.
    fn double(&mut self, value: u32);
    /// Eight bytes.
    fn quad(&mut self, value: u64);
    /// So many zero bytes.
    fn zeros(&mut self, count: usize);
}

impl Put for Vec<u8> {
    fn byte(&mut self, value: u8) {
        self.push(value);
    }

    fn word(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn double(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn quad(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn zeros(&mut self, count: usize) {
        self.resize(self.len() + count, 0);
    }
}
