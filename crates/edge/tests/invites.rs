//! Whoever the newsroom has invited by a link is staff, over real sockets, whatever goes on.

#![allow(clippy::unwrap_used, reason = "tests say so when they fail")]

mod kit;

use kit::attack::LIBRARY;
use kit::browser::Browser;
use kit::{Origin, page, plan, stand_a_rule};
use saqta_edge::Edge;

/// In ten minutes, of all browsers of one invitation.
const USES_MAX: usize = 1_200;

fn newsroom() -> Origin {
    Origin::start(|asked, _| {
        page(
            "200 OK",
            "Content-Type: text/html\r\nCache-Control: no-store\r\n",
            &asked.line,
        )
    })
}

fn site_of(edge: &Edge) -> String {
    edge.stats().sites.swap_remove(0).name
}

#[test]
fn whoever_presses_the_button_is_staff_and_whoever_only_looks_is_not() {
    let origin = newsroom();
    let edge = Edge::start(plan(origin.address)).unwrap();
    assert!(edge.invite("no such site", "one", 1).is_none());
    let link = edge
        .invite(&site_of(&edge), "Aigerim", 90)
        .unwrap()
        .unwrap();
    stand_a_rule(&edge, LIBRARY);
    // A messenger that fetches the link, and a person who opens it.
    for fields in ["Accept: */*\r\n", kit::browser::PAGE] {
        let mut visitor = Browser::new(&edge, LIBRARY);
        visitor.fields = fields;
        for _ in 0..5 {
            let page = visitor.get(&link);
            assert_eq!(page.status, 200, "{}", page.head);
            assert_eq!(page.field("saqta-answer"), Some("invitation"));
            assert!(page.text().contains("<form method=\"post\">"));
            assert!(page.head.contains("form-action 'self'"));
            assert_eq!(page.field("cache-control"), Some("no-store"));
            assert!(!visitor.has("saqta-staff"));
        }
    }
    for _ in 0..3 {
        let mut editor = Browser::new(&edge, LIBRARY);
        let done = editor.post(&link, "", b"");
        assert_eq!(done.status, 200, "{}", done.head);
        let cookie = done.field("set-cookie").unwrap();
        let (_, rest) = cookie.split_once("; Path=/; Max-Age=").unwrap();
        let (lasts_s, rest) = rest.split_once("; ").unwrap();
        assert_eq!(rest, "SameSite=Lax; HttpOnly");
        // Ninety days, less what this test has taken.
        let lasts_s: u64 = lasts_s.parse().unwrap();
        assert!((7_770_000..=7_776_000).contains(&lasts_s), "{cookie}");
        let at_work = editor.get("/wp-admin/post.php?post=7");
        assert_eq!(at_work.status, 200, "{}", at_work.head);
    }
    let mut late = Browser::new(&edge, LIBRARY);
    assert_eq!(late.post(&link, "", b"").status, 410);
    assert_eq!(late.get(&link).status, 410);
    assert_eq!(late.get("/saqta-staff/AAAAAAAAAAAAAAAAAAAAAA").status, 410);
    assert!(!late.has("saqta-staff"));
    let classes = edge.stats().sites.swap_remove(0).classes;
    assert_eq!((classes[0].name, classes[0].granted), ("staff", 3));
    for asked in origin.asked() {
        assert_eq!(asked.field("cookie"), None, "{}", asked.head);
        assert!(!asked.line.contains("saqta-staff"));
    }
}

#[test]
fn what_is_lost_is_taken_back_and_what_is_stolen_ends() {
    let origin = newsroom();
    let edge = Edge::start(plan(origin.address)).unwrap();
    let site = site_of(&edge);
    stand_a_rule(&edge, LIBRARY);
    let mut invited = ["phone", "laptop"].map(|label| {
        let link = edge.invite(&site, label, 1).unwrap().unwrap();
        let mut browser = Browser::new(&edge, LIBRARY);
        browser.post(&link, "", b"");
        assert_eq!(browser.get("/wp-admin/").status, 200);
        browser
    });
    assert_eq!(edge.revoke("phone").unwrap(), 1);
    assert_eq!(edge.revoke("phone").unwrap(), 0);
    assert_eq!(invited[0].get("/wp-admin/").status, 503);
    let uses = (0..USES_MAX + 10)
        .take_while(|_| invited[1].get("/wp-admin/").status == 200)
        .count();
    // One it had before.
    assert_eq!(uses, USES_MAX - 1);
    let list = edge.invited();
    assert_eq!(list.len(), 1);
    assert!(list[0].label == "laptop" && list[0].is_spent && list[0].browsers == 1);
    // Its holder waits as strangers do.
    invited[1].work();
    assert_eq!(invited[1].get("/wp-admin/").status, 200);
    let mut cookies = invited[1].cookies.iter();
    assert!(cookies.any(|(name, _)| name == "saqta-pass"));
}

/// What only begins like a link is asked for like everything else, and a rule that hits it hits it.
#[test]
fn what_is_no_link_is_judged_like_everything_else() {
    let origin = newsroom();
    let edge = Edge::start(plan(origin.address)).unwrap();
    stand_a_rule(&edge, LIBRARY);
    let asked = origin.asked().len();
    for target in ["/saqta-staff/", "/saqta-staff/abc", "/saqta-staff/a/b?c=d"] {
        let answer = Browser::new(&edge, LIBRARY).get(target);
        assert_eq!(answer.status, 503, "{target}: {}", answer.head);
        assert_ne!(answer.field("saqta-answer"), Some("invitation"));
    }
    assert_eq!(origin.asked().len(), asked);
}
