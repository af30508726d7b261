//! Line charts as SVG, with logarithmic axes.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
/// Where the axes are: left, right, top, bottom.
const FRAME: (f64, f64, f64, f64) = (80.0, 590.0, 50.0, 380.0);
const COLOURS: [&str; 8] = [
    "#c0392b", "#2471a3", "#1e8449", "#7d3c98", "#b9770e", "#566573", "#148f77", "#5d4037",
];

/// One line of a chart.
pub struct Line {
    pub name: &'static str,
    pub points: Vec<(f64, f64)>,
}

/// A chart of lines over positive numbers.
pub fn chart(title: &str, across: &str, up: &str, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let (left, right) = bounds(points().map(|point| point.0));
    let (low, high) = bounds(points().map(|point| point.1));
    let place = |value: f64, from: f64, to: f64, begin: f64, end: f64| {
        begin + (value.log10() - from) / (to - from).max(0.1) * (end - begin)
    };
    let x = |value: f64| place(value, left, right, FRAME.0, FRAME.1);
    let y = |value: f64| place(value, low, high, FRAME.3, FRAME.2);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{}\" y=\"28\" font-size=\"15\">{title}</text>\n",
        FRAME.0
    );
    for power in left as i32..=right as i32 {
        let (value, at) = (10_f64.powi(power), x(10_f64.powi(power)));
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{}\" y2=\"{}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            FRAME.2,
            FRAME.3,
            FRAME.3 + 18.0,
            short(value)
        );
    }
    for power in low as i32..=high as i32 {
        let (value, at) = (10_f64.powi(power), y(10_f64.powi(power)));
        let _ = writeln!(
            svg,
            "<line x1=\"{}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            FRAME.0,
            FRAME.1,
            FRAME.0 - 8.0,
            at + 4.0,
            short(value)
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{across}</text>\
         <text transform=\"translate(22 {}) rotate(-90)\" text-anchor=\"middle\">{up}</text>",
        (FRAME.0 + FRAME.1) / 2.0,
        FRAME.3 + 42.0,
        (FRAME.2 + FRAME.3) / 2.0
    );
    for (index, line) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let width = if index == 0 { 3 } else { 1 };
        let path: Vec<String> = line
            .points
            .iter()
            .map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" points=\"{}\"/>",
            path.join(" ")
        );
        for point in &line.points {
            let (x, y) = (x(point.0), y(point.1));
            let _ = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
            );
        }
        let row = FRAME.2 + 10.0 + 20.0 * index as f64;
        let _ = writeln!(
            svg,
            "<rect x=\"605\" y=\"{:.1}\" width=\"14\" height=\"4\" fill=\"{colour}\"/>\
             <text x=\"626\" y=\"{row:.1}\">{}</text>",
            row - 6.0,
            line.name
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// The whole powers of ten around all values.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    (low.log10().floor(), high.log10().ceil())
}

fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e3 => format!("{} k", value / 1e3),
        value => format!("{value}"),
    }
}
