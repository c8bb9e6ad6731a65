//! The pages of the findings: how each is recognised, what else looks like it, how to prove it by hand and how to fix it.
//! `pathproof explain` prints them and `docs/FINDINGS.md` is made from them.
//!
//! The texts are prose and stand in files of their own, one for each family (`pages/*.txt`). A page begins with
//! `## CODE`; a section begins a line with one of the titles below and a colon; what is indented by four is a command.
//! `= NAME` stands for the sections of the page `## NAME` in `pages/common.txt`, for what many findings are fixed by.
//! A test demands a whole page of every code of the catalogue.

use std::fmt::Write as _;

use super::{CATALOGUE, Entry, Severity};

const FAMILIES: &[&str] = &[
    include_str!("pages/run.txt"),
    include_str!("pages/hosts.txt"),
    include_str!("pages/tcp.txt"),
    include_str!("pages/ports.txt"),
    include_str!("pages/datagrams.txt"),
    include_str!("pages/mtu.txt"),
    include_str!("pages/rdma.txt"),
    include_str!("pages/smb.txt"),
    include_str!("pages/channels.txt"),
    include_str!("pages/networks.txt"),
    include_str!("pages/contend.txt"),
];
const COMMON: &str = include_str!("pages/common.txt");

/// The sections of a page, in their order. The last three are where it can be fixed; at least one of them is there.
const TITLES: [&str; 6] =
    ["Recognised by", "What else looks like it", "By hand", "Linux", "Windows", "Switches"];
/// So many of them are on every page.
#[cfg(test)]
const TITLES_ALWAYS: usize = 3;

/// Everything there is to say about one code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// What the catalogue says.
    pub entry: &'static Entry,
    /// How it is recognised, what else looks like it, how to prove and to fix it.
    pub sections: Vec<Section>,
}

/// A part of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What it is about.
    pub title: &'static str,
    /// Its lines; those that begin with four spaces are commands.
    pub lines: Vec<&'static str>,
}

/// The page of a code, in whatever case it was typed.
pub fn page(code: &str) -> Option<Page> {
    let entry = CATALOGUE.iter().find(|entry| entry.code.eq_ignore_ascii_case(code))?;
    let text = FAMILIES.iter().find_map(|family| text_of(family, entry.code));
    Some(Page { entry, sections: sections(text.unwrap_or_default()) })
}

/// What stands under `## name`.
fn text_of<'a>(family: &'a str, name: &str) -> Option<&'a str> {
    let pages = family.split("\n## ").skip(1);
    pages.filter_map(|page| page.split_once('\n')).find(|(code, _)| *code == name).map(|(_, text)| text)
}

fn sections(text: &'static str) -> Vec<Section> {
    let mut sections: Vec<Section> = vec![];
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix("= ") {
            sections.extend(self::sections(text_of(COMMON, name).unwrap_or_default()));
            continue;
        }
        let begins = line.split_once(':').and_then(|(title, rest)| {
            Some((TITLES.iter().find(|known| **known == title)?, rest.trim_start()))
        });
        match (begins, sections.last_mut()) {
            (Some((title, rest)), _) => {
                let lines = (!rest.is_empty()).then_some(rest).into_iter().collect();
                sections.push(Section { title, lines });
            }
            (None, Some(section)) => section.lines.push(line),
            (None, None) => {}
        }
    }
    sections
}

impl Severity {
    /// As it stands in results.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

fn is_command(line: &str) -> bool {
    line.starts_with("    ")
}

impl Page {
    /// For a terminal.
    pub fn text(&self) -> String {
        let Entry { code, severity, meaning, next } = self.entry;
        let mut text = format!("{code} ({})\n", severity.name());
        let mut section = |title: &str, lines: &[&str]| {
            let _ = write!(text, "\n{title}\n");
            let mut prose = String::new();
            for line in lines {
                if is_command(line) {
                    wrapped(&mut text, &std::mem::take(&mut prose));
                    let _ = writeln!(text, "  {line}");
                } else {
                    prose = if prose.is_empty() { (*line).to_owned() } else { format!("{prose} {line}") };
                }
            }
            wrapped(&mut text, &prose);
        };
        section("Means", &[meaning]);
        section("Next", &[next]);
        for part in &self.sections {
            section(part.title, &part.lines);
        }
        text
    }

    /// For `docs/FINDINGS.md`.
    pub fn markdown(&self) -> String {
        let Entry { code, severity, meaning, next } = self.entry;
        let mut text = format!("\n## {code}\n\n*{}.* {meaning}\n\n**Next.** {next}\n", severity.name());
        for section in &self.sections {
            let _ = write!(text, "\n**{}.**", section.title);
            let mut before: Option<bool> = None;
            for line in &section.lines {
                // A block of commands stands between empty lines.
                let apart = before.unwrap_or(false) != is_command(line);
                let separator = if before.is_none() && !apart {
                    " "
                } else if apart {
                    "\n\n"
                } else {
                    "\n"
                };
                let _ = write!(text, "{separator}{line}");
                before = Some(is_command(line));
            }
            text.push('\n');
        }
        text
    }
}

/// A paragraph, indented, in lines that a terminal holds.
pub(crate) fn wrapped(text: &mut String, prose: &str) {
    const WIDTH: usize = 98;
    let mut column = 0;
    for word in prose.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH {
            text.push('\n');
            column = 0;
        }
        let gap = if column == 0 { "  " } else { " " };
        let _ = write!(text, "{gap}{word}");
        column += gap.len() + length;
    }
    if column > 0 {
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_whole_page_and_every_page_a_code() {
        let mut missing = vec![];
        for entry in CATALOGUE {
            let titles: Vec<&str> =
                page(entry.code).unwrap().sections.iter().map(|section| section.title).collect();
            let mut places = titles.iter().map(|title| TITLES.iter().position(|known| known == title));
            let in_order = places.clone().is_sorted() && places.all(|place| place.is_some());
            let whole = titles.starts_with(&TITLES[..TITLES_ALWAYS]) && titles.len() > TITLES_ALWAYS;
            if !(in_order && whole) {
                missing.push((entry.code, titles));
            }
        }
        assert!(missing.is_empty(), "bench/model/src/finding/pages needs a whole page for {missing:#?}");
        for code in FAMILIES.iter().flat_map(|family| family.lines().filter_map(|l| l.strip_prefix("## "))) {
            assert!(CATALOGUE.iter().any(|entry| entry.code == code), "{code} is in no catalogue");
        }
    }

    #[test]
    fn a_section_says_something_and_every_common_text_exists() {
        for text in FAMILIES {
            for name in text.lines().filter_map(|line| line.strip_prefix("= ")) {
                assert!(text_of(COMMON, name).is_some(), "{name} is not in common.txt");
            }
        }
        for entry in CATALOGUE {
            let page = page(entry.code).unwrap();
            for section in &page.sections {
                let says: usize = section.lines.iter().map(|line| line.len()).sum();
                assert!(says >= 8, "{}: {} says nothing", entry.code, section.title);
            }
            let by_hand = &page.sections[2];
            assert!(
                by_hand.lines.iter().any(|line| is_command(line) || line.contains('`')),
                "{}: no command proves it",
                entry.code
            );
            assert!(page.text().lines().all(|line| line.chars().count() <= 130), "{}", entry.code);
        }
    }

    #[test]
    fn a_code_is_found_as_it_was_typed() {
        assert_eq!(page("mtu-blackhole").unwrap().entry.code, "MTU-BLACKHOLE");
        assert!(page("MTU").is_none());
    }
}
