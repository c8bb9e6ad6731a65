//! Memory of this end that is lent to the server, which reaches it by itself: a place for each request under way, registered once, before anything
//! is measured, or anew for each request.

use std::sync::Arc;

use pathproof_api::{Access, Exposed, MessagePipe, Pages, Region, TransportError};
use pathproof_model::FileSpec;
use pathproof_smb2::direct::{Channel, DESCRIPTORS_MAX, Descriptor, Placement};

use super::carrier::Link;

/// What a place holds before a server is to put something there: no content is made of it.
const NOTHING: u8 = 0xA5;

/// A connection that belongs to a session, and what memory it may reach.
pub struct Joined {
    pub link: Link,
    pub lent: Option<Lent>,
}

/// How memory is lent.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Requests under way at once.
    depth: usize,
    /// What each moves, in bytes.
    size: u32,
    /// Pieces that a request names, each by a descriptor of its own.
    descriptors: u32,
    /// Registered for each request, and no longer than for that.
    each: bool,
}

impl Terms {
    /// As a step asks for.
    pub fn of(spec: &FileSpec) -> Terms {
        let (depth, size) = (spec.depth as usize, spec.size_bytes as u32);
        Terms { depth, size, descriptors: spec.descriptors, each: spec.register_each }
    }
}

/// The place of a request.
struct Place {
    region: Arc<Region>,
    /// What lets the server in, while it does, and how a request says so.
    open: Option<(Exposed, Placement)>,
}

/// The places of one channel.
pub struct Lent {
    places: Vec<Place>,
    terms: Terms,
}

impl Lent {
    /// Places for all requests that may be under way.
    pub fn new(link: &mut Link, terms: Terms) -> Result<Lent, String> {
        let mut places = Vec::with_capacity(terms.depth);
        for _ in 0..terms.depth {
            let region = Region::new(terms.size.into(), Pages::Default).map_err(|error| error.to_string())?;
            let region = Arc::new(region);
            let open = (!terms.each).then(|| open(link, &region, terms)).transpose();
            let open =
                open.map_err(|error| format!("memory cannot be registered with the adapter: {error}"))?;
            places.push(Place { region, open });
        }
        Ok(Lent { places, terms })
    }

    /// All of a place, for one request.
    pub fn placement(&mut self, link: &mut Link, at: usize) -> Result<Option<Placement>, TransportError> {
        let Some(place) = self.places.get_mut(at) else { return Ok(None) };
        let (_, placement) = match place.open {
            Some(open) => open,
            None => *place.open.insert(open(link, &place.region, self.terms)?),
        };
        Ok(Some(placement))
    }

    /// The request of a place has its answer.
    pub fn answered(&mut self, link: &mut Link, at: usize) -> Result<(), TransportError> {
        let Some(place) = self.places.get_mut(at).filter(|_| self.terms.each) else { return Ok(()) };
        place.open.take().map_or(Ok(()), |(exposed, _)| link.pipe_mut().withdraw(exposed.id))
    }

    /// Puts data into a place, for the server to fetch.
    pub fn put(&self, at: usize, data: &[u8]) -> bool {
        self.places.get(at).is_some_and(|place| place.region.copy_in(0, data).is_ok())
    }

    /// Fills a place with what no file holds, so that what a server does not put there is missed.
    pub fn clear(&self, at: usize) -> bool {
        self.places.get(at).is_some_and(|place| place.region.fill(0, self.terms.size.into(), NOTHING).is_ok())
    }

    /// Takes out what the server put into a place.
    pub fn take(&self, at: usize, data: &mut [u8]) -> bool {
        self.places.get(at).is_some_and(|place| place.region.copy_out(0, data).is_ok())
    }
}

fn open(link: &mut Link, region: &Arc<Region>, terms: Terms) -> Result<(Exposed, Placement), TransportError> {
    let exposed = link.pipe_mut().expose(region, Access::RemoteReadWrite)?;
    let pieces = cut(exposed.address, exposed.key, terms.size, terms.descriptors);
    let placement = Placement::new(&pieces, Channel::Kept);
    let placement = placement.ok_or_else(|| TransportError::invalid("a request without memory"))?;
    Ok((exposed, placement))
}

/// Memory as so many pieces, as near to each other in length as can be; fewer where there are not as many bytes.
fn cut(address: u64, token: u32, bytes: u32, pieces: u32) -> Vec<Descriptor> {
    let pieces = pieces.clamp(1, (DESCRIPTORS_MAX as u32).min(bytes.max(1)));
    let edge = |piece: u32| (u64::from(bytes) * u64::from(piece) / u64::from(pieces)) as u32;
    (0..pieces)
        .map(|piece| Descriptor {
            address: address + u64::from(edge(piece)),
            token,
            length: edge(piece + 1) - edge(piece),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_lie_end_to_end_and_none_is_empty() {
        for (bytes, pieces, count) in
            [(1 << 20, 1, 1), (1 << 20, 3, 3), (4096, 16, 16), (8, 16, 8), (8, 99, 8)]
        {
            let cut = cut(1000, 7, bytes, pieces);
            assert_eq!(cut.len(), count, "{bytes} {pieces}");
            let mut at = 1000;
            for piece in &cut {
                assert_eq!((piece.address, piece.token), (at, 7));
                assert!(piece.length > 0);
                at += u64::from(piece.length);
            }
            assert_eq!(at, 1000 + u64::from(bytes));
        }
    }
}
