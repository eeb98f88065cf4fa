//! Plain bars as SVG, readable on light and dark pages.

use std::fmt::Write as _;

const WIDTH: u32 = 640;
const LABEL: u32 = 130;
const BAR: u32 = 18;
const STEP: u32 = 26;
const TOP: u32 = 34;
/// Room right of the longest bar, for its figure.
const FIGURE: u32 = 110;

/// One bar: its name, its length, and the figure as it is written.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) text: String,
    /// Drawn in the colour that stands out.
    pub(super) is_ours: bool,
}

/// Bars below each other, the longest as long as there is room.
pub(super) fn bars(title: &str, bars: &[Bar]) -> String {
    let count = u32::try_from(bars.len()).unwrap_or(u32::MAX);
    let height = TOP + STEP * count + 8;
    let longest = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let room = f64::from(WIDTH - LABEL - FIGURE);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{0}\">\n<style>\n\
         text {{ font: 13px system-ui, sans-serif; fill: #1f2328 }}\n\
         .title {{ font-weight: 600 }} .ours {{ fill: #d9480f }} .bar {{ fill: #8c959f }}\n\
         @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} \
         .ours {{ fill: #ff922b }} .bar {{ fill: #6e7681 }} }}\n</style>\n\
         <text class=\"title\" x=\"8\" y=\"20\">{0}</text>\n",
        escaped(title),
    );
    let mut y = TOP;
    for bar in bars {
        let length = (bar.value.max(0.0) / longest * room).max(1.0);
        let class = if bar.is_ours { "ours" } else { "bar" };
        let middle = y + BAR - 5;
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{class}\" x=\"{LABEL}\" y=\"{y}\" width=\"{length:.1}\" \
             height=\"{BAR}\" rx=\"2\"/><text x=\"{:.1}\" y=\"{middle}\">{}</text>",
            LABEL - 8,
            escaped(&bar.name),
            f64::from(LABEL) + length + 6.0,
            escaped(&bar.text),
        );
        y += STEP;
    }
    out.push_str("</svg>\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, value: f64) -> Bar {
        Bar { name: name.into(), value, text: format!("{value}"), is_ours: name == "gannet" }
    }

    /// Fails where an element is not closed, in order, or a bare `&` or `<` is in a text.
    fn assert_well_formed(svg: &str) {
        let mut open = Vec::new();
        let mut rest = svg;
        while let Some(start) = rest.find('<') {
            let text = &rest[..start];
            assert!(!text.contains('>'), "{text}");
            for (at, _) in text.match_indices('&') {
                assert!(
                    ["&amp;", "&lt;", "&gt;", "&quot;"].iter().any(|e| text[at..].starts_with(e))
                );
            }
            let end = start + rest[start..].find('>').expect("a tag ends");
            let tag = &rest[start + 1..end];
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if tag.ends_with('/') => {}
                None => open.push(tag.split([' ', '\n']).next().unwrap()),
            }
            rest = &rest[end + 1..];
        }
        assert_eq!(open, Vec::<&str>::new());
    }

    #[test]
    fn bars_are_well_formed() {
        let svg = bars("calls/s <&\"> on one core", &[bar("gannet", 9e5), bar("a<b & c", 5e4)]);
        assert_well_formed(&svg);
        assert_well_formed(&bars("nothing", &[]));
        assert_well_formed(&bars("zero", &[bar("x", 0.0)]));
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(svg.contains("class=\"ours\"") && svg.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn the_longest_bar_fits() {
        let svg = bars("x", &[bar("a", 10.0), bar("b", 5.0)]);
        assert!(svg.contains("width=\"400.0\"") && svg.contains("width=\"200.0\""), "{svg}");
    }
}
