//! Captures as `HEX NAME (N bytes)` and lines of hexadecimal below it, as the fixtures hold them. Test support only.

#![allow(dead_code, reason = "each test binary uses a part of it")]

/// A message, key or the like.
pub struct Block {
    /// What it is.
    pub name: String,
    /// Its length when it was captured.
    pub announced: usize,
    /// What was kept of it.
    pub bytes: Vec<u8>,
}

impl Block {
    /// Nothing of it was left out: the dumps of the passive end keep 256 bytes of a message, and announce no more.
    pub fn is_whole(&self) -> bool {
        self.bytes.len() == self.announced && self.announced != 256
    }
}

/// The blocks of a capture, in the order in which they came.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = vec![];
    let mut open = false;
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("HEX ") {
            let (name, length) = title.rsplit_once(" (").unwrap();
            let announced = length.strip_suffix(" bytes)").unwrap().parse().unwrap();
            blocks.push(Block { name: name.into(), announced, bytes: vec![] });
            open = true;
        } else if let (true, Some(hex)) = (open, line.strip_prefix("  ")) {
            let hex: String = hex.split_whitespace().collect();
            let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
            blocks.last_mut().unwrap().bytes.extend(bytes);
        } else {
            open = false;
        }
    }
    blocks
}
