//! A queue-pair address as the peer offers it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pathproof_rdma::offer::Address;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(address) = Address::decode(bytes) {
        let again = Address::decode(&address.encode()).expect("what was read can be written and read again");
        assert_eq!(again.encode(), address.encode());
    }
});
