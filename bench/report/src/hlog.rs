//! The HdrHistogram interval log, version 1.2 of the format, as the plotting tools of that project read it.
//!
//! One line for each histogram of the document, tagged `STEP.NAME[.FLOW].HISTOGRAM[.laneN]`, with the flow where a step has several. Values stay in ns; the
//! column for people (`Interval_Max`) is in ms.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};
use pathproof_model::{HistogramRecord, ResultDoc, Step};

use crate::{Render, Shown};

/// The histograms of a document as an interval log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hlog;

impl Render for Hlog {
    fn render(&self, doc: &ResultDoc, out: &mut dyn io::Write) -> io::Result<()> {
        let mut serializer = V2DeflateSerializer::new();
        let mut out = out;
        let mut log = IntervalLogWriterBuilder::new()
            .add_comment("[Histogram log format version 1.2]")
            .add_comment(
                Shown::new(format!("[{} {}, started {}]", doc.tool.name, doc.tool.version, doc.started_at))
                    .as_str(),
            )
            .add_comment("[Times are seconds since the start of the run; values are ns, Interval_Max is ms]")
            .with_max_value_divisor(1e6)
            .begin_log_with(&mut out, &mut serializer)?;
        for (index, step) in doc.steps.iter().enumerate() {
            for record in &step.histograms {
                let histogram = decode(record)?;
                let start = Duration::from_nanos(step.started_ns);
                let length = Duration::from_nanos(step.summary.window_ns.unwrap_or(step.elapsed_ns));
                let tag = tag(index, step, record);
                log.write_histogram(&histogram, start, length, Tag::new(&tag)).map_err(|e| match e {
                    IntervalLogWriterError::IoError(e) => e,
                    IntervalLogWriterError::SerializeError(e) => unreadable(record, format!("{e:?}")),
                })?;
            }
        }
        Ok(())
    }
}

/// Tags hold no comma, space or line break.
fn tag(index: usize, step: &Step, record: &HistogramRecord) -> String {
    let lane = record.lane.map(|lane| format!(".lane{lane}")).unwrap_or_default();
    let words = step.name.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
    let name = words.collect::<Vec<_>>().join("-");
    let plain =
        |text: &str| -> String { text.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect() };
    let histogram = record.name.word();
    let of = record.flow.and_then(|number| step.flows.get(usize::from(number)));
    let flow = of.filter(|_| step.flows.len() > 1).map(|flow| format!(".{}", plain(&flow.name)));
    format!("{index}.{name}{}.{histogram}{lane}", flow.unwrap_or_default())
}

pub(crate) fn decode(record: &HistogramRecord) -> io::Result<Histogram<u64>> {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(&record.hdr_v2_base64)
        .map_err(|e| unreadable(record, e.to_string()))?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|e| unreadable(record, format!("{e:?}")))
}

fn unreadable(record: &HistogramRecord, why: String) -> io::Error {
    let text = format!("histogram {:?} of the document cannot be read: {why}", record.name.word());
    io::Error::new(io::ErrorKind::InvalidData, text)
}
