//! The chart: searches by kind beside other search engines, and costs by the number of items, on logarithmic scales.

use std::fmt::Write as _;

use super::{Measured, Results};
use crate::figures::number;

/// Width of the chart, and the margins of its panels, in pixels.
const WIDTH: f64 = 860.0;
const LEFT: f64 = 170.0;
const RIGHT: f64 = 40.0;
const TITLE: f64 = 46.0;
/// Height of a bar, and the space between two groups of bars.
const BAR: f64 = 9.0;
const GAP: f64 = 8.0;
/// Height of the panel with lines, and of a line of its legend.
const LINES: f64 = 260.0;
const LEGEND: f64 = 16.0;
/// Colours that are distinct for colour-blind readers too (Okabe and Ito 2008).
const COLOURS: [&str; 7] = ["#0072b2", "#56b4e9", "#e69f00", "#d55e00", "#009e73", "#cc79a7", "#000000"];
/// The columns of the table of searches that are drawn, with their names in the legend.
const BARS: [(&str, &str); 4] = [
    ("first p50", "first search"),
    ("known p50", "counts known"),
    ("fts5", "SQLite FTS5"),
    ("postgres", "PostgreSQL"),
];
/// The rows of the table of growth that are drawn; all are in milliseconds.
const CURVES: [&str; 7] = [
    "mixed words, counts known, server ms",
    "search, page 1, server ms",
    "search, page 100, server ms",
    "ListOrders, page 1, server ms",
    "ListOrders, page 100, server ms",
    "SummarizeSales of a year, server ms",
    "UpdateItem that all wish for, server ms",
];

/// Draws a panel for each table of searches or of growth, one below the other.
pub(super) fn chart(results: &[Results]) -> String {
    let (mut panels, mut top) = (String::new(), 0.0);
    for results in results {
        for table in &results.tables {
            let panel = match table.name.as_str() {
                "search" => bars(table, &results.command, top),
                "growth" => curves(table, &results.command, top),
                _ => continue,
            };
            panels.push_str(&panel.0);
            top += panel.1;
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top:.0}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{top:.0}\" fill=\"white\"/>\n{panels}</svg>\n"
    )
}

/// A logarithmic scale over whole decades.
struct Scale {
    from: i32,
    to: i32,
    begin: f64,
    length: f64,
}

impl Scale {
    /// Returns the scale for these values; the ones that are not positive are left out.
    fn of(values: impl Iterator<Item = f64>, begin: f64, length: f64) -> Option<Self> {
        let logs = values.filter(|value| *value > 0.0 && value.is_finite()).map(f64::log10);
        let (least, most) =
            logs.fold((f64::MAX, f64::MIN), |(least, most), log| (least.min(log), most.max(log)));
        if least > most {
            return None;
        }
        // At least one decade.
        let from = least.floor() as i32;
        Some(Self { from, to: (most.ceil() as i32).max(from + 1), begin, length })
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value.log10() - f64::from(self.from)) / f64::from(self.to - self.from);
        self.begin + self.length * share
    }

    /// Returns the powers of ten on the scale.
    fn marks(&self) -> impl Iterator<Item = f64> {
        (self.from..=self.to).map(|power| 10_f64.powi(power))
    }
}

fn bars(table: &Measured, command: &str, top: f64) -> (String, f64) {
    let columns: Vec<_> =
        BARS.iter().filter_map(|(column, name)| Some((*name, table.column(column)?))).collect();
    let values = columns.iter().flat_map(|(_, values)| values.iter().flatten().copied());
    let Some(scale) = Scale::of(values, LEFT, WIDTH - LEFT - RIGHT) else { return (String::new(), 0.0) };
    let group = BAR * columns.len() as f64 + GAP;
    let body = top + TITLE;
    let bottom = body + group * table.rows.len() as f64;
    let mut svg = title(top, &format!("bench {command}: {}", table.caption));
    for (number_of, (name, _)) in columns.iter().enumerate() {
        svg.push_str(&legend(LEFT + 150.0 * number_of as f64, top + 36.0, COLOURS[number_of], name));
    }
    for mark in scale.marks() {
        let x = scale.at(mark);
        svg.push_str(&line((x, body), (x, bottom), "#dddddd"));
        svg.push_str(&text(x, bottom + 14.0, "middle", &number(mark)));
    }
    for (row, (label, _)) in table.rows.iter().enumerate() {
        let y = body + group * row as f64;
        svg.push_str(&text(LEFT - 8.0, y + group / 2.0, "end", label));
        for (place, (_, values)) in columns.iter().enumerate() {
            let Some(value) = values[row].filter(|value| *value > 0.0) else { continue };
            let (y, width) = (y + BAR * place as f64, scale.at(value) - LEFT);
            // Writing to a string can't fail.
            let _ = writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{}\"/>",
                BAR - 1.0,
                COLOURS[place]
            );
        }
    }
    (svg, bottom + 34.0 - top)
}

fn curves(table: &Measured, command: &str, top: f64) -> (String, f64) {
    let sizes: Vec<f64> = table.columns.iter().filter_map(|column| column.parse().ok()).collect();
    let drawn = CURVES.iter().filter_map(|name| table.rows.iter().find(|(label, _)| label == name));
    let rows: Vec<_> = drawn.collect();
    let values = rows.iter().flat_map(|(_, values)| values.iter().flatten().copied());
    let width = WIDTH - LEFT - RIGHT;
    let body = top + TITLE + LEGEND * rows.len() as f64;
    let bottom = body + LINES;
    let (Some(across), Some(up)) =
        (Scale::of(sizes.iter().copied(), LEFT, width), Scale::of(values, bottom, -LINES))
    else {
        return (String::new(), 0.0);
    };
    let mut svg = title(top, &format!("bench {command}: server time in ms by number of items"));
    for mark in across.marks() {
        let x = across.at(mark);
        svg.push_str(&line((x, body), (x, bottom), "#dddddd"));
        svg.push_str(&text(x, bottom + 14.0, "middle", &number(mark)));
    }
    for mark in up.marks() {
        let y = up.at(mark);
        svg.push_str(&line((LEFT, y), (WIDTH - RIGHT, y), "#dddddd"));
        svg.push_str(&text(LEFT - 8.0, y + 4.0, "end", &number(mark)));
    }
    for (place, (label, values)) in rows.iter().enumerate() {
        let colour = COLOURS[place];
        svg.push_str(&legend(LEFT, top + 36.0 + LEGEND * place as f64, colour, label));
        let points = sizes.iter().zip(values).filter_map(|(size, value)| {
            let value = value.filter(|value| *value > 0.0)?;
            Some(format!("{:.1},{:.1}", across.at(*size), up.at(value)))
        });
        let points = points.collect::<Vec<_>>().join(" ");
        let _ = writeln!(
            svg,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
    }
    (svg, bottom + 34.0 - top)
}

fn title(top: f64, of: &str) -> String {
    format!("<text x=\"12\" y=\"{:.0}\" font-weight=\"bold\">{}</text>\n", top + 18.0, escaped(of))
}

fn legend(x: f64, y: f64, colour: &str, name: &str) -> String {
    format!(
        "<rect x=\"{x:.0}\" y=\"{:.0}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\n{}",
        y - 9.0,
        text(x + 15.0, y, "start", name)
    )
}

fn text(x: f64, y: f64, anchor: &str, of: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n", escaped(of))
}

fn line((x1, y1): (f64, f64), (x2, y2): (f64, f64), colour: &str) -> String {
    format!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>\n")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
