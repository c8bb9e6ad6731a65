//! Offers as they cross the control channel: opaque bytes of a transport, one for each lane.
//!
//! Whoever takes them in has planned how many there are and knows that none is large; anything else is a fault of the
//! peer's, and costs nothing.

use pathproof_api::Offer;
use pathproof_model::{ErrorKind, StepError};

use crate::encoding::{decode, encode};

/// Largest offer in bytes: a list of a few hundred addresses. Those of lanes are under a hundred bytes.
const OFFER_BYTES_MAX: usize = 64 << 10;

/// As they are sent.
pub fn to_texts(offers: &[Offer]) -> Vec<String> {
    offers.iter().map(|offer| encode(&offer.0)).collect()
}

/// As they came, where `planned` are awaited.
pub fn from_texts(texts: &[String], planned: usize) -> Result<Vec<Offer>, StepError> {
    let fault = |message: String| Err(StepError::new(ErrorKind::Protocol, message));
    if texts.len() != planned {
        return fault(format!("the peer offered {} lanes and {planned} were planned", texts.len()));
    }
    if texts.iter().any(|text| text.len() > OFFER_BYTES_MAX / 3 * 4) {
        return fault(format!("the peer made an offer of more than {} KiB", OFFER_BYTES_MAX >> 10));
    }
    let decoded: Option<Vec<Offer>> = texts.iter().map(|text| decode(text).map(Offer)).collect();
    decoded.map_or_else(|| fault("the peer's offer of a lane cannot be read".into()), Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t12_offers_are_as_many_as_planned_and_none_is_large() {
        let offers = vec![Offer(vec![1, 2, 3]), Offer::default()];
        let texts = to_texts(&offers);
        assert_eq!(from_texts(&texts, 2).unwrap(), offers);
        for (texts, planned) in [
            (texts.clone(), 1),
            (texts.clone(), 3),
            (vec![], 1),
            (vec!["A".repeat(100_000)], 1),
            (vec!["not base64!".into()], 1),
        ] {
            let error = from_texts(&texts, planned).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Protocol, "{}", error.message);
        }
    }
}
