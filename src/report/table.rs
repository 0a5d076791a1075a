//! Columns of text. Cells are shown as they are given: escape names first.

use std::fmt::{self, Write as _};

/// A table that is printed when it is complete: each column is as wide as its widest cell.
#[derive(Debug, Clone)]
pub struct Table {
    rows: Vec<Vec<String>>,
    /// Characters in a line, at most.
    screen: Option<usize>,
}

impl Table {
    /// With the titles of its columns.
    pub fn new<const COLUMNS: usize>(titles: [&str; COLUMNS]) -> Self {
        let titles = titles.iter().map(|title| (*title).to_owned()).collect();
        Self { rows: vec![titles], screen: None }
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
    /// other, then cuts the widest ones but the first and the last, then the last; on a screen that is narrower still
    /// lines end where it does.
    pub fn fit(&mut self, screen: usize, less: &[&str]) {
        self.screen = Some(screen);
        for title in less {
            if self.others() + self.least() <= screen {
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
        let columns = self.rows.first().map_or(0, Vec::len);
        while self.others() + self.least() > screen {
            let between = 1..columns.saturating_sub(1);
            let widest = between.max_by_key(|column| self.width(*column));
            let Some(widest) = widest.filter(|column| self.width(*column) > NARROWEST) else {
                break;
            };
            let too_much = self.others() + self.least() - screen;
            let room = self.width(widest).saturating_sub(too_much).max(NARROWEST);
            self.cut(widest, room);
        }
        let room = screen.saturating_sub(self.others()).max(1);
        self.cut(columns.saturating_sub(1), room);
    }

    /// Cuts the cells of a column that have more characters.
    fn cut(&mut self, column: usize, room: usize) {
        for cell in self.rows.iter_mut().filter_map(|row| row.get_mut(column)) {
            if let Some((end, _)) = cell.char_indices().nth(room - 1)
                && cell.chars().nth(room).is_some()
            {
                cell.truncate(end);
                cell.push('…');
            }
        }
    }

    /// The least that the last column needs.
    fn least(&self) -> usize {
        let last = self.rows.first().map_or(0, Vec::len).saturating_sub(1);
        self.width(last).min(LEAST)
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
/// Characters that are left of any other that is cut.
const NARROWEST: usize = 6;

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(|column| self.width(column)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                if column + 1 == row.len() {
                    line.push_str(cell);
                } else {
                    let width = widths[column];
                    write!(line, "{cell:width$}  ")?;
                }
            }
            let end = self.screen.and_then(|screen| line.char_indices().nth(screen));
            line.truncate(end.map_or(line.len(), |(at, _)| at));
            writeln!(f, "{line}")?;
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
        assert_eq!(fitted(12), "ID    COMMA…\n0123  größe…\n");
        assert_eq!(fitted(3), "ID \n012\n");
    }

    #[test]
    fn no_line_is_wider_than_the_screen() {
        for screen in 1..100 {
            let mut table = Table::new(["ID", "NAME", "STATE", "CPU", "COMMAND"]);
            let cells = ["0123456789ab", &"n".repeat(40), "running (healthy)", "0%", "sh -c 'x'"];
            table.row(cells.map(str::to_owned));
            table.fit(screen, &["CPU"]);
            let text = table.to_string();
            assert!(text.lines().all(|line| line.chars().count() <= screen), "{screen}:\n{text}");
            assert!(screen < 50 || text.contains("sh -c 'x'"), "{text}");
        }
    }
}
