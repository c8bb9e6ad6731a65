//! The memory of the whole server: what all clients together may take, and who has which part of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pathproof_model::units::Bytes;
use pathproof_model::{ErrorKind, StepError};

/// Memory for the steps of all clients.
#[derive(Debug)]
pub struct MemoryBudget {
    total_bytes: u64,
    taken_bytes: AtomicU64,
}

/// A part of it, given back when dropped.
#[derive(Debug)]
pub struct Reserved {
    budget: Arc<MemoryBudget>,
    bytes: u64,
}

impl MemoryBudget {
    /// A budget of which nothing is taken.
    pub fn new(total_bytes: u64) -> Arc<MemoryBudget> {
        Arc::new(MemoryBudget { total_bytes, taken_bytes: AtomicU64::new(0) })
    }

    /// Takes `bytes`, if all that is taken stays within the total.
    pub fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reserved, StepError> {
        let within = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= self.total_bytes);
        match self.taken_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, within) {
            Ok(_) => Ok(Reserved { budget: self.clone(), bytes }),
            Err(taken) => Err(StepError::new(
                ErrorKind::Resource,
                format!(
                    "the peer has {} for all its clients together, of which {} are in use, and this step needs {}; try again when \
                     the others are done, or start it with a higher --limits total=BYTES",
                    Bytes(self.total_bytes),
                    Bytes(taken),
                    Bytes(bytes)
                ),
            )),
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.taken_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t14_all_clients_together_take_no_more_than_the_total() {
        let budget = MemoryBudget::new(100);
        let first = budget.reserve(60).unwrap();
        let error = budget.reserve(41).unwrap_err();
        assert!(error.kind == ErrorKind::Resource && error.message.contains("total="), "{}", error.message);
        assert!(budget.reserve(u64::MAX).is_err(), "no overflow opens it");
        let _second = budget.reserve(40).unwrap();
        assert!(budget.reserve(1).is_err());
        drop(first);
        assert!(budget.reserve(60).is_ok());
    }
}
