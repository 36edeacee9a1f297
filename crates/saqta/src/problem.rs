//! What is wrong with what the operator wrote, where, and what to write instead.
//!
//! A newsroom's only administrator edits the settings at night. Being told of one mistake at a time means a restart for each, so
//! problems are collected, put in the order of the file and shown together, and each carries its remedy: a line that can be
//! typed, wherever we know one.

use std::fmt;
use std::path::{Path, PathBuf};

/// More problems than this in one file is one misunderstanding repeated; the rest is counted, not listed.
const LISTED_MAX: usize = 50;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The settings file; `None` when the command line is meant.
    pub file: Option<PathBuf>,
    pub place: Place,
    /// One sentence without a full stop.
    pub what: String,
    /// What to do about it. Never empty.
    pub remedy: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Of the file as a whole, or something it lacks.
    Whole,
    /// Counted from 1.
    Line(usize),
    Flag(&'static str),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.place) {
            (Some(file), Place::Line(line)) => write!(f, "{}:{line}: ", file.display())?,
            (_, Place::Flag(flag)) => write!(f, "{flag}: ")?,
            (Some(file), Place::Whole) => write!(f, "{}: ", file.display())?,
            (None, Place::Whole | Place::Line(_)) => {}
        }
        write!(f, "{}\n    {}", self.what, self.remedy)
    }
}

/// Problems while they are being found.
#[derive(Debug)]
pub(crate) struct Problems {
    file: Option<PathBuf>,
    found: Vec<Problem>,
}

impl Problems {
    pub(crate) fn of_file(file: &Path) -> Self {
        Self {
            file: Some(file.to_path_buf()),
            found: Vec::new(),
        }
    }

    pub(crate) fn of_command_line() -> Self {
        Self {
            file: None,
            found: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, place: Place, what: impl Into<String>, remedy: impl Into<String>) {
        self.found.push(Problem {
            file: self.file.clone(),
            place,
            what: what.into(),
            remedy: remedy.into(),
        });
    }

    /// Whether this line or flag is among them: what a wrong value would change need not be asked then.
    pub(crate) fn speak_of(&self, place: Place) -> bool {
        place != Place::Whole && self.found.iter().any(|problem| problem.place == place)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// In the order of the file, bounded.
    pub(crate) fn into_list(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|problem| problem.place);
        let beyond = self.found.len().saturating_sub(LISTED_MAX);
        if beyond > 0 {
            self.found.truncate(LISTED_MAX);
            self.found.push(Problem {
                file: self.file,
                place: Place::Whole,
                what: format!("{beyond} more problems are not shown"),
                remedy: "mend those above and check again".into(),
            });
        }
        self.found
    }
}
