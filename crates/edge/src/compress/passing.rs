//! Text that no cache may keep, compressed on its way to its one reader.
//!
//! An editor's pages and a logged-in reader's are the origin's alone to make, each time anew. They are fetched as identity like all
//! pages, and would go out so: several times the bytes, to the people who write the news. Asking the origin to compress them instead
//! would be no choice: that a page is somebody's own shows in its answer and not in its request; the origin's processor is what an
//! attack is after; and many origins do not compress at all. So it is done here, chunk by chunk as the client takes them, at low
//! levels. What a flood can make us compress is bounded by what the origin is let answer, the memory for
//! it by [`CODERS_BYTES_MAX`](crate::budget::CODERS_BYTES_MAX), beyond which pages go out as they are.
//!
//! Without brotli: its strength is the long search, for which there is no time here, and at quality 4 with this window it held 3.1 MB for
//! a page (by the test at the end). Browsers that know brotli and not zstd get gzip.
//!
//! Whatever has been taken in is flushed when the origin pauses: a page that sends its head and then thinks shows its head.
//!
//! **Secrets.** Whoever can make a reader's browser ask for a page with words of his choice in it, often, and sees the size of the answers,
//! can guess a secret in the same page letter by letter (BREACH). nginx and the CDNs compress such pages all the same and leave it to
//! applications to mask their tokens; so do we for what a reader does himself. But the attack needs thousands of requests that
//! another site's script makes, and today's browsers say which those are: `Sec-Fetch-Site` without `Sec-Fetch-User`. They get
//! identity. A browser that does not say it gets what nginx would give it; cookies are `SameSite` by default in most, and then there
//! is no secret in what comes back.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use zstd::zstd_safe::CParameter;

use super::{Accepted, Coding};
use crate::body::{Body, BodyError};
use crate::budget::{Budget, Held};
use crate::cache::control::Control;
use crate::cache::stored;
use crate::fields::Fields;

/// Less effort than for what is compressed once for many.
const GZIP_LEVEL: u32 = 4;
const ZSTD_LEVEL: i32 = 3;

/// 128 KiB of a page are remembered; few pages are longer, and each doubling doubles what a coder holds.
const WINDOW_BITS: u32 = 17;

/// Two tables of 128 KiB; level 3 by itself takes 512 and 256.
const ZSTD_TABLE_BITS: u32 = 15;

/// What a coder holds at most while it works, by [`Coding`]; `coders_hold_what_is_counted_for_them` measures it.
const fn coder_bytes(coding: Coding) -> usize {
    match coding {
        Coding::Identity | Coding::Brotli => 0,
        Coding::Gzip => 512 * 1024,
        Coding::Zstd => 1536 * 1024,
    }
}

/// What a request says about the coding of its answer, for when the request has gone on to the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish(Coding);

impl Wish {
    pub(crate) fn of(method: &Method, fields: &HeaderMap) -> Self {
        let as_it_is = *method == Method::HEAD
            || fields.contains_key(header::RANGE)
            || Control::of(fields).no_transform
            || is_made_by_another_site(fields);
        Self(if as_it_is {
            Coding::Identity
        } else {
            Accepted::of(fields).best_of(|coding| coding != Coding::Brotli)
        })
    }
}

/// By its script or its links to pictures, rather than by a reader who follows a link.
fn is_made_by_another_site(fields: &HeaderMap) -> bool {
    let another = fields
        .field("sec-fetch-site")
        .is_some_and(|site| matches!(site, b"cross-site" | b"same-site"));
    another && !fields.contains_key("sec-fetch-user")
}

/// The response as this client gets it. `response` is for nobody else and is not stored.
pub(crate) fn passed(
    wish: Wish,
    mut response: Response<Body>,
    budget: &Arc<Budget>,
) -> Response<Body> {
    let length = response
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    let may_be_coded = stored::may_be_coded(response.status(), response.headers(), length)
        && !is_event_stream(response.headers());
    if !may_be_coded {
        return response;
    }
    stored::add_vary(response.headers_mut());
    let Wish(coding) = wish;
    if response.body().is_end_stream() {
        return response;
    }
    let Some(held) = budget.try_hold(coder_bytes(coding)) else {
        return response;
    };
    let Some(coder) = Coder::new(coding) else {
        return response;
    };
    let fields = response.headers_mut();
    fields.insert(
        header::CONTENT_ENCODING,
        HeaderValue::from_static(coding.token()),
    );
    fields.remove(header::CONTENT_LENGTH);
    // Of identity, and the origin's to cut.
    fields.remove(header::ACCEPT_RANGES);
    weaken(fields, header::ETAG);
    response.map(|body| {
        Body::stream(Coded {
            body,
            coder: Some(coder),
            is_behind: false,
            trailers: None,
            held,
        })
    })
}

fn is_event_stream(fields: &HeaderMap) -> bool {
    fields
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// The same page, but not byte for byte (RFC 9110 §8.8.1).
fn weaken(fields: &mut HeaderMap, name: HeaderName) {
    let Some(tag) = fields.get(&name).map(HeaderValue::as_bytes) else {
        return;
    };
    if tag.starts_with(b"\"")
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag].concat())
    {
        fields.insert(name, weak);
    }
}

enum Coder {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Coder {
    /// `None`: there is nothing to do, or no memory to do it in.
    fn new(coding: Coding) -> Option<Self> {
        match coding {
            Coding::Identity | Coding::Brotli => None,
            Coding::Gzip => Some(Self::Gzip(GzEncoder::new(
                Vec::new(),
                flate2::Compression::new(GZIP_LEVEL),
            ))),
            Coding::Zstd => {
                let mut coder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL).ok()?;
                for parameter in [
                    CParameter::WindowLog(WINDOW_BITS),
                    CParameter::HashLog(ZSTD_TABLE_BITS),
                    CParameter::ChainLog(ZSTD_TABLE_BITS),
                ] {
                    coder.set_parameter(parameter).ok()?;
                }
                Some(Self::Zstd(coder))
            }
        }
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Gzip(coder) => coder,
            Self::Zstd(coder) => coder,
        }
    }

    /// What has come out since the last look.
    fn out(&mut self) -> Bytes {
        Bytes::from(std::mem::take(match self {
            Self::Gzip(coder) => coder.get_mut(),
            Self::Zstd(coder) => coder.get_mut(),
        }))
    }

    /// The rest of it.
    fn finish(self) -> io::Result<Bytes> {
        Ok(Bytes::from(match self {
            Self::Gzip(coder) => coder.finish()?,
            Self::Zstd(coder) => coder.finish()?,
        }))
    }
}

struct Coded {
    body: Body,
    /// `None`: all of the body has been coded.
    coder: Option<Coder>,
    /// The coder may hold something that the reader has not had.
    is_behind: bool,
    trailers: Option<HeaderMap>,
    #[expect(dead_code, reason = "held until the body is dropped")]
    held: Held,
}

impl HttpBody for Coded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Some(coder) = &mut this.coder else {
            let trailers = this.trailers.take();
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        };
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        // Coders write to memory; one that fails has none left.
        let coded = match polled {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    this.is_behind = true;
                    coder.writer().write_all(&data).map(|()| coder.out())
                }
                Err(frame) => {
                    this.trailers = frame.into_trailers().ok();
                    Ok(Bytes::new())
                }
            },
            Poll::Ready(Some(Err(error))) => {
                this.coder = None;
                return Poll::Ready(Some(Err(error)));
            }
            Poll::Ready(None) => match this.coder.take().map(Coder::finish) {
                Some(rest) => rest,
                None => Ok(Bytes::new()),
            },
            Poll::Pending if this.is_behind => {
                this.is_behind = false;
                coder.writer().flush().map(|()| coder.out())
            }
            Poll::Pending => return Poll::Pending,
        };
        match coded {
            Ok(out) if out.is_empty() => {
                // One chunk at a time: others have their turn.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Ok(out) => Poll::Ready(Some(Ok(Frame::data(out)))),
            Err(_) => {
                this.coder = None;
                this.trailers = None;
                Poll::Ready(Some(Err(BodyError::OriginBrokeOff)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.coder.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "bodies of these tests are `Limited`, which the lint cannot see"
)]
mod tests {
    use super::*;
    use crate::budget::CODERS_BYTES_MAX;
    use crate::compress::tests::unpacked;
    use http::StatusCode;
    use http_body_util::{BodyExt, Limited};
    use proptest::prelude::*;
    use std::collections::VecDeque;

    const CODINGS: [Coding; 2] = [Coding::Gzip, Coding::Zstd];

    /// What the origin does next; at the end it pauses for good.
    #[derive(Debug, Clone)]
    enum Step {
        Chunk(Vec<u8>),
        Pause,
        Trailers,
        BreakOff,
        End,
    }

    struct Script(VecDeque<Step>);

    impl HttpBody for Script {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            match self.0.pop_front() {
                Some(Step::Chunk(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes.into())))),
                Some(Step::Trailers) => {
                    let trailers = [(header::ETAG, HeaderValue::from_static("x"))];
                    Poll::Ready(Some(Ok(Frame::trailers(trailers.into_iter().collect()))))
                }
                Some(Step::BreakOff) => Poll::Ready(Some(Err(BodyError::OriginBrokeOff))),
                Some(Step::End) => Poll::Ready(None),
                Some(Step::Pause) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                None => Poll::Pending,
            }
        }
    }

    fn page(fields: &[(&str, &str)], steps: &[Step]) -> Response<Body> {
        let mut response = Response::new(Body::stream(Script(steps.iter().cloned().collect())));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        for (name, value) in fields {
            response.headers_mut().insert(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        response
    }

    fn budget() -> Arc<Budget> {
        Budget::new(CODERS_BYTES_MAX)
    }

    fn request(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    value.parse().unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn what_is_asked_for() {
        let accept = ("accept-encoding", "gzip, br, zstd;q=0.9");
        let cross = ("sec-fetch-site", "cross-site");
        type Row<'a> = (Method, &'a [(&'a str, &'a str)], Coding);
        let table: &[Row<'_>] = &[
            (Method::GET, &[], Coding::Identity),
            (Method::GET, &[accept], Coding::Gzip),
            (Method::POST, &[accept], Coding::Gzip),
            (Method::HEAD, &[accept], Coding::Identity),
            (
                Method::GET,
                &[accept, ("range", "bytes=0-")],
                Coding::Identity,
            ),
            (
                Method::GET,
                &[accept, ("cache-control", "no-transform")],
                Coding::Identity,
            ),
            (Method::GET, &[accept, cross], Coding::Identity),
            (
                Method::GET,
                &[accept, ("sec-fetch-site", "same-site")],
                Coding::Identity,
            ),
            (
                Method::GET,
                &[accept, ("sec-fetch-site", "same-origin")],
                Coding::Gzip,
            ),
            (
                Method::GET,
                &[accept, ("sec-fetch-site", "none")],
                Coding::Gzip,
            ),
            (
                Method::GET,
                &[accept, cross, ("sec-fetch-user", "?1")],
                Coding::Gzip,
            ),
        ];
        for (method, lines, expected) in table {
            assert_eq!(
                Wish::of(method, &request(lines)),
                Wish(*expected),
                "{method} {lines:?}"
            );
        }
    }

    #[test]
    fn what_is_left_as_it_is() {
        type Row<'a> = (u16, &'a [(&'a str, &'a str)], bool);
        let table: &[Row<'_>] = &[
            (200, &[], true),
            (200, &[("content-length", "1024")], true),
            (200, &[("content-length", "1023")], false),
            (200, &[("content-length", "99999999")], false),
            (200, &[("content-type", "image/webp")], false),
            (200, &[("content-type", "text/event-stream")], false),
            (200, &[("content-encoding", "gzip")], false),
            (200, &[("cache-control", "no-transform, private")], false),
            (200, &[("content-digest", "sha-256=:x:")], false),
            (206, &[("content-range", "bytes 0-1/2")], false),
            (204, &[], false),
        ];
        for (status, fields, coded) in table {
            let mut response = page(fields, &[]);
            *response.status_mut() = StatusCode::from_u16(*status).unwrap();
            let response = passed(Wish(Coding::Gzip), response, &budget());
            let fields = response.headers();
            let is_coded = fields
                .get("content-encoding")
                .is_some_and(|coding| coding == "gzip")
                && fields.contains_key("vary")
                && !fields.contains_key("content-length");
            // One that came coded is passed without a word of ours.
            assert_eq!(is_coded, *coded, "{status} {fields:?}");
        }
    }

    #[test]
    fn tags_are_weakened_and_lengths_and_ranges_forgotten() {
        let fields = [
            ("etag", "\"1\""),
            ("content-length", "5000"),
            ("accept-ranges", "bytes"),
            ("vary", "Cookie"),
        ];
        let identity = passed(Wish(Coding::Identity), page(&fields, &[]), &budget());
        assert_eq!(identity.headers()["etag"], "\"1\"");
        let coded = passed(Wish(Coding::Zstd), page(&fields, &[]), &budget());
        assert_eq!(coded.headers()["etag"], "W/\"1\"");
        assert_eq!(coded.headers()["content-encoding"], "zstd");
        assert!(!coded.headers().contains_key("content-length"));
        assert!(!coded.headers().contains_key("accept-ranges"));
        for response in [identity, coded] {
            let vary: Vec<_> = response.headers().get_all("vary").iter().collect();
            assert_eq!(vary, ["Cookie", "Accept-Encoding"]);
        }
    }

    #[test]
    fn beyond_the_budget_pages_go_out_as_they_are() {
        let budget = Budget::new(2 * coder_bytes(Coding::Zstd) as u64);
        let coded: Vec<_> = (0..3)
            .map(|_| passed(Wish(Coding::Zstd), page(&[], &[]), &budget))
            .collect();
        let is_coded =
            |response: &Response<Body>| response.headers().contains_key("content-encoding");
        assert_eq!(
            coded.iter().map(is_coded).collect::<Vec<_>>(),
            [true, true, false]
        );
        drop(coded);
        assert_eq!(budget.held(), 0);
    }

    /// The first chunk of a page that then pauses for good.
    #[tokio::test]
    async fn what_has_come_is_not_held_back() {
        for coding in CODINGS {
            let head = b"<!doctype html><title>".to_vec();
            let body = passed(
                Wish(coding),
                page(&[], &[Step::Chunk(head.clone())]),
                &budget(),
            );
            let mut body = body.into_body();
            let mut seen = Vec::new();
            let mut unpacked_so_far = Vec::new();
            while unpacked_so_far != head {
                seen.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
                unpacked_so_far = so_far(coding, &seen);
            }
        }
    }

    /// Of a coded body that has not ended.
    fn so_far(coding: Coding, packed: &[u8]) -> Vec<u8> {
        use std::io::Read;
        let mut reader: Box<dyn Read> = match coding {
            Coding::Zstd => Box::new(zstd::stream::read::Decoder::new(packed).unwrap()),
            _ => Box::new(flate2::read::GzDecoder::new(packed)),
        };
        let mut out = Vec::new();
        let mut one = [0];
        while let Ok(1) = reader.read(&mut one) {
            out.push(one[0]);
        }
        out
    }

    /// More than any body of these tests.
    const BYTES_MAX: usize = 16 * 1024 * 1024;

    #[tokio::test]
    async fn what_breaks_off_breaks_off() {
        for coding in CODINGS {
            let steps = [Step::Chunk(b"half".to_vec()), Step::BreakOff];
            let body = passed(Wish(coding), page(&[], &steps), &budget()).into_body();
            assert!(
                Limited::new(body, BYTES_MAX).collect().await.is_err(),
                "{coding:?}"
            );
        }
    }

    #[test]
    fn coders_hold_what_is_counted_for_them() {
        let text: Vec<u8> = (0..40_000u32)
            .flat_map(|at| format!("<p>{}", at.wrapping_mul(2_654_435_761)).into_bytes())
            .collect();
        let gzip = allocation_counter::measure(|| {
            let mut coder = Coder::new(Coding::Gzip).unwrap();
            for chunk in text.chunks(64 * 1024) {
                coder.writer().write_all(chunk).unwrap();
                drop(coder.out());
            }
        });
        assert!(
            gzip.bytes_max <= coder_bytes(Coding::Gzip) as u64,
            "{gzip:?}"
        );
        // zstd's are C's allocations; it says itself what they come to.
        let mut context = zstd::zstd_safe::CCtx::create();
        for parameter in [
            CParameter::CompressionLevel(ZSTD_LEVEL),
            CParameter::WindowLog(WINDOW_BITS),
            CParameter::HashLog(ZSTD_TABLE_BITS),
            CParameter::ChainLog(ZSTD_TABLE_BITS),
        ] {
            context.set_parameter(parameter).unwrap();
        }
        let mut out = vec![0; text.len()];
        let mut out = zstd::zstd_safe::OutBuffer::around(&mut out);
        for chunk in text.chunks(64 * 1024) {
            let mut chunk = zstd::zstd_safe::InBuffer::around(chunk);
            context.compress_stream(&mut out, &mut chunk).unwrap();
        }
        assert!(
            context.sizeof() <= coder_bytes(Coding::Zstd),
            "{}",
            context.sizeof()
        );
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => proptest::collection::vec(b'a'..b'f', 0..3000).prop_map(Step::Chunk),
            1 => Just(Step::Pause),
        ];
        proptest::collection::vec(step, 0..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// However it is cut and wherever the origin pauses, the client unpacks what the origin sent, and the trailers follow.
        #[test]
        fn coded_bodies_give_back_what_they_took(mut steps in steps(), trailed: bool) {
            let sent: Vec<u8> = steps
                .iter()
                .filter_map(|step| match step { Step::Chunk(bytes) => Some(bytes.as_slice()), _ => None })
                .flatten()
                .copied()
                .collect();
            if trailed {
                steps.push(Step::Trailers);
            }
            steps.push(Step::End);
            for coding in CODINGS {
                let body = passed(Wish(coding), page(&[], &steps), &budget()).into_body();
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let whole = runtime.block_on(Limited::new(body, BYTES_MAX).collect()).unwrap();
                prop_assert_eq!(whole.trailers().is_some(), trailed);
                prop_assert_eq!(unpacked(coding, &whole.to_bytes()), sent.as_slice());
            }
        }
    }
}
