//! What a search from the copy costs: pages read and indexed, memory a page, searches of each kind.
//!
//! `cargo run --release -p saqta-edge --example search_throughput [PAGES] [FOLDER]`; the pages of results are written to FOLDER, to be looked at.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use saqta_edge::clock::UnixMillis;
use saqta_edge::pages::{Asker, Format};
use saqta_edge::plan::Language;
use saqta_edge::search::{
    HITS_PER_PAGE, PutError, Question, Saved, Search, SearchForm, Share, Unanswered, page,
};
use tokio::time::Instant;

const WORDS_A_PAGE: u32 = 350;
/// Distinct word forms; which one comes follows Zipf's law, as in texts of people.
const VOCABULARY: f64 = 200_000.0;
const ROUNDS: u32 = 2_000;
const NOW: UnixMillis = UnixMillis(1_795_564_800_000);

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let pages: u32 = arguments
        .next()
        .and_then(|count| count.parse().ok())
        .unwrap_or(20_000);
    let folder = arguments.next().map(PathBuf::from);
    let share = Arc::new(Share::new(Instant::now()));
    let search = Search::start(Arc::clone(&share), 0)?;
    fill(&search, pages);

    for (what, words) in [
        ("three common words", "алматы қала сөз1"),
        ("a common and a rare word", "алматы сөз9001"),
        ("a rare word", "сөз90001"),
        ("no such word", "жоқсөз"),
        (
            "eight common words",
            "сөз0 сөз1 сөз2 сөз3 сөз4 сөз5 сөз6 сөз7",
        ),
    ] {
        let start = Instant::now();
        let mut total = 0;
        for _ in 0..ROUNDS {
            total = search.find(words, Language::Kazakh, NOW).total;
        }
        report(&format!("found {total}: {what}"), start, ROUNDS);
    }
    answers(&search);
    flood(&search);
    match folder {
        Some(folder) => write_pages(&search, &folder),
        None => Ok(()),
    }
}

fn fill(search: &Search, pages: u32) {
    let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
    let some: Vec<Bytes> = (0..200).map(|n| article(n, &mut chance)).collect();
    let start = Instant::now();
    for html in &some {
        std::hint::black_box(page::read(html, "/a"));
    }
    report("a page read", start, 200);
    println!("before: {}", resident());
    let start = Instant::now();
    for n in 0..pages {
        let saved = Saved {
            url: format!("https://a.kz/2026/{n}-maqala"),
            html: article(n, &mut chance),
            at: NOW,
        };
        while search.put(saved.clone()) == Err(PutError::QueueFull) {
            search.wait_until_read();
        }
    }
    search.wait_until_read();
    report("a page made, read and put in", start, pages);
    let stats = search.stats();
    println!(
        "{} pages, {} bytes a page by our own account; after: {}",
        stats.pages,
        stats.bytes / stats.pages.max(1),
        resident()
    );
}

/// A page as themes make them: 60 KB of which 5 are the article.
fn article(n: u32, chance: &mut u64) -> Bytes {
    let mut text = String::new();
    for _ in 0..WORDS_A_PAGE {
        text.push_str(&word(chance));
        text.push(' ');
    }
    let menu =
        "<li class=\"menu-item menu-item-type-taxonomy\"><a href=\"/bolim/\">Бөлім атауы</a></li>"
            .repeat(300);
    let script = "window.dataLayer=window.dataLayer||[];function gtag(){dataLayer.push(arguments)}"
        .repeat(200);
    Bytes::from(format!(
        "<!doctype html><html lang=kk><head><title>Мақала {n}</title><script>{script}</script>\
         <meta property=\"article:published_time\" content=\"20{:02}-{:02}-15T10:00:00+05:00\"></head><body><nav><ul>{menu}</ul></nav>\
         <article><h1>Алматыда {} {} туралы {n}-мақала шықты</h1><p>{text}</p></article><footer>{menu}</footer></body></html>",
        15 + n % 11,
        1 + n % 12,
        word(chance),
        word(chance),
    ))
}

fn word(chance: &mut u64) -> String {
    *chance ^= *chance << 13;
    *chance ^= *chance >> 7;
    *chance ^= *chance << 17;
    let part = (*chance % 1_000_000) as f64 / 1_000_000.0;
    match VOCABULARY.powf(part) as u32 - 1 {
        8 => "Алматы".to_owned(),
        9 => "қаласында".to_owned(),
        rank => format!("сөз{rank}"),
    }
}

fn answers(search: &Search) {
    let forms = forms();
    given("a page of results, no two alike", 200, |number| {
        answer(search, &forms, &format!("/?s=алматы+сөз{}", number % 5_000))
    });
    given("a page of results, the same words", ROUNDS, |_| {
        answer(search, &forms, "/?s=алматы+сөз1")
    });
    given(
        "a page of results, a made-up word beside",
        ROUNDS,
        |number| answer(search, &forms, &format!("/?s=алматы+zzz{number}")),
    );
}

/// Beyond the share nothing is given: only what is given is timed.
fn given(what: &str, count: u32, mut ask: impl FnMut(u32) -> Result<usize, Unanswered>) {
    let (mut asked, mut answered) = (0_u32, 0);
    let mut took = Duration::ZERO;
    while answered < count {
        asked = asked.wrapping_add(1);
        let one = Instant::now();
        if ask(asked).is_ok() {
            took += one.elapsed();
            answered += 1;
        }
    }
    println!(
        "{what}: {:.1} µs each of {count} within the share",
        took.as_micros() as f64 / f64::from(count)
    );
}

/// As fast as one thread can ask, for two seconds, and what is left to readers.
fn flood(search: &Search) {
    let forms = forms();
    let before = search.stats();
    let start = Instant::now();
    let mut asked = 0_u32;
    let mut refused = Duration::ZERO;
    while start.elapsed() < Duration::from_secs(2) {
        let one = Instant::now();
        if answer(search, &forms, &format!("/?s=x{asked}")) == Err(Unanswered::ShareSpent) {
            refused += one.elapsed();
        }
        asked += 1;
    }
    let stats = search.stats();
    let answered = stats.answered - before.answered;
    let turned = stats.share_spent - before.share_spent;
    println!(
        "random words: {asked} in 2 s, {answered} answered, {turned} not, {:.0} ns each of those",
        refused.as_nanos() as f64 / turned.max(1) as f64
    );
}

fn forms() -> [SearchForm; 1] {
    [SearchForm {
        path: "/".to_owned(),
        parameter: "s".to_owned(),
        with: Vec::new(),
    }]
}

fn answer(search: &Search, forms: &[SearchForm], target: &str) -> Result<usize, Unanswered> {
    let question = Question::of(forms, target).ok_or(Unanswered::NothingStored)?;
    let page = search.answer(&question, "a.kz", asker(Language::Kazakh, true), NOW)?;
    Ok(page.body().len())
}

fn asker(language: Language, packed: bool) -> Asker {
    Asker {
        language,
        format: Format::Html,
        packed,
    }
}

fn write_pages(search: &Search, folder: &std::path::Path) -> std::io::Result<()> {
    let real = [
        (
            "https://a.kz/sot-sheshimi",
            "kk",
            "Сот журналистің шағымын қанағаттандырды",
            "Алматы қалалық соты редакцияның пайдасына шешім шығарды. Қалада өткен отырыста адвокат қосымша дәлелдер ұсынды, тараптар шешімге бір ай ішінде шағымдана алады.",
        ),
        (
            "https://a.kz/ru/sud",
            "ru",
            "Суд в Алматы удовлетворил жалобу журналиста",
            "Городской суд Алматы вынес решение в пользу редакции. Стороны могут обжаловать его в течение месяца, сообщил адвокат. Следующее заседание по делу назначено через две недели.",
        ),
        (
            "https://a.kz/en/court",
            "en",
            "Almaty court upholds journalist’s complaint & orders “review” <in full>",
            "The city court of Almaty ruled in favour of the newsroom. Either side may appeal within a month, the lawyer said.",
        ),
    ];
    for (url, lang, title, text) in real {
        let title = title.replace('&', "&amp;").replace('<', "&lt;");
        let html = format!(
            "<html lang={lang}><meta property=\"article:published_time\" content=\"2026-11-24T10:00:00+05:00\"><article><h1>{title}</h1><p>{text}</article>"
        );
        while search.put(Saved {
            url: url.to_owned(),
            html: Bytes::from(html.clone()),
            at: NOW,
        }) == Err(PutError::QueueFull)
        {}
    }
    search.wait_until_read();
    std::fs::create_dir_all(folder)?;
    let forms = forms();
    for (name, target, language) in [
        ("kk", "/?s=алматы+соты", Language::Kazakh),
        ("ru", "/?s=суд+алматы", Language::Russian),
        ("en", "/?s=almaty+court", Language::English),
        ("second", "/?s=алматы&saqta-page=2", Language::Kazakh),
        ("none", "/?s=нетакогослова", Language::Russian),
        ("empty", "/?s=", Language::Kazakh),
        (
            "long",
            "/?s=АлматыҚызылордаАлматыҚызылордаАлматыҚызылордаАлматыҚызылорда",
            Language::Kazakh,
        ),
    ] {
        if let Some(question) = Question::of(&forms, target) {
            for _ in 0..1_000 {
                if let Ok(page) = search.answer(&question, "a.kz", asker(language, false), NOW) {
                    std::fs::write(folder.join(format!("{name}.html")), page.body())?;
                    println!(
                        "{name}: {} bytes, about {HITS_PER_PAGE} results",
                        page.body().len()
                    );
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
    Ok(())
}

fn resident() -> String {
    std::fs::read_to_string("/proc/self/status")
        .unwrap_or_default()
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap_or("unknown")
        .to_owned()
}

fn report(what: &str, start: Instant, count: u32) {
    let elapsed = start.elapsed();
    println!(
        "{what}: {count} in {elapsed:.2?}, {:.1} µs each",
        elapsed.as_nanos() as f64 / 1_000.0 / f64::from(count.max(1))
    );
}
