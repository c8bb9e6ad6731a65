//! Tables: a column is its head, its kind and how its cell is made, in one place.

use std::fmt::Display;

use crate::Shown;

/// A table, made of [`Column`]s.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The columns.
    pub heads: Vec<(Shown, ColumnKind)>,
    /// The rows from top to bottom.
    pub rows: Vec<Row<Vec<Cell>>>,
}

/// What a column holds, which decides how it is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Names and words.
    Words,
    /// Figures, which people compare by their length.
    Figures,
}

/// A row: of a source from which every column makes its cell, or of none.
#[derive(Clone, Debug, PartialEq)]
pub enum Row<R> {
    /// One thing.
    One(R),
    /// A part of the row above.
    Part(R),
    /// A name for the rows that follow.
    Group(Shown),
    /// So many rows are left out here.
    Omitted(usize),
}

/// A column of rows made of `R`.
pub struct Column<R> {
    head: Shown,
    kind: ColumnKind,
    cell: fn(&R) -> Cell,
}

impl<R> Column<R> {
    /// Names and words.
    pub fn words(head: impl AsRef<str>, cell: fn(&R) -> Cell) -> Column<R> {
        Column { head: head.into(), kind: ColumnKind::Words, cell }
    }

    /// Figures.
    pub fn figures(head: impl AsRef<str>, cell: fn(&R) -> Cell) -> Column<R> {
        Column { head: head.into(), kind: ColumnKind::Figures, cell }
    }
}

impl Table {
    /// The table of `rows` in `columns`; `None` where there is no row.
    pub fn new<R>(columns: &[Column<R>], rows: impl IntoIterator<Item = Row<R>>) -> Option<Table> {
        let cells = |source: R| columns.iter().map(|column| (column.cell)(&source)).collect();
        let rows: Vec<_> = rows
            .into_iter()
            .map(|row| match row {
                Row::One(source) => Row::One(cells(source)),
                Row::Part(source) => Row::Part(cells(source)),
                Row::Group(name) => Row::Group(name),
                Row::Omitted(count) => Row::Omitted(count),
            })
            .collect();
        let heads = columns.iter().map(|column| (column.head.clone(), column.kind)).collect();
        (!rows.is_empty()).then_some(Table { heads, rows })
    }
}

/// What stands in a row under a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Nothing, and nothing is missed.
    Empty,
    /// It is not known.
    Unknown,
    /// A word or a figure with its unit.
    Value(Shown),
    /// A quantity over time.
    Bars {
        /// One value for each slice of time.
        values: Vec<u64>,
        /// It ended before its time.
        stopped: bool,
    },
    /// A length beside others, a part of it hollow.
    Share {
        /// The length.
        length: u64,
        /// The longest in the table.
        longest: u64,
        /// The hollow part, in parts of `whole`.
        part: u64,
        /// What `part` is counted in.
        whole: u64,
        /// What is said beside it.
        note: Shown,
    },
}

impl Cell {
    /// A value.
    pub fn of(value: impl Display) -> Cell {
        Cell::Value(value.to_string().into())
    }

    /// A value, where it is known.
    pub fn known(value: Option<impl Display>) -> Cell {
        value.map_or(Cell::Unknown, Cell::of)
    }
}
