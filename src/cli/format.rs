//! What a report is printed as.

use clap::ValueEnum;

/// Formats of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people, one terminal page.
    #[default]
    Text,
    /// The result document.
    Json,
    /// HdrHistogram interval log.
    Hlog,
}
