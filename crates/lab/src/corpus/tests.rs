use std::collections::{HashMap, HashSet};

use super::*;

const HOST: &str = "qala.example";

fn page(client: &Client, referer: Option<&str>, cookie: Option<&str>, language: Lang) -> String {
    let mut out = Vec::new();
    client.write_get(&mut out, "/kk/?s=1", HOST, referer, cookie, language);
    String::from_utf8(out).unwrap()
}

fn shipped(name: &str) -> &'static Client {
    Corpus::shipped().client(name).unwrap()
}

#[test]
fn the_corpus_is_wide_enough() {
    let clients = Corpus::shipped().clients();
    let of = |kind| {
        clients
            .iter()
            .filter(|client| client.kind() == kind)
            .count()
    };
    assert!(
        clients
            .iter()
            .filter(|client| client.kind().reads())
            .count()
            >= 40,
        "{} clients",
        clients.len()
    );
    for (kind, least) in [
        (Kind::Browser, 28),
        (Kind::InApp, 8),
        (Kind::Text, 2),
        (Kind::Feed, 3),
        (Kind::Crawler, 4),
        (Kind::Preview, 2),
        (Kind::Library, 15),
    ] {
        assert!(of(kind) >= least, "{kind:?}: {}", of(kind));
    }
    let names: HashSet<&str> = clients.iter().map(Client::name).collect();
    assert_eq!(names.len(), clients.len());
    let requests: HashSet<String> = clients
        .iter()
        .map(|client| page(client, None, None, Lang::Russian))
        .collect();
    assert_eq!(requests.len(), clients.len(), "no two send the same");
}

#[test]
fn every_client_writes_a_request_a_strict_server_takes() {
    for client in Corpus::shipped().clients() {
        let request = page(client, Some("https://t.me/"), Some("_ga=1"), Lang::Kazakh);
        let mut fields = [httparse::EMPTY_HEADER; 40];
        let mut head = httparse::Request::new(&mut fields);
        let parsed = head.parse(request.as_bytes()).unwrap();
        assert_eq!(
            parsed,
            httparse::Status::Complete(request.len()),
            "{}",
            client.name()
        );
        assert_eq!(
            (head.method, head.path, head.version),
            (Some("GET"), Some("/kk/?s=1"), Some(1))
        );
        let mut seen = HashSet::new();
        for field in head.headers.iter() {
            assert!(
                seen.insert(field.name.to_lowercase()),
                "{} sends {} twice",
                client.name(),
                field.name
            );
            assert!(
                field.value.is_ascii() && !field.value.contains(&b'{'),
                "{}: {}",
                client.name(),
                field.name
            );
        }
        assert!(
            seen.contains("host") && seen.contains("user-agent"),
            "{}",
            client.name()
        );
        if client.kind().reads() {
            assert!(
                ["cookie", "referer", "accept-language"]
                    .iter()
                    .all(|name| seen.contains(*name)),
                "{}",
                client.name()
            );
        }
    }
}

#[test]
fn chrome_and_firefox_write_what_they_write() {
    let chrome = page(
        shipped("chrome-android"),
        Some("https://www.google.com/"),
        Some("_ga=1"),
        Lang::Kazakh,
    );
    let expected = "GET /kk/?s=1 HTTP/1.1\r\n\
        Host: qala.example\r\n\
        Connection: keep-alive\r\n\
        sec-ch-ua: \"Chromium\";v=\"148\", \"Google Chrome\";v=\"148\", \"Not/A)Brand\";v=\"99\"\r\n\
        sec-ch-ua-mobile: ?1\r\n\
        sec-ch-ua-platform: \"Android\"\r\n\
        Upgrade-Insecure-Requests: 1\r\n\
        User-Agent: Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Mobile Safari/537.36\r\n\
        Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7\r\n\
        Sec-Fetch-Site: cross-site\r\n\
        Sec-Fetch-Mode: navigate\r\n\
        Sec-Fetch-User: ?1\r\n\
        Sec-Fetch-Dest: document\r\n\
        Referer: https://www.google.com/\r\n\
        Accept-Encoding: gzip, deflate, br, zstd\r\n\
        Accept-Language: kk-KZ,kk;q=0.9,ru-RU;q=0.8,ru;q=0.7,en-US;q=0.6,en;q=0.5\r\n\
        Cookie: _ga=1\r\n\r\n";
    assert_eq!(chrome, expected);

    let mut asset = Vec::new();
    shipped("firefox-esr").write_asset(
        &mut asset,
        "/assets/site.css",
        HOST,
        "https://qala.example/kk/",
        None,
        Lang::Russian,
    );
    let expected = "GET /assets/site.css HTTP/1.1\r\n\
        Host: qala.example\r\n\
        User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
        Accept: text/css,*/*;q=0.1\r\n\
        Accept-Language: ru-RU,ru;q=0.8,en-US;q=0.5,en;q=0.3\r\n\
        Accept-Encoding: gzip, deflate, br, zstd\r\n\
        Referer: https://qala.example/kk/\r\n\
        Connection: keep-alive\r\n\
        Sec-Fetch-Dest: style\r\n\
        Sec-Fetch-Mode: no-cors\r\n\
        Sec-Fetch-Site: same-origin\r\n\r\n";
    assert_eq!(String::from_utf8(asset).unwrap(), expected);
}

#[test]
fn what_is_not_there_is_not_sent() {
    for client in Corpus::shipped().clients() {
        for cookie in [None, Some("")] {
            let request = page(client, None, cookie, Lang::Russian).to_lowercase();
            assert!(
                !request.contains("referer:") && !request.contains("cookie:"),
                "{}",
                client.name()
            );
        }
        if page(client, None, None, Lang::Russian).contains("Sec-Fetch-Site") {
            for (referer, site) in [
                (None, "none"),
                (Some("https://qala.example/kk/"), "same-origin"),
                (Some("https://qala.example.evil/"), "cross-site"),
            ] {
                assert!(
                    page(client, referer, None, Lang::Russian)
                        .contains(&format!("Sec-Fetch-Site: {site}\r\n"))
                );
            }
        }
    }
}

#[test]
fn a_form_is_sent_whole() {
    let mut out = Vec::new();
    shipped("safari-ios").write_post(
        &mut out,
        "/wp-login.php",
        HOST,
        None,
        None,
        Lang::English,
        b"log=a&pwd=b",
    );
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("POST /wp-login.php HTTP/1.1\r\n"));
    assert!(text.ends_with("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 11\r\n\r\nlog=a&pwd=b"), "{text}");
}

#[test]
fn readers_are_the_same_people_every_time() {
    let corpus = Corpus::shipped();
    assert_eq!(corpus.reader(1, 7), corpus.reader(1, 7));
    let people: HashSet<String> = (0..5_000)
        .filter_map(|n| corpus.reader(1, n).cookie)
        .collect();
    assert_eq!(people.len(), 5_000, "every reader has cookies of their own");
    for n in 0..200 {
        let cookie = corpus.reader(1, n).cookie.unwrap();
        assert!(
            (150..600).contains(&cookie.len()) && cookie.starts_with("_ga=GA1.1."),
            "{cookie}"
        );
        assert!(!cookie.contains(['\r', '\n', ',']), "{cookie}");
    }
}

#[test]
fn readers_come_in_the_shares_of_the_corpus() {
    let corpus = Corpus::shipped();
    let mut counts: HashMap<&str, u32> = HashMap::new();
    for n in 0..20_000 {
        let visitor = corpus.reader(3, n);
        assert!(visitor.client.kind().reads());
        *counts.entry(visitor.client.name()).or_default() += 1;
    }
    let total: u32 = corpus.clients().iter().map(|client| client.weight).sum();
    for client in corpus.clients().iter().filter(|client| client.weight >= 20) {
        let expected = 20_000.0 * f64::from(client.weight) / f64::from(total);
        let got = f64::from(counts[client.name()]);
        assert!(
            (got - expected).abs() < 5.0 * expected.sqrt(),
            "{}: {got}, expected {expected:.0}",
            client.name()
        );
    }
}

#[test]
fn attackers_are_of_their_grade() {
    let corpus = Corpus::shipped();
    let perfect_of = |grade| {
        (0..10_000)
            .filter(|&n| corpus.attacker(1, grade, false, n).client.kind().reads())
            .count()
    };
    assert_eq!(perfect_of(Grade::Crude), 0);
    assert_eq!(perfect_of(Grade::Perfect), 10_000);
    assert!(
        (2_800..3_200).contains(&perfect_of(Grade::Half)),
        "{}",
        perfect_of(Grade::Half)
    );

    let crude: HashSet<&str> = (0..1_000)
        .map(|n| corpus.attacker(1, Grade::Crude, false, n).client.name())
        .collect();
    assert_eq!(crude.len(), 1, "one library: {crude:?}");
    let over_seeds: HashSet<&str> = (0..100)
        .map(|seed| corpus.attacker(seed, Grade::Crude, false, 0).client.name())
        .collect();
    assert!(over_seeds.len() > 8, "{over_seeds:?}");
    let over_http2: HashSet<Kind> = (0..100)
        .map(|seed| corpus.attacker(seed, Grade::Crude, true, 0).client.kind())
        .collect();
    assert_eq!(over_http2, HashSet::from([Kind::Http2Library]));

    let mut chance = Chance::new(1);
    let attacker = corpus.attacker(1, Grade::Crude, false, 0);
    assert_eq!(
        (attacker.referer(&mut chance, HOST), attacker.cookie),
        (None, None)
    );
    let perfect = corpus.attacker(1, Grade::Perfect, false, 0);
    assert!(perfect.cookie.is_some());
}

/// A perfect attacker's requests have the same shares of clients, languages, cookies and referers as a reader's.
#[test]
fn a_perfect_attacker_cannot_be_told_from_a_reader() {
    let corpus = Corpus::shipped();
    let profile = |visitor: fn(u64) -> Visitor| {
        let mut chance = Chance::new(9);
        let mut shares = HashMap::<String, f64>::new();
        for n in 0..20_000 {
            let visitor = visitor(n);
            let referer = visitor.referer(&mut chance, HOST);
            let cookies = visitor
                .cookie
                .iter()
                .flat_map(|cookie| cookie.split("; "))
                .map(|pair| pair.split('=').next().unwrap());
            let cookies: Vec<&str> = cookies.filter(|name| !name.starts_with("_ga_")).collect();
            for fact in [
                format!("client {}", visitor.client.name()),
                format!("language {:?}", visitor.language),
                format!("referer {referer:?}"),
                format!("cookies {cookies:?}"),
            ] {
                *shares.entry(fact).or_default() += 1.0;
            }
        }
        shares
    };
    let readers = profile(|n| Corpus::shipped().reader(1, n));
    let attackers = profile(|n| Corpus::shipped().attacker(1, Grade::Perfect, false, n));
    for (fact, &count) in &readers {
        let other = attackers.get(fact).copied().unwrap_or_default();
        assert!(
            (count - other).abs() <= 6.0 * (count + other).sqrt(),
            "{fact}: {count} readers, {other} attackers"
        );
    }
    let both = (0..1_000)
        .filter(|&n| corpus.reader(1, n) == corpus.attacker(1, Grade::Perfect, false, n))
        .count();
    assert_eq!(both, 0, "nobody is a copy of a reader");
}

#[test]
fn a_bad_corpus_says_where() {
    let table = [
        ("Host: a", "corpus, line 1: a field before the first client"),
        (
            "# x\n[a browser]",
            "corpus, line 2: a client is [name kind weight]",
        ),
        ("[a goat 1]", "corpus, line 1: no such kind of client"),
        ("[a browser many]", "corpus, line 1: the weight is a number"),
        (
            "[a browser 0]",
            "corpus, line 1: readers have a weight, others have none",
        ),
        (
            "[a library 0]\nHost",
            "corpus, line 2: a field is Name: value",
        ),
        (
            "[a library 0]\nHost: {hos}",
            "corpus, line 2: no such place: {hos}",
        ),
        (
            "[a library 0]\nHost: {host",
            "corpus, line 2: a place is not closed",
        ),
    ];
    for (text, says) in table {
        assert_eq!(Corpus::parse(text).unwrap_err().to_string(), says);
    }
}
