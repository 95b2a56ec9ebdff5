//! The main rows as bars, for the README: SVG text, without a library.

use super::cells::Cell;
use std::fmt::Write;

const WIDTH: f64 = 860.0;
/// Where the bars begin and end, from the left.
const LEFT: f64 = 270.0;
const RIGHT: f64 = 800.0;
const TOP: f64 = 66.0;
const BAR: f64 = 9.0;
const GAP: f64 = 11.0;
/// The scale is logarithmic: twice as fast is as long as half as fast.
const LEAST: f64 = 0.5;
const MOST: f64 = 8.0;

/// A colour for each column but the first, for light and for dark pages.
const COLOURS: [&str; 4] = ["#9aa4b1", "#e0a030", "#4aa3a2", "#3d7de0"];

fn place(ratio: f64) -> f64 {
    let share = (ratio.clamp(LEAST, MOST) / LEAST).ln() / (MOST / LEAST).ln();
    LEFT + share * (RIGHT - LEFT)
}

/// Ratios to the first column, of the rows that are marked for it.
pub fn svg(titles: &[String], cells: &[Cell]) -> String {
    let plotted: Vec<&Cell> =
        cells.iter().filter(|cell| cell.plotted && cell.rate(0).is_some()).collect();
    let columns = titles.len().saturating_sub(1);
    let row = columns as f64 * BAR + GAP;
    let bottom = TOP + plotted.len() as f64 * row;
    let height = bottom + 30.0;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="system-ui, sans-serif" font-size="12" role="img">
<title>Throughput relative to {first}</title>
<style>
text {{ fill: #24292f }} .faint {{ fill: #6e7781 }} line {{ stroke: #8c959f; stroke-opacity: 0.4 }} .one {{ stroke-opacity: 1 }} .range {{ stroke: #24292f; stroke-opacity: 0.8 }}
@media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} .faint {{ fill: #8b949e }} .range {{ stroke: #e6edf3 }} }}
</style>
<text x="10" y="20" font-size="14">Throughput relative to {first} (longer is faster; bars end at {LEAST} and {MOST})</text>
"##,
        first = escape(&titles[0]),
    );
    for (column, title) in titles.iter().skip(1).enumerate() {
        let x = 10.0 + 200.0 * column as f64;
        let _ = writeln!(
            svg,
            r#"<rect x="{x}" y="32" width="12" height="10" fill="{}"/><text x="{}" y="42">{}</text>"#,
            COLOURS[column % COLOURS.len()],
            x + 18.0,
            escape(title),
        );
    }
    let mut mark = LEAST;
    while mark <= MOST {
        let x = place(mark);
        let class = if mark == 1.0 { "one" } else { "" };
        let _ = writeln!(
            svg,
            r#"<line class="{class}" x1="{x:.1}" y1="{}" x2="{x:.1}" y2="{bottom}"/><text class="faint" x="{x:.1}" y="{}" text-anchor="middle">{mark}</text>"#,
            TOP - 8.0,
            bottom + 16.0,
        );
        mark *= 2.0;
    }
    for (number, cell) in plotted.iter().enumerate() {
        let top = TOP + number as f64 * row;
        let clients = if cell.clients == 1 { "client" } else { "clients" };
        let _ = writeln!(
            svg,
            r#"<text x="{}" y="{:.1}" text-anchor="end">{}</text><text class="faint" x="{}" y="{:.1}" text-anchor="end">{} {clients}</text>"#,
            LEFT - 12.0,
            top + BAR * 2.0 - 3.0,
            escape(short(cell.name)),
            LEFT - 12.0,
            top + BAR * 2.0 + 11.0,
            cell.clients,
        );
        for column in 1..=columns {
            bar(&mut svg, cell, column, top + (column - 1) as f64 * BAR);
        }
    }
    svg + "</svg>\n"
}

/// One column's bar, from 1 to its ratio, with its interval as a line.
fn bar(svg: &mut String, cell: &Cell, column: usize, y: f64) {
    let middle = y + BAR / 2.0;
    let Some(ratio) = cell.ratio(column, 0) else {
        let words = if cell.failure(column).is_some() { "hung or failed" } else { "not measured" };
        let _ = writeln!(
            svg,
            r#"<text class="faint" x="{:.1}" y="{:.1}" font-size="9">{words}</text>"#,
            place(1.0) + 4.0,
            middle + 3.0,
        );
        return;
    };
    let (one, end) = (place(1.0), place(ratio.median));
    let number = if ratio.median >= 10.0 {
        format!("{:.0}", ratio.median)
    } else {
        format!("{:.2}", ratio.median)
    };
    let _ = writeln!(
        svg,
        r#"<rect x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" fill="{}"/><line class="range" x1="{:.1}" y1="{middle:.1}" x2="{:.1}" y2="{middle:.1}"/><text class="faint" x="{:.1}" y="{:.1}" font-size="9">{number}</text>"#,
        one.min(end),
        y + 0.5,
        (end - one).abs(),
        BAR - 1.0,
        COLOURS[(column - 1) % COLOURS.len()],
        place(ratio.low),
        place(ratio.high),
        place(ratio.high).max(one) + 5.0,
        middle + 3.0,
    );
}

/// Names of the table that are too long here.
fn short(name: &str) -> &str {
    name.split(", clients of").next().unwrap_or(name)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
