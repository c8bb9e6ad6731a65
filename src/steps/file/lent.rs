//! Memory of this end that is lent to the server, which reaches it by itself: a place for each request under way, registered once, before anything
//! is measured, or anew for each request; or opened for each request by a key that the server ends with its answer.

use std::sync::Arc;

use pathproof_api::{
    Access, Arrival, EndedBy, LoanForm, LoanId, MessagePipe, Pages, Region, RegionId, TransportError,
};
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
    keys: Keys,
}

/// How long the keys live by which the server reaches memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keys {
    /// As long as their channel.
    OfChannel,
    /// As long as their request: registered for it, and ended here.
    OfRequest,
    /// As long as their request: the server ends them with its answer (SMB2_CHANNEL_RDMA_V1_INVALIDATE).
    EndedByServer,
}

impl Terms {
    /// As a step asks for.
    pub fn of(spec: &FileSpec) -> Terms {
        let (depth, size) = (spec.depth as usize, spec.size_bytes as u32);
        let keys = match (spec.invalidate, spec.register_each) {
            (true, _) => Keys::EndedByServer,
            (false, true) => Keys::OfRequest,
            (false, false) => Keys::OfChannel,
        };
        Terms { depth, size, descriptors: spec.descriptors, keys }
    }
}

/// The place of a request.
struct Place {
    region: Arc<Region>,
    /// What lets the server in, while it does, and how a request says so.
    open: Option<(Hold, Placement)>,
}

/// What is to be given back.
#[derive(Clone, Copy)]
enum Hold {
    Exposed(RegionId),
    Lent(LoanId),
}

/// The places of one channel.
pub struct Lent {
    places: Vec<Place>,
    terms: Terms,
    /// What keys are of that the server is to end.
    form: Option<LoanForm>,
}

impl Lent {
    /// Places for all requests that may be under way.
    pub fn new(link: &mut Link, terms: Terms) -> Result<Lent, String> {
        let mut lent = Lent { places: Vec::with_capacity(terms.depth), terms, form: None };
        for _ in 0..terms.depth {
            let region = Region::new(terms.size.into(), Pages::Default).map_err(|error| error.to_string())?;
            let mut place = Place { region: Arc::new(region), open: None };
            // What an adapter cannot do shows before anything is measured; the first requests use what was opened here.
            if terms.keys != Keys::OfRequest {
                let opened = open(link, &place.region, terms, &mut lent.form);
                place.open =
                    Some(opened.map_err(|error| format!("no memory can be lent to the server: {error}"))?);
            }
            lent.places.push(place);
        }
        Ok(lent)
    }

    /// All of a place, for one request.
    pub fn placement(&mut self, link: &mut Link, at: usize) -> Result<Option<Placement>, TransportError> {
        let Some(place) = self.places.get_mut(at) else { return Ok(None) };
        let (_, placement) = match place.open {
            Some(open) => open,
            None => *place.open.insert(open(link, &place.region, self.terms, &mut self.form)?),
        };
        Ok(Some(placement))
    }

    /// The request of a place has its answer, which came as `arrival` says. Who has ended its key, where that is asked of the server.
    pub fn answered(
        &mut self,
        link: &mut Link,
        at: usize,
        arrival: &Arrival,
    ) -> Result<Option<EndedBy>, TransportError> {
        if self.terms.keys != Keys::EndedByServer && arrival.endings > 0 {
            let detail = "it ended one that it was not asked to end (channel V1)".into();
            return Err(TransportError::Protocol { operation: "SMB Direct".into(), detail });
        }
        let Some(place) = self.places.get_mut(at).filter(|_| self.terms.keys != Keys::OfChannel) else {
            return Ok(None);
        };
        match place.open.take() {
            None => Ok(None),
            Some((Hold::Exposed(id), _)) => link.pipe_mut().withdraw(id).map(|()| None),
            Some((Hold::Lent(id), _)) => link.pipe_mut().take_back(id, arrival).map(Some),
        }
    }

    /// What keys are of that the server is to end; `None` where they live on.
    pub fn form(&self) -> Option<LoanForm> {
        self.form
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

fn open(
    link: &mut Link,
    region: &Arc<Region>,
    terms: Terms,
    form: &mut Option<LoanForm>,
) -> Result<(Hold, Placement), TransportError> {
    let (hold, address, key, channel) = if terms.keys == Keys::EndedByServer {
        let loan = link.pipe_mut().lend(region, Access::RemoteReadWrite)?;
        *form = Some(loan.form);
        (Hold::Lent(loan.id), loan.address, loan.key, Channel::Ended)
    } else {
        let exposed = link.pipe_mut().expose(region, Access::RemoteReadWrite)?;
        (Hold::Exposed(exposed.id), exposed.address, exposed.key, Channel::Kept)
    };
    let placement = Placement::new(&cut(address, key, terms.size, terms.descriptors), channel);
    let placement = placement.ok_or_else(|| TransportError::invalid("a request without memory"))?;
    Ok((hold, placement))
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
