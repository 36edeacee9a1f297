//! The settings file: a plan that can run, and that a reload of the same file changes nothing of; or every problem with its line
//! and its remedy.

use std::path::Path;

use saqta::problem::Place;
use saqta::settings;

pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let file = Path::new("newsroom.toml");
    match settings::read(text, file) {
        Ok(plan) => {
            assert!(!plan.listen.is_empty() && plan.shards > 0 && !plan.sites.is_empty());
            assert!(plan.any_host.is_none_or(|site| site < plan.sites.len()));
            for site in &plan.sites {
                assert!(site.origin.concurrency_max > 0);
                assert!(site.hosts.iter().all(|host| *host == host.to_lowercase()));
            }
            assert_eq!(
                settings::read(text, file).as_ref(),
                Ok(&plan),
                "read differently again"
            );
            assert_eq!(
                settings::read_again(text, file, &plan).as_ref(),
                Ok(&plan),
                "a file that did not change needs a restart"
            );
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            let lines = text.split('\n').count();
            for problem in &problems {
                assert!(
                    !problem.what.is_empty() && !problem.remedy.is_empty(),
                    "{problem:?}"
                );
                if let Place::Line(line) = problem.place {
                    assert!((1..=lines).contains(&line), "line {line} of {lines}");
                }
            }
        }
    }
}
