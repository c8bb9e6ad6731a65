//! Memory that a wire lends to its peer for one request at a time, under keys that the peer may end by itself (SEND_WITH_INV).
//!
//! Where the device has memory windows of type 2B, the memory is registered once and a window opens it for each loan. On iWARP without them
//! each loan is a registration of its own, whose key a peer can end, too (soft-iWARP). RoCE and InfiniBand allow that for no registration that a program
//! can make (IBTA vol. 1, ch. 10.6: fast registrations are the kernel's), and end the connection over it: there it is refused.
//!
//! A key is never lent again while its peer might still use it: a window whose end was not reported is given up for another one, because
//! whether a window that the peer has ended may be ended here once more is for the device to say.

use std::sync::Arc;

use pathproof_api::{Access, Loan, LoanForm, LoanId, Region, TransportError};

use crate::ffi::{IbvSendWr, k};
use crate::memory_window::MemoryWindow;
use crate::transport::adapter::access_bits;
use crate::verbs::{MemoryRegion, ProtectionDomain};

/// One piece of memory that is lent, or may be lent again.
struct Place {
    // The window goes before the memory behind it: fields drop in this order.
    window: Option<MemoryWindow>,
    memory: Option<MemoryRegion>,
    region: Arc<Region>,
    access: Access,
    lent: bool,
}

/// What one wire has lent.
#[derive(Default)]
pub(crate) struct Loans {
    /// What keys are of here, once that was found out.
    form: Option<LoanForm>,
    places: Vec<Place>,
}

impl Loans {
    /// Lends all of `region`.
    pub(crate) fn lend(
        &mut self,
        domain: &Arc<ProtectionDomain>,
        iwarp: bool,
        region: &Arc<Region>,
        access: Access,
    ) -> Result<Loan, TransportError> {
        let form = match self.form {
            Some(form) => form,
            None => *self.form.insert(form(domain, iwarp)?),
        };
        let fits =
            |place: &Place| !place.lent && place.access == access && Arc::ptr_eq(&place.region, region);
        let at = self.places.iter().position(fits).unwrap_or(self.places.len());
        let id =
            u16::try_from(at).map_err(|_| TransportError::invalid("a wire lends at most 65536 pieces"))?;
        if at == self.places.len() {
            let region = region.clone();
            self.places.push(Place { window: None, memory: None, region, access, lent: false });
        }
        let place = &mut self.places[at];
        let bits = match form {
            LoanForm::Registration => access_bits(access, iwarp),
            // What a window opens is not open otherwise.
            LoanForm::Window => k::IBV_ACCESS_LOCAL_WRITE | k::IBV_ACCESS_MW_BIND,
        };
        let memory = match &mut place.memory {
            Some(memory) => memory,
            // Not shared with others on the device: its key ends with this loan.
            none => none.insert(MemoryRegion::of(domain, region, (0, region.len()), bits)?),
        };
        let key = match (form, &mut place.window) {
            (LoanForm::Registration, _) => memory.remote_key(),
            (LoanForm::Window, Some(window)) => window.key(),
            (LoanForm::Window, none) => none.insert(MemoryWindow::new(domain)?).key(),
        };
        place.lent = true;
        Ok(Loan { id: LoanId(id), address: region.base_address() as u64, key, form })
    }

    /// The work request that opens a loan; `None`: it is no window that waits for that.
    pub(crate) fn request(&self, id: LoanId) -> Option<IbvSendWr> {
        let place = self.places.get(usize::from(id.0)).filter(|place| place.lent)?;
        let bits = access_bits(place.access, false) & !k::IBV_ACCESS_LOCAL_WRITE;
        Some(place.window.as_ref()?.request(place.memory.as_ref()?, bits))
    }

    /// That was posted.
    pub(crate) fn posted(&mut self, id: LoanId) {
        let window = self.places.get_mut(usize::from(id.0)).and_then(|place| place.window.as_mut());
        window.into_iter().for_each(MemoryWindow::posted);
    }

    /// Ends a loan.
    pub(crate) fn take_back(&mut self, id: LoanId, by_peer: bool) -> Result<(), TransportError> {
        let place = self.places.get_mut(usize::from(id.0)).filter(|place| place.lent);
        let place = place.ok_or_else(|| TransportError::invalid("nothing of that name is lent"))?;
        place.lent = false;
        match &mut place.window {
            Some(window) if by_peer => window.freed(),
            Some(_) => place.window = None,
            None => place.memory = None,
        }
        Ok(())
    }
}

/// What a key that the peer may end can be of on this device.
fn form(domain: &Arc<ProtectionDomain>, iwarp: bool) -> Result<LoanForm, TransportError> {
    match MemoryWindow::new(domain) {
        Ok(_) => Ok(LoanForm::Window),
        Err(_) if iwarp => Ok(LoanForm::Registration),
        Err(TransportError::Unsupported { what, why, .. }) => Err(TransportError::Unsupported {
            what,
            why,
            fix: "and nothing else has keys that the peer may end here: leave --invalidate out".into(),
        }),
        Err(error) => Err(error),
    }
}
