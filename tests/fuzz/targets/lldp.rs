//! LLDP frames as anybody on the wire may send them: nothing panics, and what is read is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pathproof_engine::lldp;

fuzz_target!(|bytes: &[u8]| {
    let Some(said) = lldp::parse(bytes) else { return };
    assert!(said.ttl_s > 0 && !said.chassis.is_empty() && !said.port.is_empty());
    // Each byte that cannot be read becomes three.
    let texts = [Some(&said.chassis), Some(&said.port), said.system_name.as_ref(), said.system_description.as_ref()];
    assert!(texts.into_iter().flatten().all(|text| text.len() <= 3 * 255));
    assert!(said.vlans.iter().all(|vlans| vlans.len() <= 256 && vlans.is_sorted()));
    if let Some(dcb) = &said.dcb {
        assert!(dcb.ets.iter().all(|ets| ets.bandwidth_percent.len() == 8 && ets.class_of_priority.len() == 8));
        assert!(dcb.pfc.iter().all(|pfc| pfc.enabled_priorities.iter().all(|priority| *priority < 8)));
        assert!(dcb.applications.iter().flatten().all(|one| one.priority < 8));
    }
    // What follows the end of a frame changes nothing.
    if let Some(end) = bytes.windows(2).position(|two| two == [0, 0]) {
        let _ = lldp::parse(&bytes[..end]);
    }
});
