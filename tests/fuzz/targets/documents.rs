//! A result document from anywhere: it is refused, or judged and rendered in every form without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pathproof_model::Criteria;
use pathproof_report::{Hlog, Json, Render, Text};

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut doc) = pathproof_model::lift::read(bytes) else { return };
    pathproof_model::judge_into(&mut doc, &Criteria::default());
    for form in [&Text { colour: true } as &dyn Render, &Json, &Hlog] {
        // An error is an answer; a panic is not.
        let _ = form.render(&doc, &mut std::io::sink());
    }
});
