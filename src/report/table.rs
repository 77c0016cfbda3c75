//! A few columns: names on the left, as exact as the reader can take them, figures on the right.

use std::io::{self, Write};

use super::screen::{Screen, Tone};

/// No name is cut shorter, however narrow the screen is.
const NAME_MIN: usize = 12;
/// Between two columns.
const GAP: usize = 2;

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    head: Vec<String>,
    rows: Vec<(Vec<u8>, Vec<String>)>,
}

impl Table {
    /// A table with these columns, that of the names first.
    pub(super) fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|&word| word.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row: a name that is as it is to be shown, and its figures.
    pub(super) fn row(&mut self, name: Vec<u8>, figures: Vec<String>) {
        self.rows.push((name, figures));
    }

    /// Writes it, each line behind `prefix`.
    pub(super) fn write(
        &self,
        out: &mut dyn Write,
        prefix: &str,
        screen: Screen,
    ) -> io::Result<()> {
        let (title, titles) =
            self.head.split_first().map_or(("", &[][..]), |(t, rest)| (t.as_str(), rest));
        let widths: Vec<usize> = (0..titles.len())
            .map(|at| {
                let figures = self.rows.iter().filter_map(|(_, figures)| figures.get(at));
                let all = figures.chain([&titles[at]]).map(|cell| cell.chars().count());
                all.max().unwrap_or(0)
            })
            .collect();
        let figures_width: usize = widths.iter().map(|width| width + GAP).sum();
        let room = screen
            .width
            .map(|width| width.saturating_sub(figures_width + prefix.len()).max(NAME_MIN));
        let names: Vec<Vec<u8>> = self.rows.iter().map(|(name, _)| cut(name, room)).collect();
        let widest = names.iter().map(|name| width_of(name)).max().unwrap_or(0);
        let widest = widest.max(title.chars().count());
        let mut head = format!("{title:<widest$}");
        for (word, width) in titles.iter().zip(&widths) {
            head.push_str(&format!("  {word:>width$}"));
        }
        writeln!(out, "{prefix}{}", screen.paint(Tone::Head, &head))?;
        for (name, (_, figures)) in names.iter().zip(&self.rows) {
            out.write_all(prefix.as_bytes())?;
            out.write_all(name)?;
            write!(out, "{:pad$}", "", pad = widest - width_of(name))?;
            for (figure, width) in figures.iter().zip(&widths) {
                write!(out, "  {figure:>width$}")?;
            }
            out.write_all(b"\n")?;
        }
        Ok(())
    }
}

/// Shortens a name and keeps its end, because the end distinguishes the name from its neighbours.
fn cut(name: &[u8], room: Option<usize>) -> Vec<u8> {
    let width = width_of(name);
    match room {
        Some(room) if width > room => {
            let text = String::from_utf8_lossy(name);
            let end = text.chars().skip(width + 1 - room);
            std::iter::once('…').chain(end).collect::<String>().into()
        }
        _ => name.to_vec(),
    }
}

/// Shortens a path to `room` characters: keeps its first directory and its end.
pub(super) fn cut_middle(name: &[u8], room: usize) -> Vec<u8> {
    let width = width_of(name);
    if width <= room {
        return name.to_vec();
    }
    let text = String::from_utf8_lossy(name);
    let first = text.find('/').map_or("", |at| &text[..=at]);
    let end = text.rfind('/').map_or(&*text, |at| &text[at..]);
    let count = |text: &str| text.chars().count();
    if count(first) + 1 + count(end) <= room {
        // As many of the directories before the end as there is room for.
        let kept = room - count(first) - 1;
        let tail: String = text.chars().skip(width - kept).collect();
        let tail = tail.find('/').map_or(tail.as_str(), |at| &tail[at..]);
        return format!("{first}…{tail}").into();
    }
    cut(name, Some(room))
}

pub(super) fn width_of(name: &[u8]) -> usize {
    String::from_utf8_lossy(name).chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(width: Option<usize>, colour: bool) -> String {
        let mut table = Table::new(&["disk", "free", "ops"]);
        table.row(b"/mnt/a".to_vec(), vec!["9.0 GiB".into(), "1".into()]);
        table.row(b"/mnt/quite/a/long/name".to_vec(), vec!["10.0 GiB".into(), "23".into()]);
        let mut out = Vec::new();
        table.write(&mut out, "# ", Screen { colour, width }).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_line_up_and_a_pipe_gets_whole_names() {
        assert_eq!(
            written(None, false),
            "# disk                        free  ops\n\
             # /mnt/a                   9.0 GiB    1\n\
             # /mnt/quite/a/long/name  10.0 GiB   23\n"
        );
        assert!(written(None, true).starts_with("# \x1b[1mdisk"));
    }

    #[test]
    fn a_narrow_screen_gets_the_ends_of_names() {
        let narrow = written(Some(33), false);
        assert!(narrow.contains("# …ite/a/long/name  10.0 GiB"), "{narrow}");
        assert!(narrow.lines().all(|line| line.chars().count() <= 33), "{narrow}");
        let tiny = written(Some(5), false);
        assert!(tiny.contains("…a/long/name"), "{tiny}");
    }
}
