//! How long a queue pair tries, where nobody says otherwise.

/// Transport retries before a request fails. Never 7: Soft-RoCE takes that as "without limit".
pub const RETRY_COUNT: u8 = 6;
/// Exponent of the acknowledgement timeout, 4.096 µs × 2^n (IBTA vol. 1, ch. 9.7.6.1.3): 134 ms.
pub const ACK_TIMEOUT_EXPONENT: u8 = 15;
/// Receiver-not-ready retries: 7 is "without limit", as a slow reader is backpressure and no fault.
pub const RNR_RETRY_COUNT: u8 = 7;
/// Code of the delay before a receiver-not-ready retry: 12 is 0.64 ms (IBTA vol. 1, ch. 9.7.5.2.8).
pub const RNR_TIMER_CODE: u8 = 12;
