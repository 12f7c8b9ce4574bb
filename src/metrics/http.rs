//! As much of HTTP/1.1 (RFC 9112) as it takes to answer one question. Pure.

use std::io::Write as _;

/// More than this is no question that anybody has.
pub const MOST: usize = 8 * 1024;

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The metrics, or with HEAD only what goes before them.
    Metrics {
        /// Whether the metrics themselves are wanted.
        body: bool,
    },
    /// Something else was asked for.
    NotFound,
    /// The method is not one that reads.
    NotAllowed,
    /// It is not HTTP.
    Malformed,
    /// It is longer than [`MOST`].
    TooLong,
}

/// What `request` asks for, as much of it as has come; `None` as long as its head has not come whole.
#[must_use]
pub fn answer(request: &[u8]) -> Option<Answer> {
    let ends = |mark: &[u8]| memchr::memmem::find(request.get(..request.len().min(MOST))?, mark);
    let Some(end) = ends(b"\r\n\r\n").or_else(|| ends(b"\n\n")) else {
        return (request.len() >= MOST).then_some(Answer::TooLong);
    };
    let line = request.get(..end)?.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Some(Answer::Malformed);
    };
    if !version.starts_with(b"HTTP/1.") || method.is_empty() {
        return Some(Answer::Malformed);
    }
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    Some(match (method, path) {
        (b"GET", b"/metrics") => Answer::Metrics { body: true },
        (b"HEAD", b"/metrics") => Answer::Metrics { body: false },
        (b"GET" | b"HEAD", _) => Answer::NotFound,
        _ => Answer::NotAllowed,
    })
}

/// The whole response.
#[must_use]
pub fn response(answer: Answer, metrics: &[u8]) -> Vec<u8> {
    let (status, sort, body): (_, _, &[u8]) = match answer {
        Answer::Metrics { .. } => ("200 OK", "text/plain; version=0.0.4; charset=utf-8", metrics),
        Answer::NotFound => ("404 Not Found", "text/plain", b"There is /metrics here, and nothing else.\n"),
        Answer::NotAllowed => {
            ("405 Method Not Allowed\r\nAllow: GET, HEAD", "text/plain", b"GET is for reading.\n")
        }
        Answer::Malformed => ("400 Bad Request", "text/plain", b"This is not HTTP/1.1.\n"),
        Answer::TooLong => ("431 Request Header Fields Too Large", "text/plain", b"Too much was asked.\n"),
    };
    let mut whole = Vec::with_capacity(body.len() + 256);
    // Writing to a Vec can't fail.
    let _ = write!(
        whole,
        "HTTP/1.1 {status}\r\nContent-Type: {sort}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if answer != (Answer::Metrics { body: false }) {
        whole.extend_from_slice(body);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn questions_and_answers() {
        let metrics = Some(Answer::Metrics { body: true });
        for (request, want) in [
            (&b""[..], None),
            (b"GET /metrics HTTP/1.1\r\nHost: x\r\n", None),
            (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", metrics),
            (b"GET /metrics?x=1 HTTP/1.0\n\n", metrics),
            (b"HEAD /metrics HTTP/1.1\r\n\r\n", Some(Answer::Metrics { body: false })),
            (b"GET / HTTP/1.1\r\n\r\n", Some(Answer::NotFound)),
            (b"GET /metrics/../etc HTTP/1.1\r\n\r\n", Some(Answer::NotFound)),
            (b"POST /metrics HTTP/1.1\r\n\r\n", Some(Answer::NotAllowed)),
            (b"GET /metrics\r\n\r\n", Some(Answer::Malformed)),
            (b"GET /metrics HTTP/2.0\r\n\r\n", Some(Answer::Malformed)),
            (b" /metrics HTTP/1.1\r\n\r\n", Some(Answer::Malformed)),
            (b"\x16\x03\x01\x02\x00\r\n\r\n", Some(Answer::Malformed)),
            (b"\r\n\r\n", Some(Answer::Malformed)),
        ] {
            assert_eq!(answer(request), want, "{}", request.escape_ascii());
        }
        assert_eq!(answer(&[b'x'; MOST - 1]), None);
        assert_eq!(answer(&[b'x'; MOST]), Some(Answer::TooLong));
    }

    #[test]
    fn the_length_is_that_of_the_body() {
        let shown = |answer| String::from_utf8(response(answer, b"a 1\n")).unwrap();
        let whole = shown(Answer::Metrics { body: true });
        assert!(whole.starts_with("HTTP/1.1 200 OK\r\n") && whole.ends_with("\r\n\r\na 1\n"), "{whole}");
        assert!(whole.contains("\r\nContent-Length: 4\r\n"), "{whole}");
        assert!(
            shown(Answer::Metrics { body: false })
                .ends_with("Content-Length: 4\r\nConnection: close\r\n\r\n")
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _answer = answer(&bytes);
            let _answer = answer(&[&bytes[..], b"\r\n\r\n"].concat());
        }
    }
}
