//! Debian's Chromium: with scripts and without, on a phone and on a desk, with several tabs, a private window, another address on the
//! way, and as those meet the page who read it by ear.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use saqta_edge::Edge;
use saqta_edge::body::Body;
use saqta_edge::ladder::code::CodeText;
use saqta_edge::pages::{Asker, Format, Held, Page, Pages};
use saqta_edge::plan::Language;
use serde_json::{Value, json};

use crate::attack::{BROWSER, LIBRARY};
use crate::browser::Browser;
use crate::{
    Asked, COMMENT, HOST, Hit, Newsroom, TICKET_WAIT, after, edge, encoded, pictures, until,
};

/// What the waiting page is called.
const WAITING: &str = "Your page will open shortly";

fn navigate(browser: &mut Browser, target: &str) {
    let url = format!("http://{HOST}{target}");
    browser.ask("Page.navigate", json!({"url": url})).unwrap();
}

/// Looks until the newsroom's page is there. Events are not waited for: one page follows the other too fast.
fn opened(browser: &mut Browser, target: &str) {
    let url = format!("http://{HOST}{target}");
    until(target, || {
        here(browser).is_some_and(|page| page["title"] == "opened" && page["url"] == url)
    });
}

/// The page that is shown. Between two pages there is none.
fn here(browser: &mut Browser) -> Option<Value> {
    let mut history = browser.ask("Page.getNavigationHistory", json!({})).ok()?;
    let here = history["currentIndex"].as_u64().unwrap() as usize;
    Some(history["entries"][here].take())
}

/// What a script would find, whether pages may have some or not.
fn look(browser: &mut Browser, expression: &str) -> Value {
    let look = json!({"returnByValue": true, "expression": expression});
    let mut looked = browser.ask("Runtime.evaluate", look).unwrap();
    looked["result"]["value"].take()
}

fn passes(browser: &mut Browser) -> usize {
    let cookies = browser.ask("Network.getCookies", json!({})).unwrap();
    let cookies = cookies["cookies"].as_array().unwrap();
    cookies
        .iter()
        .filter(|cookie| cookie["name"] == "saqta-pass")
        .count()
}

/// Another address of the same reader's, as when a phone leaves the café: what was open is cut off, and what comes next goes another way.
struct Way {
    address: SocketAddr,
    to: Arc<Mutex<SocketAddr>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Way {
    fn new(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = Self {
            address: listener.local_addr().unwrap(),
            to: Arc::new(Mutex::new(to)),
            open: Arc::default(),
        };
        let (to, open) = (Arc::clone(&way.to), Arc::clone(&way.open));
        std::thread::spawn(move || {
            for reader in listener.incoming().flatten() {
                let edge = TcpStream::connect(*to.lock().unwrap()).unwrap();
                let ends = [reader, edge];
                let mut open = open.lock().unwrap();
                open.extend(ends.iter().map(|end| end.try_clone().unwrap()));
                for (from, to) in [(0, 1), (1, 0)] {
                    let from = ends[from].try_clone().unwrap();
                    let to = ends[to].try_clone().unwrap();
                    std::thread::spawn(move || carry(from, to));
                }
            }
        });
        way
    }

    fn change(&self, to: SocketAddr) {
        *self.to.lock().unwrap() = to;
        for end in self.open.lock().unwrap().drain(..) {
            let _gone_already = end.shutdown(Shutdown::Both);
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let mut some = [0; 16 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut some) {
        if to.write_all(&some[..bytes]).is_err() {
            break;
        }
    }
    for end in [from, to] {
        let _gone_already = end.shutdown(Shutdown::Both);
    }
}

/// Scripts or none, language, and how wide its window is.
type Reader = (&'static str, bool, &'static str, u32);

const READERS: [Reader; 3] = [
    ("with-scripts", true, "en", 1280),
    ("on-a-phone", false, "kk", 390),
    ("on-a-desk", false, "ru", 1280),
];

/// As if it were new.
fn dress(browser: &mut Browser, agent: &str, scripts: bool, language: &str) {
    let agent = json!({"userAgent": agent, "acceptLanguage": language});
    browser.ask("Network.setUserAgentOverride", agent).unwrap();
    browser
        .ask("Network.clearBrowserCookies", json!({}))
        .unwrap();
    let disabled = json!({"value": !scripts});
    browser
        .ask("Emulation.setScriptExecutionDisabled", disabled)
        .unwrap();
}

fn press_button(browser: &mut Browser) {
    look(browser, "document.querySelector('button').click()");
}

/// Each with a browser of its own, at the same time: they wait for the same seconds.
fn side_by_side(edge: &Edge, reads: impl Fn(&mut Browser, Reader) + Sync) {
    std::thread::scope(|threads| {
        for reader in READERS {
            let reads = &reads;
            threads.spawn(move || {
                let mut browser = Browser::start(edge.addresses()[0]).unwrap();
                browser.ask("Network.enable", json!({})).unwrap();
                reads(&mut browser, reader);
            });
        }
    });
}

#[test]
fn a_comment_that_has_to_wait_arrives_once() {
    let newsroom = Newsroom::start();
    let edge = edge(&newsroom, Hit::Agent);
    side_by_side(&edge, |browser, (name, scripts, language, width)| {
        dress(browser, BROWSER, scripts, language);
        let page = format!("/with-a-form/{name}");
        browser.open(&page, width).unwrap();
        // From now on a rule hits.
        dress(browser, LIBRARY, scripts, language);
        press_button(browser);
        let target = format!("/comment{}", page.replace('/', "-"));
        if !scripts {
            browser
                .hear(|message| message["method"] == "Page.loadEventFired")
                .unwrap();
            browser
                .picture(&pictures().join(format!("held-{name}.png")))
                .unwrap();
            // Whoever presses at once is given the page again and loses nothing.
            press_button(browser);
            browser
                .hear(|message| message["method"] == "Page.loadEventFired")
                .unwrap();
            after(TICKET_WAIT);
            press_button(browser);
        }
        opened(browser, &target);
        let asked = newsroom.asked.lock().unwrap();
        let sent: Vec<&Asked> = asked.iter().filter(|one| one.target == target).collect();
        let [sent] = sent.as_slice() else {
            panic!("{name}: {} times", sent.len())
        };
        let body = String::from_utf8_lossy(&sent.body);
        assert_eq!(body, format!("comment={}", encoded(COMMENT)), "{name}");
    });
}

/// Judges every page of ours, light and dark, as axe-core does for whoever reads by ear, by keyboard or in large print.
#[test]
fn no_page_of_ours_shuts_anybody_out() {
    const TOOL: &str = "SAQTA_AXE";
    let axe = std::env::var_os(TOOL).unwrap_or_else(|| {
        panic!("run `cargo x test`, which installs axe-core, or set {TOOL} to the path of its axe.min.js")
    });
    let axe = std::fs::read_to_string(axe).unwrap();
    let newsroom = Newsroom::start();
    let edge = edge(&newsroom, Hit::Agent);
    let mut browser = Browser::start(edge.addresses()[0]).unwrap();
    let pages = Pages::new();
    let mut all = Vec::new();
    for language in [Language::Kazakh, Language::Russian, Language::English] {
        let asker = Asker {
            language,
            format: Format::Html,
            packed: false,
        };
        // Waiting pages differ in a number alone.
        let others =
            |page: &Page| !matches!(page, Page::Waiting { reload_secs } if *reload_secs > 5);
        for page in Page::all().filter(others) {
            let body = pages.page(page, asker).body();
            let text = String::from_utf8(body.to_vec()).unwrap();
            all.push((format!("{page:?} {language:?}"), text));
        }
        for held in Held::KINDS {
            let Body::Full(Some(body)) = pages
                .held(held, "form", &CodeText::BLANK, asker)
                .into_body()
            else {
                panic!("no page")
            };
            let text = String::from_utf8(body.to_vec()).unwrap();
            all.push((format!("{held:?} {language:?}"), text));
        }
    }
    // What has no name is found, or the judge is asleep.
    all.push((
        "bad".to_owned(),
        "<html><button></button></html>".to_owned(),
    ));
    let frames = browser.ask("Page.getFrameTree", json!({})).unwrap();
    let frame = frames["frameTree"]["frame"]["id"].clone();
    for scheme in ["light", "dark"] {
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.ask("Emulation.setEmulatedMedia", scheme).unwrap();
        for (name, text) in &all {
            // Their scripts and reloads lead away from what is looked at. A reload is the purpose of the page that has it: there is
            // nothing yet to read (WCAG 2.2.1, essential).
            let (before, rest) = text.split_once("<script>").unwrap_or((text, ""));
            let after = rest.split_once("</script>").map_or("", |(_, after)| after);
            let text = format!("{before}{after}")
                .replace("http-equiv=\"refresh\"", "name=\"was-refresh\"");
            let content = json!({"frameId": frame, "html": text});
            browser.ask("Page.setDocumentContent", content).unwrap();
            let judge = json!({"awaitPromise": true, "returnByValue": true, "expression": format!(
                "window.axe || (() => {{ {axe} }})(); axe.run().then((found) => [found.passes.length, ...found.violations.map((one) => `${{one.id}}: ${{one.help}}`)])"
            )});
            let judged = browser.ask("Runtime.evaluate", judge).unwrap();
            let found = judged["result"]["value"].as_array().unwrap();
            if name == "bad" {
                assert!(found.len() > 1, "{judged}");
            } else {
                assert!(found[0].as_u64().unwrap() > 5, "{name}: {judged}");
                assert_eq!(found.len(), 1, "{name}: {judged}");
            }
        }
    }
}

#[test]
fn the_waiting_page_opens_what_was_asked_for() {
    let newsroom = Newsroom::start();
    let edge = edge(&newsroom, Hit::Network);
    side_by_side(&edge, |browser, (name, scripts, language, width)| {
        dress(browser, BROWSER, scripts, language);
        let target = format!("/news/{name}");
        if scripts {
            // It is gone before it can be looked at.
            navigate(browser, &target);
        } else {
            let page = browser.open(&target, width).unwrap();
            // It asks for no sheet of its own.
            assert!(page.fits && !page.has_style, "{name}");
            browser
                .picture(&pictures().join(format!("waiting-{name}.png")))
                .unwrap();
        }
        // By itself it becomes what was asked for, at the same address.
        opened(browser, &target);
        assert_eq!(newsroom.times(&target), 1, "{name}");
        assert_eq!(passes(browser), 1, "{name}");
        // And the next page is there at once.
        let next = format!("/news/{name}-next");
        navigate(browser, &next);
        opened(browser, &next);
        assert_eq!(newsroom.times(&next), 1, "{name}");
    });
    assert!(edge.stats().totals.waiting >= READERS.len() as u64);
}

/// One that shares no cookies with any other, as a private one does.
fn window(browser: &mut Browser) -> Value {
    browser.session.clear();
    let made = browser.ask("Target.createBrowserContext", json!({}));
    made.unwrap()["browserContextId"].take()
}

fn blank(window: &Value) -> Value {
    json!({"url": "about:blank", "browserContextId": window})
}

/// Each tab waits by itself, and what the first comes by lets the second in.
#[test]
fn two_tabs_that_wait_at_once_both_open() {
    let newsroom = Newsroom::start();
    let edge = edge(&newsroom, Hit::Network);
    let mut browser = Browser::start(edge.addresses()[0]).unwrap();
    let mut tabs = Vec::new();
    for (name, scripts) in [("with-scripts", true), ("without", false)] {
        let window = window(&mut browser);
        for tab in ["one", "two"] {
            browser.open_tab(blank(&window)).unwrap();
            let disabled = json!({"value": !scripts});
            browser
                .ask("Emulation.setScriptExecutionDisabled", disabled)
                .unwrap();
            tabs.push((browser.session.clone(), format!("/news/{name}-{tab}")));
        }
    }
    for (tab, target) in &tabs {
        browser.session.clone_from(tab);
        navigate(&mut browser, target);
    }
    for (tab, target) in &tabs {
        browser.session.clone_from(tab);
        opened(&mut browser, target);
        assert_eq!(newsroom.times(target), 1, "{target}");
        assert_eq!(passes(&mut browser), 1, "{target}");
    }
}

/// The waiting page leaves nothing behind it in the browser's history.
#[test]
fn back_and_forward_lead_to_articles() {
    let newsroom = Newsroom::start();
    let edge = edge(&newsroom, Hit::Network);
    let mut browser = Browser::start(edge.addresses()[0]).unwrap();
    for (name, scripts) in [("with-scripts", true), ("without", false)] {
        dress(&mut browser, BROWSER, scripts, "en");
        browser
            .ask("Page.resetNavigationHistory", json!({}))
            .unwrap();
        let targets = ["one", "two"].map(|page| format!("/news/{name}-{page}"));
        for target in &targets {
            // The first waits, the second is there at once.
            navigate(&mut browser, target);
            opened(&mut browser, target);
        }
        for (step, target) in [("back", &targets[0]), ("forward", &targets[1])] {
            look(&mut browser, &format!("history.{step}()"));
            opened(&mut browser, target);
        }
        let history = browser.ask("Page.getNavigationHistory", json!({})).unwrap();
        let titles: Vec<_> = history["entries"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|page| page["url"] != "about:blank")
            .map(|page| page["title"].as_str().unwrap())
            .collect();
        assert!(titles.iter().all(|title| *title == "opened"), "{titles:?}");
    }
}

/// Nothing that was come by before is known in it, nor is what was come by in it known after.
#[test]
fn a_private_window_waits_for_itself() {
    let newsroom = Newsroom::start();
    let edge = edge(&newsroom, Hit::Network);
    let mut browser = Browser::start(edge.addresses()[0]).unwrap();
    for number in 0..3 {
        let before = edge.stats().totals.waiting;
        let private = (number > 0).then(|| window(&mut browser));
        if let Some(private) = &private {
            browser.open_tab(blank(private)).unwrap();
        }
        let target = format!("/news/window-{number}");
        navigate(&mut browser, &target);
        opened(&mut browser, &target);
        assert_eq!(newsroom.times(&target), 1);
        assert_eq!(edge.stats().totals.waiting, before + 1, "{target}");
        assert_eq!(passes(&mut browser), 1);
        if let Some(private) = private {
            browser.session.clear();
            let close = json!({"browserContextId": private});
            browser.ask("Target.disposeBrowserContext", close).unwrap();
        }
    }
}

/// A ticket was given to who came by IPv4, and is shown by the same who comes by IPv6: a rule hits him on both.
#[test]
fn another_address_on_the_way_changes_nothing() {
    let newsroom = Newsroom::start();
    let edge = edge(&newsroom, Hit::Agent);
    let [v4, v6] = edge.addresses() else {
        panic!("two addresses")
    };
    for (name, scripts) in [("with-scripts", true), ("without", false)] {
        let way = Way::new(*v4);
        let mut browser = Browser::start(way.address).unwrap();
        dress(&mut browser, LIBRARY, false, "en");
        let target = format!("/news/{name}");
        navigate(&mut browser, &target);
        until("it waits", || {
            here(&mut browser).is_some_and(|page| page["title"] == WAITING)
        });
        way.change(*v6);
        if scripts {
            // Works for the ticket it has.
            let enabled = json!({"value": false});
            browser
                .ask("Emulation.setScriptExecutionDisabled", enabled)
                .unwrap();
            navigate(&mut browser, &target);
        }
        opened(&mut browser, &target);
        assert_eq!(newsroom.times(&target), 1, "{target}");
        // And back by the first.
        way.change(*v4);
        let next = format!("/news/{name}-next");
        navigate(&mut browser, &next);
        opened(&mut browser, &next);
    }
}

/// Role, name, how deep a heading.
type Told = (String, String, Option<u64>);

const LANGUAGE: &str = "document.documentElement.lang";

/// What a screen reader is told, in its order.
fn told(browser: &mut Browser) -> Vec<Told> {
    let mut tree = browser
        .ask("Accessibility.getFullAXTree", json!({}))
        .unwrap();
    let nodes = tree["nodes"].take();
    let nodes = nodes.as_array().unwrap();
    let mut told = Vec::new();
    // Parents stand before their children, but children of one parent need not stand side by side.
    let mut next = vec![&nodes[0]];
    while let Some(node) = next.pop() {
        let children = node["childIds"].as_array().unwrap();
        let of_id = |id: &Value| nodes.iter().find(|node| node["nodeId"] == *id);
        next.extend(children.iter().rev().filter_map(of_id));
        let role = node["role"]["value"].as_str().unwrap_or_default();
        if node["ignored"] == false && !matches!(role, "InlineTextBox" | "generic") {
            let name = node["name"]["value"].as_str().unwrap_or_default();
            let properties = node["properties"].as_array().unwrap();
            let level = properties.iter().find(|one| one["name"] == "level");
            let level = level.and_then(|level| level["value"]["value"].as_u64());
            told.push((role.to_owned(), name.to_owned(), level));
        }
    }
    told
}

/// The heading first, then what is so and what to do, then the way on; in one language, said to be it.
#[test]
fn a_screen_reader_is_told_all_in_order() {
    const PAGES: [(&str, &str, &str); 3] = [
        ("kk", "Бет сәлден соң ашылады", "Қайталап көру"),
        ("ru", "Страница скоро откроется", "Попробовать ещё раз"),
        ("en", WAITING, "Try again"),
    ];
    let newsroom = Newsroom::start();
    let edge = edge(&newsroom, Hit::Agent);
    let mut browser = Browser::start(edge.addresses()[0]).unwrap();
    browser.ask("Network.enable", json!({})).unwrap();
    browser.ask("Accessibility.enable", json!({})).unwrap();
    let is = |(role, name, level): &Told, expected: (&str, &str)| {
        (role.as_str(), name.as_str()) == expected && (role != "heading" || *level == Some(1))
    };
    for (language, title, again) in PAGES {
        dress(&mut browser, LIBRARY, false, language);
        browser.open(&format!("/news/{language}"), 390).unwrap();
        assert_eq!(look(&mut browser, LANGUAGE), language);
        let page = told(&mut browser);
        assert!(is(&page[0], ("RootWebArea", title)), "{page:?}");
        let main = page.iter().skip_while(|(role, ..)| role != "main");
        let mut main = main.skip(1);
        assert!(
            main.next().is_some_and(|one| is(one, ("heading", title))),
            "{page:?}"
        );
        // What is so, in sentences, before anything that can be pressed.
        let said: Vec<_> = main
            .by_ref()
            .take_while(|(role, ..)| role != "link")
            .collect();
        let letters = said
            .iter()
            .map(|(_, name, _)| name.chars().count())
            .sum::<usize>();
        assert!(letters > 100, "{page:?}");
        let links = page.iter().filter(|(role, ..)| role == "link");
        assert!(
            links
                .into_iter()
                .eq(page.iter().filter(|one| is(one, ("link", again))))
        );
        assert!(page.iter().any(|one| is(one, ("link", again))), "{page:?}");

        // A form that waits has one button with its name.
        dress(&mut browser, BROWSER, false, language);
        browser.open("/with-a-form/told", 390).unwrap();
        dress(&mut browser, LIBRARY, false, language);
        press_button(&mut browser);
        until("the form is held", || {
            look(&mut browser, LANGUAGE) == language
                && look(&mut browser, "document.querySelector('button') !== null") == true
                && look(&mut browser, "document.title !== 'opened'") == true
        });
        let page = told(&mut browser);
        let heading = page
            .iter()
            .position(|(role, ..)| role == "heading")
            .unwrap();
        let button = page
            .iter()
            .position(|(role, name, _)| role == "button" && !name.is_empty())
            .unwrap();
        assert!(heading < button, "{page:?}");
        let colours = json!({"features": [{"name": "forced-colors", "value": "active"}]});
        browser.ask("Emulation.setEmulatedMedia", colours).unwrap();
        assert_eq!(
            look(
                &mut browser,
                "getComputedStyle(document.querySelector('button')).borderTopStyle"
            ),
            "solid"
        );
    }
}

/// The bar is the only thing that moves, and not for whom movement makes ill; with colours of one's own it is still to be seen.
#[test]
fn motion_and_colours_are_the_readers() {
    const SEEN: &str = "(() => {
        const style = (what) => getComputedStyle(document.querySelector(what));
        return {
            moving: document.getAnimations().length,
            bar: style('.bar').display,
            text: style('h1').color !== style('body').backgroundColor,
            track: style('.bar').outlineStyle === 'solid'
                || style('.bar').backgroundColor !== style('body').backgroundColor,
            fill: style('.bar i').backgroundColor !== style('.bar').backgroundColor,
        };
    })()";
    let newsroom = Newsroom::start();
    let edge = edge(&newsroom, Hit::Network);
    let mut browser = Browser::start(edge.addresses()[0]).unwrap();
    dress(&mut browser, BROWSER, false, "kk");
    let features: [(&str, &str, u64, &str); 5] = [
        ("prefers-reduced-motion", "no-preference", 1, "block"),
        ("prefers-reduced-motion", "reduce", 0, "none"),
        ("forced-colors", "active", 1, "block"),
        ("prefers-color-scheme", "dark", 1, "block"),
        ("prefers-contrast", "more", 1, "block"),
    ];
    for (name, value, moving, bar) in features {
        let feature = json!({"features": [{"name": name, "value": value}]});
        browser.ask("Emulation.setEmulatedMedia", feature).unwrap();
        let page = browser.open(&format!("/news/{name}-{value}"), 390).unwrap();
        assert!(page.fits, "{name}");
        let picture = pictures().join(format!("waiting-{name}-{value}.png"));
        browser.picture(&picture).unwrap();
        let expected =
            json!({"moving": moving, "bar": bar, "text": true, "track": true, "fill": true});
        assert_eq!(look(&mut browser, SEEN), expected, "{name}: {value}");
        // No ticket has ripened before all has been looked at.
        browser
            .ask("Network.clearBrowserCookies", json!({}))
            .unwrap();
    }
}
