//! Columns of text. Cells are shown as they are given: escape names first.

use std::fmt;

/// A table that is printed when it is complete: each column is as wide as its widest cell.
#[derive(Debug, Clone)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With the titles of its columns.
    pub fn new<const COLUMNS: usize>(titles: [&str; COLUMNS]) -> Self {
        Self { rows: vec![titles.iter().map(|title| (*title).to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn row<const COLUMNS: usize>(&mut self, cells: [String; COLUMNS]) {
        self.rows.push(cells.into());
    }

    /// Leaves a column out in which no row has anything but `-`.
    pub fn leave_out_empty(&mut self, title: &str) {
        let Some((titles, rows)) = self.rows.split_first() else { return };
        let Some(column) = titles.iter().position(|known| known == title) else { return };
        if rows.iter().all(|row| row.get(column).is_none_or(|cell| cell == "-")) {
            for row in &mut self.rows {
                row.remove(column);
            }
        }
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(|column| self.width(column)).collect();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                if column + 1 == row.len() {
                    writeln!(f, "{cell}")?;
                } else {
                    let width = widths[column];
                    write!(f, "{cell:width$}  ")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["NAME", "WHAT"]);
        table.row(["größe".to_owned(), "x".to_owned()]);
        assert_eq!(table.to_string(), "NAME   WHAT\ngröße  x\n");
    }
}
