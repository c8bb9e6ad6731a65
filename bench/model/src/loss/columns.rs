//! How the flows and marks of a path stand in a document: a column for each figure, a row for each flow or mark. It
//! refuses columns of different lengths: what is missing would read as zero.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{ArrivedMark, LossCounts, LossFlow, LossMark};

/// [`LossCounts`] of many. Columns other than `sent` and `received` are left out where they are 0 throughout.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct LossColumns {
    /// Put on the wire.
    sent: Vec<u64>,
    /// Not taken by the sending interface or refused by a router as too large: neither sent nor lost.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<u64>,
    /// Arrived at least once.
    received: Vec<u64>,
    /// Further copies that arrived (RFC 5560).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    duplicated: Vec<u64>,
    /// Arrived after one that was sent later in the same flow with the same mark (RFC 4737).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reordered: Vec<u64>,
    /// Took at least 50 ms longer than the fastest on the path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    late: Vec<u64>,
}

impl LossColumns {
    fn of<'a>(rows: impl Iterator<Item = &'a LossCounts> + Clone) -> LossColumns {
        let column = |figure: fn(&LossCounts) -> u64| -> Vec<u64> { rows.clone().map(figure).collect() };
        let moved = |figure| Some(column(figure)).filter(|own| own.iter().any(|count| *count > 0));
        LossColumns {
            sent: column(|row| row.sent),
            refused: moved(|row| row.refused).unwrap_or_default(),
            received: column(|row| row.received),
            duplicated: moved(|row| row.duplicated).unwrap_or_default(),
            reordered: moved(|row| row.reordered).unwrap_or_default(),
            late: moved(|row| row.late).unwrap_or_default(),
        }
    }

    fn rows<E: Error>(&self, length: usize) -> Result<Vec<LossCounts>, E> {
        let left_out = [&self.refused, &self.duplicated, &self.reordered, &self.late];
        same_length::<E>(length, [self.sent.len(), self.received.len()])?;
        same_length::<E>(length, left_out.map(|own| if own.is_empty() { length } else { own.len() }))?;
        let at = |column: &[u64], row: usize| column.get(row).copied().unwrap_or(0);
        let counts = |row| LossCounts {
            sent: at(&self.sent, row),
            refused: at(&self.refused, row),
            received: at(&self.received, row),
            duplicated: at(&self.duplicated, row),
            reordered: at(&self.reordered, row),
            late: at(&self.late, row),
        };
        Ok((0..length).map(counts).collect())
    }
}

fn same_length<E: Error>(length: usize, others: impl IntoIterator<Item = usize>) -> Result<(), E> {
    match others.into_iter().find(|other| *other != length) {
        None => Ok(()),
        Some(other) => Err(E::custom(format!("columns of {length} and of {other} rows"))),
    }
}

/// The flows of a path: a row for each source port.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct FlowColumns {
    /// Source port.
    port: Vec<u16>,
    /// Whether the other end answered over this flow before anything was sent.
    answered: Vec<bool>,
    /// Small datagrams.
    small: LossColumns,
    /// Full-size ones.
    full: LossColumns,
    /// Those of the small ones that had the size of Ethernet's own MTU (1500 bytes), where full size is more: left out where there were none. A
    /// flow that carries none of them has them here alone, and not among its small ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    standard: Option<LossColumns>,
    /// How much longer the fastest datagram of each took than the fastest of the path, in ns; left out where no receiver said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    least_delay_ns: Option<Vec<Option<u64>>>,
    /// Datagrams that the sending host itself refused; left out where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<Vec<u64>>,
}

impl FlowColumns {
    pub fn serialize<S: Serializer>(flows: &[LossFlow], to: S) -> Result<S::Ok, S::Error> {
        FlowColumns {
            port: flows.iter().map(|flow| flow.port).collect(),
            answered: flows.iter().map(|flow| flow.answered).collect(),
            small: LossColumns::of(flows.iter().map(|flow| &flow.small)),
            full: LossColumns::of(flows.iter().map(|flow| &flow.full)),
            standard: flows
                .iter()
                .any(|flow| flow.standard.sent > 0)
                .then(|| LossColumns::of(flows.iter().map(|flow| &flow.standard))),
            least_delay_ns: flows
                .iter()
                .any(|flow| flow.least_delay_ns.is_some())
                .then(|| flows.iter().map(|flow| flow.least_delay_ns).collect()),
            failed: flows
                .iter()
                .any(|flow| flow.failed > 0)
                .then(|| flows.iter().map(|flow| flow.failed).collect()),
        }
        .serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<LossFlow>, D::Error> {
        let own = <FlowColumns as Deserialize>::deserialize(from)?;
        same_length::<D::Error>(own.port.len(), [own.answered.len()])?;
        let length = own.port.len();
        let (small, full) = (own.small.rows(length)?, own.full.rows(length)?);
        let standard = match own.standard {
            Some(columns) => columns.rows(length)?,
            None => vec![LossCounts::default(); length],
        };
        let least = own.least_delay_ns.unwrap_or_else(|| vec![None; length]);
        let failed = own.failed.unwrap_or_else(|| vec![0; length]);
        same_length::<D::Error>(length, [least.len(), failed.len()])?;
        let flows = own
            .port
            .into_iter()
            .zip(own.answered)
            .zip(small.into_iter().zip(full).zip(standard))
            .zip(least.into_iter().zip(failed));
        let flow = |(((port, answered), ((small, full), standard)), (least_delay_ns, failed))| LossFlow {
            port,
            answered,
            small,
            full,
            standard,
            least_delay_ns,
            failed,
        };
        Ok(flows.map(flow).collect())
    }
}

/// The marks of a path: a row for each traffic class.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct MarkColumns<'a> {
    /// DSCP as sent (RFC 2474).
    dscp: Vec<u8>,
    /// ECN bits as sent (RFC 3168).
    ecn: Vec<u8>,
    /// What was counted; full-size datagrams of flows that carry none are left out.
    counts: LossColumns,
    /// How much longer the fastest datagram of each took than the fastest of the path, in ns; left out where no receiver said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    least_delay_ns: Option<Vec<Option<u64>>>,
    /// How they arrived, each with its number.
    arrived: Vec<Cow<'a, [ArrivedMark]>>,
}

impl MarkColumns<'_> {
    pub fn serialize<S: Serializer>(marks: &[LossMark], to: S) -> Result<S::Ok, S::Error> {
        MarkColumns {
            dscp: marks.iter().map(|mark| mark.dscp).collect(),
            ecn: marks.iter().map(|mark| mark.ecn).collect(),
            counts: LossColumns::of(marks.iter().map(|mark| &mark.counts)),
            least_delay_ns: marks
                .iter()
                .any(|mark| mark.least_delay_ns.is_some())
                .then(|| marks.iter().map(|mark| mark.least_delay_ns).collect()),
            arrived: marks.iter().map(|mark| Cow::Borrowed(&mark.arrived[..])).collect(),
        }
        .serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<LossMark>, D::Error> {
        let own = <MarkColumns as Deserialize>::deserialize(from)?;
        let length = own.dscp.len();
        let least = own.least_delay_ns.unwrap_or_else(|| vec![None; length]);
        same_length::<D::Error>(length, [own.ecn.len(), own.arrived.len(), least.len()])?;
        let counts: Vec<LossCounts> = own.counts.rows(length)?;
        let marks = own.dscp.into_iter().zip(own.ecn).zip(counts).zip(least.into_iter().zip(own.arrived));
        Ok(marks
            .map(|(((dscp, ecn), counts), (least_delay_ns, arrived))| LossMark {
                dscp,
                ecn,
                counts,
                least_delay_ns,
                arrived: arrived.into(),
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn flows_and_marks_are_columns_and_columns_of_different_lengths_are_none() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Both {
            #[serde(with = "FlowColumns")]
            flows: Vec<LossFlow>,
            #[serde(with = "MarkColumns")]
            marks: Vec<LossMark>,
        }
        let counts = |sent, received, late| LossCounts { sent, received, late, ..LossCounts::default() };
        let flow = |port, late| LossFlow { port, small: counts(9, 8, late), ..LossFlow::default() };
        let arrived = vec![ArrivedMark { dscp: 26, ecn: 0, count: 7 }];
        let both = Both {
            flows: vec![flow(5, 0), flow(6, 2)],
            marks: vec![LossMark { dscp: 26, counts: counts(7, 7, 0), arrived, ..LossMark::default() }],
        };
        let value = serde_json::to_value(&both).unwrap();
        let none = json!({ "sent": [0, 0], "received": [0, 0] });
        let small = json!({ "sent": [9, 9], "received": [8, 8], "late": [0, 2] });
        let flows = json!({ "port": [5, 6], "answered": [false, false], "small": small, "full": none });
        assert_eq!(value["flows"], flows);
        let read = |value: &Value| serde_json::from_value::<Both>(value.clone());
        assert_eq!(read(&value).unwrap(), both);
        let mut jumbo = both;
        jumbo.flows[1].standard = counts(3, 3, 0);
        let value = serde_json::to_value(&jumbo).unwrap();
        assert_eq!(value["flows"]["standard"], json!({ "sent": [0, 3], "received": [0, 3] }));
        assert_eq!(read(&value).unwrap(), jumbo);
        assert_eq!(value["marks"].get("least_delay_ns"), None);
        jumbo.flows[1].least_delay_ns = Some(7);
        jumbo.flows[0].failed = 2;
        jumbo.marks[0].least_delay_ns = Some(30);
        let value = serde_json::to_value(&jumbo).unwrap();
        assert_eq!(
            (&value["flows"]["least_delay_ns"], &value["flows"]["failed"]),
            (&json!([null, 7]), &json!([2, 0]))
        );
        assert_eq!(value["marks"]["least_delay_ns"], json!([30]));
        assert_eq!(read(&value).unwrap(), jumbo);
        let columns = [
            ("/flows/small", "late"),
            ("/flows/full", "sent"),
            ("/flows", "answered"),
            ("/flows", "least_delay_ns"),
            ("/flows", "failed"),
        ];
        for (part, column) in columns {
            let mut short = value.clone();
            short.pointer_mut(part).unwrap()[column].as_array_mut().unwrap().pop();
            assert!(
                read(&short).unwrap_err().to_string().contains("columns of 2 and of 1"),
                "{part} {column}"
            );
        }
    }
}
