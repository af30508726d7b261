//! Line charts as SVG, with logarithmic axes.

use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 520.0;

/// Where the axes are.
const LEFT: f64 = 80.0;
const RIGHT: f64 = 660.0;
const TOP: f64 = 74.0;
const BOTTOM: f64 = 456.0;

/// Distance between two names at the right.
const NAMES: f64 = 19.0;

/// Colours that people who see fewer colours can tell apart as well; the first line is ours.
const COLOURS: [&str; 9] = [
    "#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#17a2b8", "#8c564b", "#e377c2", "#7f7f7f",
];

/// One line of a chart.
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// What is written around the lines.
pub struct Words<'a> {
    pub title: &'a str,
    pub subtitle: &'a str,
    pub across: &'a str,
    pub up: &'a str,
}

/// A chart of lines over positive numbers. A thing that was measured at one place only is a point.
pub fn chart(words: &Words<'_>, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let across = Axis::around(points().map(|point| point.0), LEFT, RIGHT);
    let up = Axis::around(points().map(|point| point.1), BOTTOM, TOP);
    let mut svg = String::new();
    head(&mut svg, words);
    across_marks(&mut svg, &across);
    up_marks(&mut svg, &up);
    let names = places_of_names(lines, &up);
    // Ours is drawn last, so that it lies above the others.
    for (index, line) in lines.iter().enumerate().rev() {
        let place = Place {
            colour: COLOURS[index % COLOURS.len()],
            is_ours: index == 0,
            name_at: names[index],
        };
        draw(&mut svg, line, &place, &across, &up);
    }
    svg.push_str("</svg>\n");
    svg
}

/// A logarithmic axis over whole decades, and where it begins and ends in the picture.
struct Axis {
    low: i32,
    high: i32,
    begin: f64,
    end: f64,
}

impl Axis {
    fn around(values: impl Iterator<Item = f64>, begin: f64, end: f64) -> Self {
        let (low, high) = values.fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let low = low.log10().floor() as i32;
        // A hair above a power of ten needs no decade of its own.
        let high = ((high.log10() - 0.02).ceil() as i32).max(low + 1);
        Self {
            low,
            high,
            begin,
            end,
        }
    }

    fn at(&self, value: f64) -> f64 {
        let part = (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        self.begin + part * (self.end - self.begin)
    }

    /// The powers of ten, and the lines in between.
    fn marks(&self) -> impl Iterator<Item = (f64, bool)> {
        let (low, high) = (self.low, self.high);
        (low..=high).flat_map(move |power| {
            let ten = 10_f64.powi(power);
            let last = if power == high { 1 } else { 9 };
            (1..=last).map(move |digit| (ten * f64::from(digit), digit == 1))
        })
    }
}

fn head(svg: &mut String, words: &Words<'_>) {
    let Words {
        title,
        subtitle,
        across,
        up,
    } = words;
    let (middle, centre) = ((LEFT + RIGHT) / 2.0, (TOP + BOTTOM) / 2.0);
    let below = BOTTOM + 46.0;
    let _ = writeln!(
        svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" font-family="Helvetica, Arial, sans-serif" font-size="13" fill="#222">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="{LEFT}" y="30" font-size="18" font-weight="bold">{title}</text>
<text x="{LEFT}" y="52" fill="#555">{subtitle}</text>
<text x="{middle}" y="{below}" text-anchor="middle">{across}</text>
<text transform="translate(24 {centre}) rotate(-90)" text-anchor="middle">{up}</text>"##
    );
}

fn across_marks(svg: &mut String, axis: &Axis) {
    for (value, is_whole) in axis.marks() {
        let (at, colour) = (axis.at(value), shade(is_whole));
        let _ = writeln!(
            svg,
            r#"<line x1="{at:.1}" x2="{at:.1}" y1="{TOP}" y2="{BOTTOM}" stroke="{colour}"/>"#
        );
        if is_whole {
            let (below, text) = (BOTTOM + 20.0, short(value));
            let _ = writeln!(
                svg,
                r#"<text x="{at:.1}" y="{below}" text-anchor="middle">{text}</text>"#
            );
        }
    }
}

fn up_marks(svg: &mut String, axis: &Axis) {
    for (value, is_whole) in axis.marks() {
        let (at, colour) = (axis.at(value), shade(is_whole));
        let _ = writeln!(
            svg,
            r#"<line x1="{LEFT}" x2="{RIGHT}" y1="{at:.1}" y2="{at:.1}" stroke="{colour}"/>"#
        );
        if is_whole {
            let (beside, below, text) = (LEFT - 8.0, at + 4.5, short(value));
            let _ = writeln!(
                svg,
                r#"<text x="{beside}" y="{below:.1}" text-anchor="end">{text}</text>"#
            );
        }
    }
}

fn shade(is_whole: bool) -> &'static str {
    if is_whole { "#c8c8c8" } else { "#f0f0f0" }
}

/// How a line is drawn.
struct Place {
    colour: &'static str,
    is_ours: bool,
    name_at: f64,
}

fn draw(svg: &mut String, line: &Line, place: &Place, across: &Axis, up: &Axis) {
    let Place {
        colour,
        is_ours,
        name_at,
    } = place;
    let Some(&(last_x, last_y)) = line.points.last() else {
        return;
    };
    let (width, radius, weight) = if *is_ours {
        (3.5, 4.5, "bold")
    } else {
        (1.6, 3.0, "normal")
    };
    let corners: Vec<String> = line
        .points
        .iter()
        .map(|&(x, y)| format!("{:.1},{:.1}", across.at(x), up.at(y)))
        .collect();
    let corners = corners.join(" ");
    let _ = writeln!(
        svg,
        r#"<polyline fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round" points="{corners}"/>"#
    );
    for &(x, y) in &line.points {
        let (x, y) = (across.at(x), up.at(y));
        let _ = writeln!(
            svg,
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" fill="{colour}"/>"#
        );
    }
    let (from_x, from_y) = (across.at(last_x) + 6.0, up.at(last_y));
    let (to_x, text_x, text_y, name) = (RIGHT + 26.0, RIGHT + 30.0, name_at + 4.5, &line.name);
    let _ = writeln!(
        svg,
        r#"<polyline fill="none" stroke="{colour}" stroke-width="0.8" stroke-dasharray="2 2" points="{from_x:.1},{from_y:.1} {RIGHT:.1},{from_y:.1} {to_x:.1},{name_at:.1}"/>
<text x="{text_x}" y="{text_y:.1}" fill="{colour}" font-weight="{weight}">{name}</text>"#
    );
}

/// Each name stands where its line ends, as near as the others allow.
fn places_of_names(lines: &[Line], up: &Axis) -> Vec<f64> {
    let wanted = |line: &Line| line.points.last().map_or(TOP, |point| up.at(point.1));
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by(|&one, &other| wanted(&lines[one]).total_cmp(&wanted(&lines[other])));
    let mut places = vec![0.0; lines.len()];
    let mut free_from = TOP - NAMES;
    for &index in &order {
        places[index] = wanted(&lines[index]).max(free_from);
        free_from = places[index] + NAMES;
    }
    // What was pushed out at the bottom goes back up.
    let mut free_to = BOTTOM + 10.0;
    for &index in order.iter().rev() {
        places[index] = places[index].min(free_to);
        free_to = places[index] - NAMES;
    }
    places
}

fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e3 => format!("{} k", value / 1e3),
        value => format!("{value}"),
    }
}
