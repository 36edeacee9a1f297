use proptest::prelude::*;

use super::*;

const HTML: &[u8] = b"text/html; charset=UTF-8";

/// Enough words of text to be telling.
fn page(middle: &str) -> String {
    let text = "Қалада жаңа көпір ашылды деп хабарлады әкімдік бүгін таңертең ".repeat(4);
    format!(
        "<!DOCTYPE html><html><head><title>a</title></head><body><h1>b</h1>{middle}<p>{text}</p></body></html>"
    )
}

fn html(body: &str) -> Likeness {
    of(HTML, None, body.as_bytes()).expect("short")
}

#[test]
fn what_is_made_anew_for_each_answer_does_not_count() {
    for (one, other) in [
        ("<!-- Cached 2026-11-25 14:32:05 in 0.3s -->", ""),
        ("<!-->", ""),
        ("<!--a--!>", "<!-- -- ->-->"),
        (
            "<script nonce=\"r4nd0m\">x()</script>",
            "<script nonce='other'>x()</script>",
        ),
        (
            "<script>var s={\"nonce\":\"3f9a1c2b4d\"}</script>",
            "<script>var s={\"nonce\":\"99aa1c2b40\"}</script>",
        ),
        (
            "<script>s={nonce:'short1'}</script>",
            "<script>s={nonce:'short2'}</script>",
        ),
        (
            "<script>{\"csrf.token\":\"a\\/b==\"}</script>",
            "<script>{\"csrf.token\":\"a\\/b==\"}</script>",
        ),
        (
            "<script>{\"t\":\"MTczMjU3MDMwOC4w=\"}</script>",
            "<script>{\"t\":\"MTczMjU3MDMwOS4w=\"}</script>",
        ),
        (
            "<script>now=1764109098</script>",
            "<script>now=1764109099</script>",
        ),
        (
            "<script>now=1764109098.123</script>",
            "<script>now=1764109099.5</script>",
        ),
        (
            "<script>r('9f8e7d6c5b4a3f2e')</script>",
            "<script>r('0f8e7d6c5b4a3f2e')</script>",
        ),
        (
            "<input type=hidden name=form_token value=abc>",
            "<input type=hidden name=form_token value=xyz>",
        ),
        (
            "<div data-drupal-selector=\"form-KbBzXhqRtYwPlMnDfGsVcAeUiOjKbBzXhqRtYwPlMnD\">",
            "<div data-drupal-selector=\"form-3b0zXhqRtYwPlMnDfGsVcAeUiOjKbBzXhqRtYwPlMn7\">",
        ),
        (
            "<input value='abc' name=q type='hidden'>",
            "<input value='xyz' name=q type='hidden'>",
        ),
        (
            "<input type=\"hidden\" name=\"0a1b2c3d4e5f60718293a4b5c6d7e8f9\" value=\"1\">",
            "<input type=\"hidden\" name=\"ffff2c3d4e5f60718293a4b5c6d7e8f9\" value=\"1\">",
        ),
        (
            "<meta name=\"csrf-token\" content=\"a+b/c\">",
            "<meta name=\"csrf-token\" content=\"d+e/f\">",
        ),
        (
            "<a href=\"/x?_wpnonce=3f9a1c2b4d&amp;a=1\">x</a>",
            "<a href=\"/x?_wpnonce=0000000000&amp;a=1\">x</a>",
        ),
        ("<div id=\"uid_8237\">x</div>", "<div id=\"uid_1\">x</div>"),
        ("<div data-nonce=x1>x</div>", "<div data-nonce=x2>x</div>"),
        (
            "<div class=\"ad\"><a href=/one>Buy</a></div>",
            "<div class=\"ad\"><div><b>Sell</b></div></div>",
        ),
        (
            "<ins id=yandex_rtb_R-1><i>a</i></ins>",
            "<ins id=yandex_rtb_R-1></ins>",
        ),
        (
            "<time datetime=\"2026-11-25\">5 минут бұрын</time>",
            "<time datetime=\"2026-11-25\">6 минут бұрын</time>",
        ),
        (
            "<span class=\"post-views\">1 234</span>",
            "<span class=\"post-views\">1 235</span>",
        ),
        ("<p>14:32:05</p>", "<p>9:00:01</p>"),
        (
            "<p>2026-11-25T14:32:05+06:00</p>",
            "<p>2026-11-25T14:32:06+06:00</p>",
        ),
        (
            "<p>32 queries in 0.345 seconds.</p>",
            "<p>32 queries in 0.21 seconds.</p>",
        ),
    ] {
        let (a, b) = (html(&page(one)), html(&page(other)));
        assert!(a.is_proof_with(b), "{one} beside {other}");
    }
}

#[test]
fn what_a_reader_sees_counts() {
    for (one, other) in [
        ("<p>бір</p>", "<p>екі</p>"),
        ("<p>1</p>", "<p>2</p>"),
        ("<p>523.45</p>", "<p>523.46</p>"),
        ("<p>523.45 с мая</p>", "<p>523.46 с мая</p>"),
        ("<p>14:30</p>", "<p>14:31</p>"),
        ("<p>77011234567</p>", "<p>77011234568</p>"),
        ("<p>a b</p>", "<p>ab</p>"),
        ("<p>a</p><p>b</p>", "<p>a b</p>"),
        ("<p>3f9a1c2b4d</p>", "<p>4f9a1c2b4d</p>"),
        (
            "<img src=/photo/3f9a1c2b4d5e6f70.jpg>",
            "<img src=/photo/4f9a1c2b4d5e6f70.jpg>",
        ),
        (
            "<img src=/photo/1764109098.jpg>",
            "<img src=/photo/1764109099.jpg>",
        ),
        ("<a href=/news/1>x</a>", "<a href=/news/2>x</a>"),
        ("<a href='/n?id=1'>x</a>", "<a href='/n?id=2'>x</a>"),
        ("<html lang=kk>", "<html lang=ru>"),
        (
            "<script>{\"headline\":\"a\"}</script>",
            "<script>{\"headline\":\"b\"}</script>",
        ),
        ("<![CDATA[a]]>", "<![CDATA[b]]>"),
        ("a < b", "a < c"),
        ("<input name=q value=war>", "<input name=q value=peace>"),
        (
            "<meta name=description content=war>",
            "<meta name=description content=peace>",
        ),
        ("<main class=ad>a</main>", "<main class=ad>b</main>"),
        ("<div class=ad>a", "<div class=ad>b"),
        (
            "<div class=adventure>a</div>",
            "<div class=adventure>b</div>",
        ),
        ("<style>a{}</style>", "<style>b{}</style>"),
    ] {
        assert!(
            html(&page(one)).differs_from(html(&page(other))),
            "{one} beside {other}"
        );
    }
}

#[test]
fn a_long_slot_is_part_of_the_page() {
    let slot = |word: &str| format!("<div class=ad>{}</div>", word.repeat(SLOT_BYTES_MAX / 4));
    assert!(html(&page(&slot("abc "))).differs_from(html(&page(&slot("xyz ")))));
}

#[test]
fn the_pair_it_was_asked_with_is_left_out_of_links() {
    let with = page(
        "<link rel=canonical href=\"/n?x=v1\"><a href=\"/n?page=2&amp;x=v1#c\">2</a><a href='/login?to=%2Fn%3Fx%3Dv1%26page%3D2'>l</a>\
         <script>u=\"\\/n?a=1\\u0026x=v1\"</script>",
    );
    let without = page(
        "<link rel=canonical href=\"/n\"><a href=\"/n?page=2#c\">2</a><a href='/login?to=%2Fn%3Fpage%3D2'>l</a>\
         <script>u=\"\\/n?a=1\"</script>",
    );
    let read = |body: &str| of(HTML, Some(b"x=v1"), body.as_bytes()).expect("short");
    assert!(read(&with).is_proof_with(read(&without)));
    assert!(read(&page("<p>x=v1</p>")).differs_from(read(&page(""))));
}

#[test]
fn too_little_text_proves_nothing() {
    for (kind, body, telling) in [
        (HTML, "<p>a b c</p>", false),
        (HTML, "<!-- a b -->", false),
        (b"application/json", "{\"a\":1}", false),
        (b"image/png", "\u{1}PNG", true),
        (b"image/png", "", false),
    ] {
        let read = of(kind, None, body.as_bytes()).expect("short");
        assert_eq!(read.is_proof_with(read), telling, "{body}");
        assert_eq!(read.is_telling(), telling);
    }
    let json = format!("{{{}}}", "\"word\":\"а б\",".repeat(20));
    let read = of(b"application/json", None, json.as_bytes()).expect("short");
    assert!(read.is_telling());
}

#[test]
fn a_body_without_end_has_no_likeness() {
    let mut reading = Reading::new(HTML, None);
    let chunk = vec![b'a'; 64 * 1024];
    for _ in 0..=PAGE_BYTES_MAX / chunk.len() as u64 {
        reading.push(&chunk);
    }
    assert_eq!(reading.finish(), None);
}

#[test]
fn pairs_that_are_spelt_one_way() {
    for (pair, plain) in [
        ("x=1", true),
        ("utm_a-b.c=Z9", true),
        ("x=", false),
        ("x", false),
        ("=1", false),
        ("x=1=2", false),
        ("x=%31", false),
        ("x=a b", false),
    ] {
        assert_eq!(is_plain_pair(pair.as_bytes()), plain, "{pair}");
    }
}

fn markup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("<".to_owned()),
        Just(">".to_owned()),
        Just("<!--".to_owned()),
        Just("-->".to_owned()),
        Just("<script>".to_owned()),
        Just("</script>".to_owned()),
        Just("<div class=ad>".to_owned()),
        Just("</div>".to_owned()),
        Just("<input type=hidden value=".to_owned()),
        Just(" a=\"".to_owned()),
        Just("0.31 ".to_owned()),
        Just("14:32:05".to_owned()),
        Just("&amp;".to_owned()),
        "[a-f0-9:=\"' /.%<>!-]{0,12}",
    ];
    prop_oneof![
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..2_000),
    ]
}

proptest! {
    #[test]
    fn pieces_do_not_matter(body in markup(), cuts in proptest::collection::vec(0usize..2_000, 0..5), kind in 0usize..3) {
        let kind = [HTML, b"application/json", b"font/woff2"][kind];
        let whole = of(kind, Some(b"a=b"), &body);
        let mut reading = Reading::new(kind, Some(b"a=b"));
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        for pair in cuts.windows(2) {
            reading.push(&body[pair[0]..pair[1]]);
        }
        prop_assert_eq!(reading.finish(), whole);
    }

    #[test]
    fn another_word_is_another_page(one in "[а-я]{1,9}", other in "[а-я]{1,9}") {
        let (a, b) = (html(&page(&one)), html(&page(&other)));
        prop_assert_eq!(one != other, a.differs_from(b));
    }
}
