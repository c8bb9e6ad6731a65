//! Memory of this end that is lent to the server, which reaches it by itself: a place for each request under way, registered once, before anything is measured.

use std::sync::Arc;

use pathproof_api::{Access, MessagePipe, Pages, Region};
use pathproof_smb2::direct::{Channel, Descriptor, Placement};

use super::carrier::Link;

/// What a place holds before a server is to put something there: no content is made of it.
const NOTHING: u8 = 0xA5;

/// A connection that belongs to a session, and what memory it may reach.
pub struct Joined {
    pub link: Link,
    pub lent: Option<Lent>,
}

/// The places of one channel.
pub struct Lent {
    region: Arc<Region>,
    address: u64,
    token: u32,
    size: u32,
}

impl Lent {
    /// Places for `depth` requests of `size` bytes.
    pub fn new(link: &mut Link, depth: usize, size: u32) -> Result<Lent, String> {
        let bytes = depth as u64 * u64::from(size);
        let region = Region::new(bytes, Pages::Default).map_err(|error| error.to_string())?;
        let region = Arc::new(region);
        let exposed = link
            .pipe_mut()
            .expose(&region, Access::RemoteReadWrite)
            .map_err(|error| format!("memory cannot be registered with the adapter: {error}"))?;
        Ok(Lent { region, address: exposed.address, token: exposed.key, size })
    }

    fn at(&self, place: usize) -> u64 {
        place as u64 * u64::from(self.size)
    }

    /// All of a place, for one request.
    pub fn placement(&self, place: usize) -> Option<Placement> {
        let address = self.address + self.at(place);
        Placement::new(&[Descriptor { address, token: self.token, length: self.size }], Channel::Kept)
    }

    /// Puts data into a place, for the server to fetch.
    pub fn put(&self, place: usize, data: &[u8]) -> bool {
        self.region.copy_in(self.at(place), data).is_ok()
    }

    /// Fills a place with what no file holds, so that what a server does not put there is missed.
    pub fn clear(&self, place: usize) -> bool {
        self.region.fill(self.at(place), u64::from(self.size), NOTHING).is_ok()
    }

    /// Takes out what the server put into a place.
    pub fn take(&self, place: usize, data: &mut [u8]) -> bool {
        self.region.copy_out(self.at(place), data).is_ok()
    }
}
