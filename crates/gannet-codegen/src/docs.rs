//! Comments of proto files as rustdoc, for services and their methods. (Messages get theirs from
//! the message generator, by the same rules.)
//!
//! Comments are text by people who did not think of rustdoc. So nothing in them is ever compiled
//! or run: indented blocks become `text` fences, and a fence keeps its language but is marked
//! `ignore`. Nothing in them makes rustdoc complain either: brackets that are not links and angle
//! brackets are escaped, and bare addresses become links.

use buffa_descriptor::generated::descriptor::source_code_info::Location;

/// The comments at `location` as lines of a rustdoc comment, without the slashes; empty if there
/// are none. Comments that stand apart before the element come first, then the one before it,
/// then the one behind it.
///
/// `resolve` turns the full name of a type into a path in Rust: references in the style of Google's
/// APIs, `[text][full.Name]`, become links where it can.
pub(crate) fn lines(location: Option<&Location>, resolve: Resolve<'_>) -> Vec<String> {
    let Some(location) = location else { return Vec::new() };
    let comments = { location.leading_detached_comments.iter() }
        .chain(&location.leading_comments)
        .chain(&location.trailing_comments);
    let mut out = Vec::new();
    for comment in comments {
        let comment = comment.trim_start_matches('\n').trim_end();
        if comment.is_empty() {
            continue;
        }
        if !out.is_empty() {
            out.push(String::new());
        }
        out.extend(render(comment, resolve));
    }
    out
}

/// From the full name of a type to its path, if it is known.
pub(crate) type Resolve<'a> = &'a dyn Fn(&str) -> Option<String>;

/// One comment as lines.
fn render(comment: &str, resolve: Resolve<'_>) -> Vec<String> {
    let margin =
        if comment.lines().all(|line| line.is_empty() || line.starts_with(' ')) { 1 } else { 0 };
    let mut out = Vec::new();
    let mut block = Block::Prose;
    let mut lines = comment.lines().map(|line| line.get(margin..).unwrap_or_default()).peekable();
    while let Some(line) = lines.next() {
        block = match block {
            Block::Fenced(run) => {
                out.push(line.trim_end().to_owned());
                if closes(line, &run) { Block::Prose } else { Block::Fenced(run) }
            }
            Block::Indented if indented(line).is_some() => {
                out.push(indented(line).unwrap_or_default().to_owned());
                Block::Indented
            }
            Block::Indented
                if line.trim().is_empty()
                    && lines.peek().is_some_and(|next| indented(next).is_some()) =>
            {
                out.push(String::new());
                Block::Indented
            }
            Block::Indented => {
                out.push(FENCE.to_owned());
                prose(line, resolve, &mut out)
            }
            Block::Prose => prose(line, resolve, &mut out),
        };
    }
    match block {
        Block::Prose => {}
        Block::Indented => out.push(FENCE.to_owned()),
        Block::Fenced(run) => out.push(run),
    }
    out
}

/// What the line before the current one was in.
enum Block {
    Prose,
    /// In a block set off by indentation, which was opened with [`FENCE`].
    Indented,
    /// In a fence that was opened with this run of characters.
    Fenced(String),
}

/// Longer than what people write, so that a fence inside an indented block does not close it.
const FENCE: &str = "``````";

/// Writes a line outside of any block, which may open one.
fn prose(line: &str, resolve: Resolve<'_>, out: &mut Vec<String>) -> Block {
    if let Some(code) = indented(line) {
        out.push(format!("{FENCE}text"));
        out.push(code.to_owned());
        return Block::Indented;
    }
    let trimmed = line.trim();
    for mark in ['`', '~'] {
        let info = trimmed.trim_start_matches(mark);
        let run = &trimmed[..trimmed.len() - info.len()];
        if run.len() >= 3 && !info.contains('`') {
            let language = info.split([',', ' ', '\t']).find(|word| !word.is_empty());
            out.push(match language {
                // `ignore-…` is about targets, and would have the block compiled on others.
                Some(language) if !language.starts_with("ignore") => {
                    format!("{run}{language},ignore")
                }
                _ => format!("{run}text"),
            });
            return Block::Fenced(run.to_owned());
        }
    }
    out.push(escape(line.trim_end(), resolve));
    Block::Prose
}

fn closes(line: &str, run: &str) -> bool {
    let trimmed = line.trim();
    let mark = run.chars().next().unwrap_or('`');
    trimmed.len() >= run.len() && trimmed.chars().all(|c| c == mark)
}

/// The rest of `line` after four columns of indentation, if it has that many.
fn indented(line: &str) -> Option<&str> {
    line.strip_prefix("    ")
        .or_else(|| line.strip_prefix('\t'))
        .filter(|rest| !rest.trim().is_empty())
}

/// Prose that means in Markdown what it says: code spans and links stay, other brackets are
/// escaped, bare addresses become links.
fn escape(line: &str, resolve: Resolve<'_>) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            '`' => code_span(rest),
            '[' => inline_link(rest),
            '\\' => rest.chars().nth(1).map(|next| 1 + next.len_utf8()),
            _ => None,
        };
        if let Some((link, len)) = reference(rest, resolve) {
            out.push_str(&link);
            rest = &rest[len..];
        } else if let Some(len) = taken {
            out.push_str(&rest[..len]);
            rest = &rest[len..];
        } else if let Some(len) = address(rest) {
            out.push('<');
            out.push_str(&rest[..len]);
            out.push('>');
            rest = &rest[len..];
        } else {
            if matches!(first, '[' | ']' | '<' | '>') {
                out.push('\\');
            }
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// The length of the code span that `text` starts with: a run of backticks to the next equal run.
fn code_span(text: &str) -> Option<usize> {
    let run = text.len() - text.trim_start_matches('`').len();
    let mut from = run;
    while let Some(start) = text[from..].find('`').map(|at| from + at) {
        let rest = &text[start..];
        let len = rest.len() - rest.trim_start_matches('`').len();
        from = start + len;
        if len == run {
            return Some(from);
        }
    }
    // Without an end it is only backticks.
    Some(run)
}

/// The length of `[text](target)` at the start of `text`, without brackets inside.
fn inline_link(text: &str) -> Option<usize> {
    let close = text.find(']')?;
    let target = text[close..].strip_prefix("](")?;
    let plain = !text[1..close].contains(['[', '`', '<', '>']);
    let end = target.find([')', ' ', '<', '>'])?;
    (plain && target[end..].starts_with(')')).then_some(close + 2 + end + 1)
}

/// The link for `[text][full.Name]` or `[full.Name][]` at the start of `text`, if `resolve` knows
/// the name, and the length of what it stands for.
fn reference(text: &str, resolve: Resolve<'_>) -> Option<(String, usize)> {
    let close = text.strip_prefix('[')?.find(']')? + 1;
    let target = text[close..].strip_prefix("][")?;
    let end = target.find(']')?;
    let shown = &text[1..close];
    let name = if end == 0 { shown } else { &target[..end] };
    let plain = shown.strip_prefix('`').and_then(|s| s.strip_suffix('`')).unwrap_or(shown);
    if plain.contains(['[', '`', '<', '>']) {
        return None;
    }
    // What follows `#` in a link is not part of the path.
    let path = resolve(name.trim_matches('`'))?.replace("r#", "");
    // A link whose text is the path needs no target, and rustdoc says so.
    let link = if path == plain { format!("[{shown}]") } else { format!("[{shown}]({path})") };
    Some((link, close + 2 + end + 1))
}

/// The length of the web address that `text` starts with.
fn address(text: &str) -> Option<usize> {
    let scheme = ["https://", "http://"].into_iter().find(|scheme| text.starts_with(scheme))?;
    let stop = |c: char| c.is_whitespace() || matches!(c, '<' | '>' | '`' | '"' | ')' | ']');
    let end = text.find(stop).unwrap_or(text.len());
    let address = text[..end].trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', '*']);
    (address.len() > scheme.len()).then_some(address.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_renders(comment: &str, expected: &[&str]) {
        assert_eq!(render(comment, &|_| None), expected, "{comment:?}");
    }

    #[test]
    fn prose_loses_the_space_behind_the_slashes_and_nothing_else() {
        assert_renders(" One.\n\n  Two.", &["One.", "", " Two."]);
        assert_renders("One.\n Two.", &["One.", " Two."]);
    }

    #[test]
    fn indented_blocks_are_text_and_not_run() {
        assert_renders(
            " Say:\n\n     let x = 1;\n\n     f(x);\n Done.",
            &["Say:", "", "``````text", "let x = 1;", "", "f(x);", "``````", "Done."],
        );
        assert_renders(" A:\n\n     b", &["A:", "", "``````text", "b", "``````"]);
    }

    #[test]
    fn fences_are_not_compiled_and_always_closed() {
        assert_renders(" ```\n x\n ```\n [y]", &["```text", "x", "```", "\\[y\\]"]);
        assert_renders(" ```rust,no_run\n x\n ```", &["```rust,ignore", "x", "```"]);
        assert_renders(" ```ignore-wasm\n x\n ```", &["```text", "x", "```"]);
        assert_renders(" ~~~ proto\n x", &["~~~proto,ignore", "x", "~~~"]);
    }

    #[test]
    fn markdown_that_is_meant_stays_and_the_rest_is_escaped() {
        for (text, expected) in [
            ("a [b][c.d] <e> f", "a \\[b\\]\\[c.d\\] \\<e\\> f"),
            ("see [the guide](https://x.test/a_b).", "see [the guide](https://x.test/a_b)."),
            ("map<K, V> and `map<K, V>`", "map\\<K, V\\> and `map<K, V>`"),
            ("at https://x.test/a?b=c.", "at <https://x.test/a?b=c>."),
            ("``a ` b`` [c]", "``a ` b`` \\[c\\]"),
            ("one ` alone [c]", "one ` alone \\[c\\]"),
            ("\\[kept\\]", "\\[kept\\]"),
            ("[a](b c)", "\\[a\\](b c)"),
        ] {
            assert_eq!(escape(text, &|_| None), expected);
        }
    }

    #[test]
    fn references_to_types_become_links_where_the_type_is_known() {
        let known = |name: &str| (name == "a.type.B").then(|| "super::r#type::B".to_owned());
        for (text, expected) in [
            ("See [B][a.type.B].", "See [B](super::type::B)."),
            ("See [a.type.B][].", "See [a.type.B](super::type::B)."),
            ("See [`B`][a.type.B].", "See [`B`](super::type::B)."),
            ("See [C][a.C].", "See \\[C\\]\\[a.C\\]."),
            ("See [B][", "See \\[B\\]\\["),
        ] {
            assert_eq!(escape(text, &known), expected);
        }
    }

    #[test]
    fn comments_come_in_the_order_of_the_file() {
        let location = Location {
            leading_detached_comments: vec![" Apart.\n".into()],
            leading_comments: Some(" Before.\n".into()),
            trailing_comments: Some(" Behind.\n".into()),
            ..Default::default()
        };
        assert_eq!(lines(Some(&location), &|_| None), ["Apart.", "", "Before.", "", "Behind."]);
        assert_eq!(lines(None, &|_| None), [""; 0]);
    }
}
