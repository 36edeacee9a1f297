//! Links in pages, feeds and styles: each is an address of the site in its one spelling, there are no more than the bound, and what a
//! page links is known afterwards.

use saqta_edge::clock::UnixMillis;
use saqta_edge::known::links::{self, Base, Kind, LINKS_MAX, TARGET_BYTES_MAX};

pub fn check(input: &[u8]) {
    let base = Base {
        host: b"kaztag.kz",
        target: b"/news/a.html?x=1",
    };
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for kind in [Kind::Html, Kind::Xml, Kind::Css] {
        let mut found = 0;
        links::extract(kind, base, input, &mut |_, target| {
            found += 1;
            assert_eq!(target.first(), Some(&b'/'));
            assert!(target.len() <= TARGET_BYTES_MAX);
            assert!(target.iter().all(u8::is_ascii_graphic));
            assert_eq!(links::spelled(target), target, "two spellings");
            // As a reference two slashes begin a host, though as a target they are a path.
            if !target.starts_with(b"//") {
                let again = links::resolve(base, target);
                assert_eq!(again.as_deref(), Some(target), "it leads elsewhere");
            }
            seen.push(target.to_vec());
        });
        assert!(found <= LINKS_MAX);
    }
    let mut listed = 0;
    links::listed(base, input, &mut |target, day| {
        listed += 1;
        assert_eq!(target.first(), Some(&b'/'));
        assert!(target.len() <= TARGET_BYTES_MAX && day <= 99_991_231);
        seen.push(target.to_vec());
    });
    assert!(listed <= LINKS_MAX);
    KNOWN.with(|known| {
        for target in seen {
            known.learn(&target, saqta_edge::known::Source::Linked, UnixMillis(0));
            assert!(known.is_known(&target), "learned and not known");
        }
    });
}

thread_local! {
    static KNOWN: saqta_edge::known::Known =
        saqta_edge::known::Known::new(*b"sixteen of these", UnixMillis(0));
}
