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

    /// Makes it fit a screen, whose lines would be broken else: leaves out columns with these titles, one after the
    /// other, and cuts the last one. What is narrower still stays as wide as it is.
    pub fn fit(&mut self, screen: usize, less: &[&str]) {
        for title in less {
            if self.others() + LEAST <= screen {
                break;
            }
            let titles = self.rows.first();
            let Some(column) = titles.and_then(|t| t.iter().position(|known| known == title))
            else {
                continue;
            };
            for row in &mut self.rows {
                row.remove(column);
            }
        }
        let room = screen.saturating_sub(self.others()).max(LEAST);
        for cell in self.rows.iter_mut().filter_map(|row| row.last_mut()) {
            if let Some((end, _)) = cell.char_indices().nth(room - 1)
                && cell.chars().nth(room).is_some()
            {
                cell.truncate(end);
                cell.push('…');
            }
        }
    }

    /// How wide all columns but the last are.
    fn others(&self) -> usize {
        let columns = self.rows.first().map_or(0, Vec::len).saturating_sub(1);
        (0..columns).map(|column| self.width(column) + 2).sum()
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }
}

/// Characters that are left of a last column.
const LEAST: usize = 12;

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

    #[test]
    fn a_narrow_screen_has_fewer_columns_and_a_shorter_last_one() {
        let fitted = |screen| {
            let mut table = Table::new(["ID", "FROM", "SIZE", "COMMAND"]);
            table.row([
                "0123".to_owned(),
                "/somewhere".to_owned(),
                "1 B".to_owned(),
                "größer als alles".to_owned(),
            ]);
            table.fit(screen, &["FROM", "SIZE"]);
            table.to_string()
        };
        assert_eq!(
            fitted(40),
            "ID    FROM        SIZE  COMMAND\n0123  /somewhere  1 B   größer als alles\n"
        );
        assert_eq!(
            fitted(39),
            "ID    FROM        SIZE  COMMAND\n0123  /somewhere  1 B   größer als all…\n"
        );
        assert_eq!(fitted(30), "ID    SIZE  COMMAND\n0123  1 B   größer als alles\n");
        assert_eq!(fitted(20), "ID    COMMAND\n0123  größer als al…\n");
        assert_eq!(fitted(1), "ID    COMMAND\n0123  größer als …\n");
    }
}
