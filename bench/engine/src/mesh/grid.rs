//! A figure of every ordered pair of hosts, where it is known.

/// `n` × `n` cells; the row is who sends, the column who receives. Nobody has one with itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid<T> {
    hosts: usize,
    cells: Vec<Option<T>>,
}

impl<T: Clone> Grid<T> {
    /// Of so many hosts, nothing known.
    pub fn new(hosts: usize) -> Grid<T> {
        Grid { hosts, cells: vec![None; hosts * hosts] }
    }

    /// The cells from rows; what is missing in them is not known.
    pub fn from_rows(hosts: usize, rows: &[Vec<Option<T>>]) -> Grid<T> {
        let mut grid = Grid::new(hosts);
        for (from, row) in rows.iter().enumerate().take(hosts) {
            for (to, cell) in row.iter().enumerate().take(hosts).filter(|(to, _)| *to != from) {
                grid.cells[from * hosts + to] = cell.clone();
            }
        }
        grid
    }

    /// How many hosts there are.
    pub fn hosts(&self) -> usize {
        self.hosts
    }

    /// What is known from one to another.
    pub fn at(&self, from: usize, to: usize) -> Option<&T> {
        self.cells.get(from * self.hosts + to)?.as_ref()
    }

    /// Puts in, or takes out.
    pub fn set(&mut self, from: usize, to: usize, cell: Option<T>) {
        debug_assert!(from < self.hosts && to < self.hosts && from != to);
        self.cells[from * self.hosts + to] = cell;
    }

    /// The known cells as (from, to, figure), row by row.
    pub fn known(&self) -> impl Iterator<Item = (usize, usize, &T)> {
        self.cells
            .iter()
            .enumerate()
            .filter_map(|(at, cell)| Some((at / self.hosts, at % self.hosts, cell.as_ref()?)))
    }

    /// What is known of one host as sender.
    pub fn row(&self, from: usize) -> impl Iterator<Item = (usize, &T)> {
        let cells = self.cells[from * self.hosts..(from + 1) * self.hosts].iter();
        cells.enumerate().filter_map(|(to, cell)| Some((to, cell.as_ref()?)))
    }

    /// What is known of one host as receiver.
    pub fn column(&self, to: usize) -> impl Iterator<Item = (usize, &T)> {
        (0..self.hosts).filter_map(move |from| Some((from, self.at(from, to)?)))
    }

    /// The same cells, each made anew; one that cannot be made is not known.
    pub fn map<U: Clone>(&self, make: impl Fn(usize, usize, &T) -> Option<U>) -> Grid<U> {
        let cells = self.cells.iter().enumerate();
        let cells = cells.map(|(at, cell)| make(at / self.hosts, at % self.hosts, cell.as_ref()?)).collect();
        Grid { hosts: self.hosts, cells }
    }
}
