//! How the lanes of a step stand in a document: what the kernel knew of their connections is one table of the step, a
//! column for each figure, beside the lanes. In memory, and on its way between the ends, each lane has its own.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::evidence::{ConnectionColumns, ConnectionFigureColumns, of_row, shortest};
use crate::{Connection, LaneResult, NodeId};

/// What the kernel knew of the TCP connections of a step when the lanes over them ended (`TCP_INFO`): a row for each
/// connection, a column for each figure. A column that is absent is zero in every row, one with a single value has it in
/// every row; null is unknown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Connections {
    /// Whose it is: `lane` in `lanes`.
    pub lane: Vec<u32>,
    /// The node that says so.
    pub node: Vec<NodeId>,
    /// Which of the lane's paths, where it has several (`stripe.paths`); absent where no lane has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<Option<u32>>,
    /// Both ends use time stamps (RFC 7323).
    pub timestamps: Vec<Option<bool>>,
    /// Both ends use selective acknowledgements (RFC 2018).
    pub selective_acknowledgements: Vec<Option<bool>>,
    /// Both ends scale their windows (RFC 7323).
    pub window_scaling: Vec<Option<bool>>,
    /// Both ends take marks of congestion (RFC 3168).
    pub congestion_marks: Vec<Option<bool>>,
    /// The last rate was the sender's: it had nothing to send.
    pub application_limited: Vec<Option<bool>>,
    /// Numbers.
    #[serde(flatten)]
    pub counts: ConnectionColumns,
    /// More numbers; a column that is absent is unknown in every row.
    #[serde(flatten)]
    pub figures: ConnectionFigureColumns,
}

/// A connection's place: lane, node, path.
type Place = (u32, NodeId, Option<u32>);

impl Connections {
    fn of(rows: &[(Place, Connection)]) -> Connections {
        let each = |known: fn(&Connection) -> Option<bool>| {
            shortest(rows.iter().map(|(_, row)| known(row)).collect())
        };
        let paths: Vec<_> = rows.iter().map(|((_, _, path), _)| *path).collect();
        Connections {
            lane: rows.iter().map(|((lane, ..), _)| *lane).collect(),
            node: rows.iter().map(|((_, node, _), _)| *node).collect(),
            path: if paths.iter().all(Option::is_none) { vec![] } else { paths },
            timestamps: each(|row| row.timestamps),
            selective_acknowledgements: each(|row| row.selective_acknowledgements),
            window_scaling: each(|row| row.window_scaling),
            congestion_marks: each(|row| row.congestion_marks),
            application_limited: each(|row| row.application_limited),
            counts: ConnectionColumns::of(rows.iter().map(|(_, row)| &row.counts)),
            figures: ConnectionFigureColumns::of(rows.iter().map(|(_, row)| &row.figures)),
        }
    }

    fn rows(&self) -> impl Iterator<Item = (Place, Connection)> {
        self.lane.iter().zip(&self.node).enumerate().map(|(row, (lane, node))| {
            let connection = Connection {
                timestamps: of_row(&self.timestamps, row),
                selective_acknowledgements: of_row(&self.selective_acknowledgements, row),
                window_scaling: of_row(&self.window_scaling, row),
                congestion_marks: of_row(&self.congestion_marks, row),
                application_limited: of_row(&self.application_limited, row),
                counts: self.counts.row(row),
                figures: self.figures.row(row),
            };
            ((*lane, *node, self.path.get(row).copied().flatten()), connection)
        })
    }
}

/// The lanes of a step as they stand in a document.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Lanes {
    /// One entry for each lane and end.
    lanes: Vec<LaneResult>,
    /// What the kernel knew of their connections; absent where there were none of TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<Connections>,
}

pub(crate) fn serialize<S: Serializer>(lanes: &[LaneResult], to: S) -> Result<S::Ok, S::Error> {
    let mut lanes = lanes.to_vec();
    let mut rows = Vec::new();
    for lane in &mut lanes {
        let (number, node) = (lane.lane, lane.end.node());
        rows.extend(lane.connection.take().map(|own| ((number, node, None), own)));
        let paths = lane.stripe.iter_mut().flat_map(|stripe| &mut stripe.paths);
        rows.extend(
            (0..)
                .zip(paths)
                .filter_map(|(path, own)| Some(((number, node, Some(path)), own.connection.take()?))),
        );
    }
    let connections = (!rows.is_empty()).then(|| Connections::of(&rows));
    Lanes { lanes, connections }.serialize(to)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<LaneResult>, D::Error> {
    let Lanes { mut lanes, connections } = Lanes::deserialize(from)?;
    for ((number, node, path), connection) in connections.iter().flat_map(Connections::rows) {
        // A row without a lane says nothing of this step.
        let Some(lane) = lanes.iter_mut().find(|lane| (lane.lane, lane.end.node()) == (number, node)) else {
            continue;
        };
        match path {
            None => lane.connection = Some(connection),
            Some(path) => {
                let paths = lane.stripe.as_mut().map(|stripe| &mut stripe.paths);
                if let Some(own) = paths.and_then(|paths| paths.get_mut(path as usize)) {
                    own.connection = Some(connection);
                }
            }
        }
    }
    Ok(lanes)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::evidence::ConnectionFigures;
    use crate::{ConnectionCounts, End, PathRecord, Step, StepKind, StripeRecord};

    fn connection(rtt_ns: Option<u64>, timeouts: u64) -> Option<Connection> {
        let counts = ConnectionCounts { rtt_ns, timeouts: Some(timeouts), ..ConnectionCounts::still() };
        Some(Connection { timestamps: Some(true), counts, ..Connection::default() })
    }

    fn step() -> Step {
        let path = |own| PathRecord { connection: own, ..PathRecord::default() };
        let paths = vec![path(None), path(connection(Some(9), 1))];
        let mut step = Step::new(StepKind::Stream, "two");
        step.lanes = vec![
            LaneResult { end: End::Client, connection: connection(Some(5), 0), ..LaneResult::default() },
            LaneResult { end: End::Server, connection: connection(None, 0), ..LaneResult::default() },
            LaneResult {
                lane: 1,
                end: End::Client,
                stripe: Some(StripeRecord { paths, ..StripeRecord::default() }),
                ..LaneResult::default()
            },
        ];
        step
    }

    #[test]
    fn a_document_holds_connections_in_columns_and_reads_them_back() {
        let value = serde_json::to_value(step()).unwrap();
        let table = json!({
            "lane": [0, 0, 1], "node": [0, 1, 0], "path": [null, null, 1],
            "timestamps": [true], "selective_acknowledgements": [null], "window_scaling": [null],
            "congestion_marks": [null], "application_limited": [null], "rtt_ns": [5, null, 9], "timeouts": [0, 0, 1],
        });
        assert_eq!(value["connections"], table);
        assert!(value["lanes"].as_array().unwrap().iter().all(|lane| lane.get("connection").is_none()));
        assert_eq!(serde_json::from_value::<Step>(value).unwrap(), step());
    }

    #[test]
    fn figures_that_no_row_has_are_absent_and_unknown_and_others_come_back() {
        let mut step = step();
        let known = ConnectionFigures { pacing_bits_per_s: Some(7), ..ConnectionFigures::default() };
        step.lanes[0].connection.as_mut().unwrap().figures = known;
        let value = serde_json::to_value(&step).unwrap();
        assert_eq!(value["connections"]["pacing_bits_per_s"], json!([7, null, null]));
        assert!(value["connections"].get("rtt_variation_ns").is_none());
        assert_eq!(serde_json::from_value::<Step>(value).unwrap(), step);
    }

    #[test]
    fn rows_that_are_short_or_of_no_lane_are_unknown_and_no_error() {
        let mut value = serde_json::to_value(step()).unwrap();
        value["connections"]["lane"][1] = 7.into();
        value["connections"]["path"][2] = 9.into();
        value["connections"]["rtt_ns"] = json!([]);
        value["connections"]["timeouts"] = json!([3, 4]);
        let lanes = serde_json::from_value::<Step>(value).unwrap().lanes;
        let known = lanes[0].connection.as_ref().unwrap();
        assert_eq!((known.counts.rtt_ns, known.counts.timeouts), (Some(0), Some(3)));
        assert_eq!(lanes[1].connection, None);
        assert_eq!(lanes[2].stripe.as_ref().unwrap().paths[1].connection, None);
    }

    #[test]
    fn lanes_without_connections_stand_alone() {
        let none = serde_json::to_value(Step::new(StepKind::Reach, "reach")).unwrap();
        assert_eq!((&none["lanes"], none.get("connections")), (&json!([]), None::<&Value>));
    }
}
