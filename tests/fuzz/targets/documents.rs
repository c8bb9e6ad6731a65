//! A result document from anywhere: it is refused, or judged and rendered in every form without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pathproof_model::Criteria;
use pathproof_report::{Csv, Hlog, Html, Json, Junit, Look, OpenMetrics, Render, Screen, Text};

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut doc) = pathproof_model::lift::read(bytes) else { return };
    pathproof_model::judge_into(&mut doc, &Criteria::default());
    let whole = Text { look: Look { colour: true, ..Look::PAGE } };
    // As small as a terminal gets, and in its letters.
    let small =
        Screen { look: Look { columns: 20, rows: 5, colour: false, ascii: true }, more: String::new() };
    let forms: [&dyn Render; 8] = [&whole, &small, &Json, &Hlog, &Html, &Junit, &Csv, &OpenMetrics];
    for form in forms {
        // An error is an answer; a panic is not.
        let _ = form.render(&doc, &mut std::io::sink());
    }
});
