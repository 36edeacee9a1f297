//! What readers search for is written nowhere.
//!
//! Alone in its process, so that whatever is open afterwards was opened by a search.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what cannot go on has failed, in helpers too"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use saqta_edge::clock::UnixMillis;
use saqta_edge::pages::{Asker, Format};
use saqta_edge::plan::Language;
use saqta_edge::search::{Question, Saved, Search, SearchForm, Share};
use tokio::time::Instant;

const PLANTS: [&str; 4] = [
    "жасырынқұпиядерек",
    "zhasyryn-derek-izdeu",
    "қайда",
    "таныскісі",
];
const NOW: UnixMillis = UnixMillis(1_795_564_800_000);

#[test]
fn no_file_is_opened_and_no_word_is_told() {
    let before = open_files();
    let share = Arc::new(Share::new(Instant::now()));
    let search = Search::start(share, 0).unwrap();
    for n in 0..200 {
        let html = format!("<h1>Мақала {n}</h1><p>Қайда болды");
        let url = format!("/{n}");
        let html = Bytes::from(html);
        search.put(Saved { url, html, at: NOW }).unwrap();
    }
    search.wait_until_read();
    let forms = [SearchForm {
        path: "/".to_owned(),
        parameter: "s".to_owned(),
        with: Vec::new(),
    }];
    let asker = Asker {
        language: Language::Kazakh,
        format: Format::Html,
        packed: true,
    };
    let mut told = String::new();
    for round in 0..20 {
        for plant in PLANTS {
            let target = format!("/?s={plant}&saqta-page={round}");
            let question = Question::of(&forms, &target).unwrap();
            if let Err(unanswered) = search.answer(&question, "a.kz", asker, NOW) {
                told.push_str(&unanswered.to_string());
            }
            told.push_str(&format!("{:?}", search.stats()));
        }
    }
    assert!(search.stats().answered > 0);
    for plant in PLANTS {
        assert!(!told.contains(plant), "{plant} in {told}");
    }
    assert_eq!(open_files(), before);
}

/// Sockets, pipes and clocks are none.
fn open_files() -> BTreeSet<PathBuf> {
    fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter(|file| file.is_file())
        .collect()
}
