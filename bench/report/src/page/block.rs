//! The parts that a page is made of. All text in them is [`Shown`]: harmless wherever it goes.

use pathproof_model::{Outcome, Severity};

use super::Table;
use crate::Shown;

/// One part of a page.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// What the page is about, and what else is said beside it.
    Title {
        /// What stands out.
        title: Shown,
        /// What does not.
        note: Shown,
    },
    /// The head of a section.
    Heading(Shown),
    /// Another subject begins within a section.
    Break,
    /// Sentences.
    Paragraph(Shown),
    /// Names and what they stand for, one below the other, in columns.
    Facts(Vec<Fact>),
    /// A name and what is said of it, as one sentence.
    Note(Fact),
    /// Several of those, below what came before.
    List(Vec<Fact>),
    /// Figures in rows and columns.
    Table(Table),
    /// Rows of symbols, each a thing that the legend names.
    Strips {
        /// What each symbol means.
        legend: Shown,
        /// The rows.
        strips: Vec<Strip>,
    },
    /// What people ask, with its answer.
    Question {
        /// As people put it.
        question: Shown,
        /// For this pair of hosts.
        answer: Shown,
    },
    /// Something noticed.
    Finding(Noticed),
    /// What was judged.
    Verdicts(Vec<Judged>),
    /// What it comes to.
    Answer(Answer),
}

impl Block {
    /// The head of a section.
    pub fn heading(text: impl AsRef<str>) -> Block {
        Block::Heading(text.into())
    }

    /// Sentences.
    pub fn paragraph(text: impl AsRef<str>) -> Block {
        Block::Paragraph(text.into())
    }

    /// A name and what is said of it.
    pub fn note(name: impl AsRef<str>, text: impl AsRef<str>) -> Block {
        Block::Note(Fact::new(name, text))
    }
}

/// A name and what it stands for; without a name it continues the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What is described.
    pub name: Shown,
    /// The description.
    pub text: Shown,
}

impl Fact {
    /// `name` and what it stands for.
    pub fn new(name: impl AsRef<str>, text: impl AsRef<str>) -> Fact {
        Fact { name: name.into(), text: text.into() }
    }

    /// More about the fact before.
    pub fn more(text: impl AsRef<str>) -> Fact {
        Fact::new("", text)
    }
}

/// Facts from pairs.
pub fn facts<N: AsRef<str>, T: AsRef<str>>(pairs: impl IntoIterator<Item = (N, T)>) -> Vec<Fact> {
    pairs.into_iter().map(|(name, text)| Fact::new(name, text)).collect()
}

/// One row of symbols.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strip {
    /// What they belong to.
    pub name: Shown,
    /// The symbols, with the figures around them.
    pub symbols: Shown,
}

/// A finding as far as it was not explained on this page before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noticed {
    /// How grave it is.
    pub severity: Severity,
    /// Its stable name.
    pub code: Shown,
    /// The step it was noticed in.
    pub step: Option<Shown>,
    /// Evidence, meaning, next action.
    pub facts: Vec<Fact>,
}

/// One verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What it says.
    pub outcome: Outcome,
    /// What was judged.
    pub subject: Shown,
    /// Why: one line for each.
    pub reasons: Vec<Shown>,
}

/// The word that a page ends with, and where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it comes to.
    pub word: Word,
    /// Why, and what to do first.
    pub text: Shown,
}

/// What a run comes to, in the words that only the answer may begin a line with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Nothing fails.
    Fit,
    /// Something fails.
    NotFit,
    /// It is not known.
    CannotTell,
    /// Nothing was measured.
    CouldNotRun,
    /// A signal ended it.
    Interrupted,
    /// Something else ended it.
    CutShort,
}

impl Word {
    /// All of them.
    pub const ALL: [Word; 6] =
        [Word::Fit, Word::NotFit, Word::CannotTell, Word::CouldNotRun, Word::Interrupted, Word::CutShort];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Word::Fit => "FIT",
            Word::NotFit => "NOT FIT",
            Word::CannotTell => "CANNOT TELL",
            Word::CouldNotRun => "COULD NOT RUN",
            Word::Interrupted => "INTERRUPTED",
            Word::CutShort => "CUT SHORT",
        }
    }
}
