//! How a server reaches the memory that a client names in its requests: by RDMA, where the connection has it.

use crate::server::request::Descriptor;

/// One-sided access to the peer's memory, one request at a time.
pub trait Reach {
    /// Fetches as many bytes as `into` holds from the peer's pieces, in their order, and returns when they are there.
    fn fetch(&mut self, from: &[Descriptor], into: &mut [u8]) -> Result<(), Unreached>;
    /// Places `bytes` in the peer's pieces, in their order: before anything that is sent afterwards, if not before this returns.
    fn place(&mut self, bytes: &[u8], to: &[Descriptor]) -> Result<(), Unreached>;
}

/// The peer's memory could not be reached. The connection has mostly ended by that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreached;

/// Cuts pieces to so many bytes in all: each with where it begins in them.
pub fn cut(pieces: &[Descriptor], bytes: usize) -> impl Iterator<Item = (usize, Descriptor)> + '_ {
    let mut from = 0;
    pieces.iter().filter_map(move |piece| {
        let some = (piece.bytes as usize).min(bytes - from);
        let at = from;
        from += some;
        (some > 0).then_some((at, Descriptor { bytes: some as u32, ..*piece }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_filled_in_order_and_no_further() {
        let piece = |address, bytes| Descriptor { address, token: 1, bytes };
        let pieces = [piece(100, 3), piece(200, 0), piece(300, 5), piece(400, 9)];
        let cut: Vec<_> = cut(&pieces, 6).collect();
        assert_eq!(cut, [(0, piece(100, 3)), (3, piece(300, 3))]);
    }
}
