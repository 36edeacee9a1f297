//! Scenario files: a drill that can be read ends by itself, and one that can't says where and what to do.

use std::time::Duration;

use saqta_lab::scenario::{self, FILE_BYTES_MAX};

/// No drill is longer, whatever its file says.
const DRILL_SECONDS_MAX: u64 = 120;

pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match scenario::parse(text) {
        Ok(scenario) => {
            assert!(text.len() <= FILE_BYTES_MAX);
            assert!(scenario.phases.total() <= Duration::from_secs(DRILL_SECONDS_MAX));
            assert!(scenario.phases.attack_end() <= scenario.phases.total());
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            // The line after the last: where what is missing would be written.
            let lines = text.split('\n').count() + 1;
            for problem in &problems {
                assert!(
                    (1..=lines).contains(&problem.line),
                    "line {} of {lines}",
                    problem.line
                );
                assert!(
                    !problem.what.is_empty() && !problem.remedy.is_empty(),
                    "{problem:?}"
                );
            }
            assert!(problems.is_sorted_by_key(|problem| problem.line));
        }
    }
}
