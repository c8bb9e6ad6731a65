//! What is known of every ordered pair, a matrix for each figure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A figure of each pair: a row for each sender, in it a column for each receiver.
pub type Matrix = Vec<Vec<Option<u64>>>;

/// The figures of all pairs. An empty matrix is one of which nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Matrices {
    /// Goodput, as the receiver counted it, in bit/s.
    pub goodput_bits_per_s: Matrix,
    /// The lowest of any second of it, in bit/s.
    pub worst_second_bits_per_s: Matrix,
    /// Segments sent again.
    pub retransmits: Matrix,
    /// Largest IP packet that arrives whole, in bytes.
    pub ip_mtu_bytes: Matrix,
    /// Round trip, median, in ns; the lower rank asked.
    pub rtt_p50_ns: Matrix,
    /// Round trip, 99th percentile, in ns.
    pub rtt_p99_ns: Matrix,
    /// What became of the pair: a place in `reasons`, 0 where all went well, `null` where it was not to be measured.
    pub code: Matrix,
    /// What the codes stand for.
    pub reasons: Vec<String>,
}

/// What is known of one ordered pair.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cell {
    /// Goodput, in bit/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goodput_bits_per_s: Option<u64>,
    /// The lowest of any second of it, in bit/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worst_second_bits_per_s: Option<u64>,
    /// Segments sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retransmits: Option<u64>,
    /// Largest IP packet that arrives whole, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_mtu_bytes: Option<u64>,
    /// Round trip, median, in ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_p50_ns: Option<u64>,
    /// Round trip, 99th percentile, in ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_p99_ns: Option<u64>,
    /// Why something is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What code 0 stands for.
const WELL: &str = "measured";
/// Reasons that a document tells apart; those beyond are one.
const REASONS_MAX: usize = 64;
/// What those are called.
const OTHER: &str = "another reason";

impl Matrices {
    /// Whether no pair was measured.
    pub fn is_empty(&self) -> bool {
        self.code.iter().flatten().all(Option::is_none)
    }

    /// Puts in what became known of a pair of `hosts`. What was known before stays where nothing new is said; a reason stands until
    /// something is measured that it was the reason for.
    pub fn put(&mut self, hosts: usize, (from, to): (usize, usize), cell: &Cell) {
        if from >= hosts || to >= hosts || from == to {
            return;
        }
        let figures = [
            (&mut self.goodput_bits_per_s, cell.goodput_bits_per_s),
            (&mut self.worst_second_bits_per_s, cell.worst_second_bits_per_s),
            (&mut self.retransmits, cell.retransmits),
            (&mut self.ip_mtu_bytes, cell.ip_mtu_bytes),
            (&mut self.rtt_p50_ns, cell.rtt_p50_ns),
            (&mut self.rtt_p99_ns, cell.rtt_p99_ns),
        ];
        for (matrix, figure) in figures {
            if figure.is_some() {
                place(matrix, hosts)[from][to] = figure;
            }
        }
        let code = match &cell.reason {
            Some(reason) => self.code_of(reason),
            None => self.code_of(WELL),
        };
        let known = &mut place(&mut self.code, hosts)[from][to];
        // The first reason is nearer to the cause than what follows from it.
        if known.is_none_or(|before| before == 0) {
            *known = Some(code);
        }
    }

    /// The reason that something of a pair is not known, where there is one.
    pub fn reason(&self, from: usize, to: usize) -> Option<&str> {
        let code = (*self.code.get(from)?.get(to)?)?;
        (code > 0).then(|| self.reasons.get(code as usize).map(String::as_str)).flatten()
    }

    /// The place of a reason in the list.
    fn code_of(&mut self, reason: &str) -> u64 {
        if self.reasons.is_empty() {
            self.reasons.push(WELL.into());
        }
        let full = self.reasons.len() >= REASONS_MAX && !self.reasons.iter().any(|known| known == reason);
        let reason = if full { OTHER } else { reason };
        let at = self.reasons.iter().position(|known| known == reason);
        at.unwrap_or_else(|| {
            self.reasons.push(reason.into());
            self.reasons.len() - 1
        }) as u64
    }
}

/// The matrix, made to hold so many hosts.
fn place(matrix: &mut Matrix, hosts: usize) -> &mut Matrix {
    if matrix.len() != hosts {
        *matrix = vec![vec![None; hosts]; hosts];
    }
    matrix
}
