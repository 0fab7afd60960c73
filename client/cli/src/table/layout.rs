//! The widths of the columns, and the lines of a table.

use anstyle::Style;
use unicode_width::UnicodeWidthStr as _;

use super::{
    cell::{Cell, paint},
    column::{Kind, Place},
    wrap::wrapped,
};

/// The blanks between two columns.
const GAP: usize = 2;
/// The width down to which words are wrapped before a column is left out.
const LEAST: usize = 14;
/// The maximum number of lines of names. What is longer ends with an ellipsis after a whole word.
const LINES: usize = 2;

/// The widths of the columns of a table. Fixed by the first rows, so that those that follow can be printed at once.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    columns: Vec<(Place, usize)>,
}

impl Layout {
    /// Lays the columns out for these rows. `width` is that of the terminal; `None` if there is none, and then nothing
    /// is wrapped or left out.
    pub(crate) fn new(mut places: Vec<Place>, rows: &[Vec<String>], width: Option<usize>) -> Self {
        let wanted = |place: &Place| {
            let widest = rows.iter().filter_map(|row| row.get(place.at)).map(|text| broadest(text)).max();
            widest.unwrap_or(0).max(place.heading.width())
        };
        let mut natural: Vec<_> = places.iter().map(wanted).collect();
        let Some(width) = width else { return Self::of(places, natural) };
        loop {
            let least = places.iter().zip(&natural);
            let least: Vec<_> = least
                .map(|(place, &wide)| if place.is_flexible() { wide.min(LEAST) } else { wide })
                .collect();
            let room = width.saturating_sub(GAP * places.len().saturating_sub(1));
            if least.iter().sum::<usize>() <= room {
                return Self::of(places, spread(least, &natural, room));
            }
            // The last of those with the highest rank.
            let ranked = places.iter().enumerate().filter(|(_, place)| place.rank > 0);
            match ranked.max_by_key(|(_, place)| place.rank).map(|(number, _)| number) {
                Some(number) => {
                    places.remove(number);
                    natural.remove(number);
                }
                None => return Self::of(places, squeezed(&least, room)),
            }
        }
    }

    fn of(places: Vec<Place>, widths: Vec<usize>) -> Self {
        Self { columns: places.into_iter().zip(widths).collect() }
    }

    /// Returns the line of headings. `style` is plain without colours.
    pub(crate) fn headings(&self, style: Style) -> String {
        self.lines(|place| (place.heading.clone(), style))
    }

    /// Returns the lines of a row. Its texts are those of its cells.
    pub(crate) fn row(&self, texts: &[String], cells: &[Cell], has_color: bool) -> String {
        self.lines(|place| {
            let tone = cells.get(place.at).map(|cell| cell.tone).filter(|_| has_color).unwrap_or_default();
            (texts.get(place.at).cloned().unwrap_or_default(), tone.style())
        })
    }

    fn lines(&self, content: impl Fn(&Place) -> (String, Style)) -> String {
        let cells: Vec<_> = self
            .columns
            .iter()
            .map(|(place, width)| {
                let (text, style) = content(place);
                let limit = if place.kind == Kind::Text { LINES } else { usize::MAX };
                (wrapped(&text, *width, limit), style, place.kind, *width)
            })
            .collect();
        let height = cells.iter().map(|(lines, ..)| lines.len()).max().unwrap_or(0);
        let mut all = Vec::with_capacity(height);
        for number in 0..height {
            let mut line = String::new();
            // Blanks are written only in front of something, so that no line ends with them.
            let mut due = 0;
            for (lines, style, kind, width) in &cells {
                let text = lines.get(number).map_or("", String::as_str);
                let spare = width.saturating_sub(text.width());
                let before = if *kind == Kind::Number { spare } else { 0 };
                if text.is_empty() {
                    due += width + GAP;
                    continue;
                }
                line.extend(std::iter::repeat_n(' ', due + before));
                line.push_str(&paint(*style, text));
                due = spare - before + GAP;
            }
            all.push(line);
        }
        all.join("\n")
    }
}

/// Shares what is left of the room among the columns that want more, the narrowest first.
fn spread(mut widths: Vec<usize>, natural: &[usize], room: usize) -> Vec<usize> {
    let mut left = room.saturating_sub(widths.iter().sum());
    while left > 0 {
        let open = widths.iter_mut().zip(natural).filter(|(width, wanted)| **width < **wanted);
        let Some((narrowest, _)) = open.min_by_key(|(width, _)| **width) else { break };
        *narrowest += 1;
        left -= 1;
    }
    widths
}

/// Returns widths in proportion, for a terminal that is narrower than the columns that are always shown.
fn squeezed(least: &[usize], room: usize) -> Vec<usize> {
    let sum = least.iter().sum::<usize>().max(1);
    least.iter().map(|width| (width * room / sum).max(1)).collect()
}

fn broadest(text: &str) -> usize {
    text.lines().map(|line| line.width()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{output::Shown as _, table::Tone, view::OrderView};

    fn orders() -> Vec<Vec<String>> {
        let carpet = "Hand-knotted wool carpet from the mountains of the north";
        let house = "The Carpet House of Alice";
        let lantern = ["41", "7", "Brass lantern", "2", "25.00 GBP", "placed", "Bob", "Alice", "2 h ago"];
        let carpet = ["1040", "12", carpet, "1", "1250.00 GBP", "delivered", "Bob", house, "2026-11-18"];
        [lantern, carpet].map(|cells| cells.map(str::to_owned).to_vec()).to_vec()
    }

    fn layout(program: &str, width: Option<usize>) -> Layout {
        let columns = OrderView::COLUMNS.iter().enumerate().filter(|(_, column)| column.is_for(program));
        Layout::new(columns.map(|(at, column)| Place::of(at, column)).collect(), &orders(), width)
    }

    fn printed(program: &str, width: Option<usize>) -> String {
        let (rows, layout) = (orders(), layout(program, width));
        let lines = rows.iter().map(|row| layout.row(row, &[], false));
        [layout.headings(Style::new())].into_iter().chain(lines).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn orders_fit_80_columns() {
        let expected = [
            "ORDER  NAME            UNITS        TOTAL  STATUS     SELLER          PLACED",
            "   41  Brass lantern       2    25.00 GBP  placed     Alice           2 h ago",
            " 1040  Hand-knotted        1  1250.00 GBP  delivered  The Carpet      2026-11-18",
            "       wool carpet …                                  House of Alice",
        ];
        assert_eq!(printed("buyer", Some(80)).lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn orders_fit_60_columns() {
        let expected = [
            "ORDER  NAME                     TOTAL  STATUS     PLACED",
            "   41  Brass lantern        25.00 GBP  placed     2 h ago",
            " 1040  Hand-knotted wool  1250.00 GBP  delivered  2026-11-18",
            "       carpet from the …",
        ];
        assert_eq!(printed("buyer", Some(60)).lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn money_is_aligned_to_the_right_and_nothing_is_cut_without_a_terminal() {
        let printed = printed("seller", None);
        let ends: Vec<_> = printed.lines().skip(1).map(|line| line.find("GBP").unwrap()).collect();
        assert_eq!(ends[0], ends[1], "\n{printed}");
        assert!(printed.contains("from the mountains of the north"), "\n{printed}");
        assert!(printed.contains("BUYER") && !printed.contains("SELLER"), "\n{printed}");
    }

    #[test]
    fn colours_take_no_room() {
        let (rows, layout) = (orders(), layout("buyer", Some(60)));
        let cells: Vec<_> = rows[0].iter().map(|text| Cell::from(text).tone(Tone::Good)).collect();
        let (plain, painted) = (layout.row(&rows[0], &cells, false), layout.row(&rows[0], &cells, true));
        assert!(painted.contains("\u{1b}[32mplaced\u{1b}[0m     \u{1b}[32m2 h"), "{painted:?}");
        let bare = painted.replace("\u{1b}[32m", "").replace("\u{1b}[0m", "");
        assert_eq!((bare.as_str(), plain.contains('\u{1b}')), (plain.as_str(), false));
    }

    proptest! {
        #[test]
        fn tables_fit_from_40_columns_on(width in 40..200_usize) {
            for program in ["buyer", "seller", "admin"] {
                let printed = printed(program, Some(width));
                prop_assert!(printed.lines().all(|line| line.width() <= width), "{printed}");
            }
        }
    }
}
