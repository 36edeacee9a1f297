//! The known-URL set over a restart.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use saqta_edge::clock::UnixMillis;
use saqta_edge::known::{Known, Source};

const NOW: UnixMillis = UnixMillis(1_750_000_000_000);
const CHANCE: [u8; 16] = *b"sixteen of these";

#[test]
fn what_was_known_is_known_after_a_restart_and_a_damaged_file_is_none() {
    let path = std::env::temp_dir().join(format!("saqta-known-{}", std::process::id()));
    let known = Known::open(&path, CHANCE, NOW);
    known.learn(b"/2024/01/statement/?p=1", Source::Listed, NOW);
    known.save(&path).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let file = fs::read(&path).unwrap();
    assert!(file.len() < 2_010_000 && !file.windows(9).any(|window| window == b"statement"));

    // Whatever chance says then: the key is the file's.
    let again = Known::open(&path, [0; 16], NOW);
    assert!(again.knows(b"/2024/01/statement/?p=1") && !again.is_known(b"/2024/"));
    assert_eq!(again.stats(), known.stats());

    for at in [0, 20, 40, 60, file.len() / 2, file.len() - 1] {
        let mut harmed = file.clone();
        harmed[at] ^= 1;
        fs::write(&path, &harmed).unwrap();
        let fresh = Known::open(&path, CHANCE, NOW);
        assert_eq!(fresh.stats().items, 0, "{at}");
        assert!(!fresh.is_known(b"/2024/01/statement/"));
    }
    fs::write(&path, &file[..file.len() - 1]).unwrap();
    assert_eq!(Known::open(&path, CHANCE, NOW).stats().items, 0);
    fs::remove_file(&path).unwrap();
    assert_eq!(Known::open(&path, CHANCE, NOW).stats().items, 0);
}
