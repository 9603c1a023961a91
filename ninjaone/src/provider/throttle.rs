//! How long a host wants to be left alone, by header (RFC 9110 section 10.2.3) or by an HTML page.

use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};

/// The pause if a host throttles without naming one; doubled by the caller up to ten minutes.
pub const DEFAULT_PAUSE: Duration = Duration::from_secs(30);

/// No host is believed beyond this.
pub const MAX_PAUSE: Duration = Duration::from_secs(60 * 60);

/// What a throttle page says; NinjaOne's API has been seen to send one instead of a 429.
const PHRASES: [&str; 3] = ["rate limit", "too many requests", "request limit exceeded"];

/// What `Retry-After` asks for: whole seconds, or a date measured against the reply's own `Date`, so
/// that neither clock matters. Unreadable, zero and past values count as absent. At most
/// [`MAX_PAUSE`]; of several headers the longest counts.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let reference = date(headers).unwrap_or(now);
    headers
        .get_all(RETRY_AFTER)
        .iter()
        .filter_map(|value| {
            let value = value.to_str().ok()?.trim();
            if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
                // Too many digits to count still mean "long".
                let seconds = value.parse().unwrap_or(u64::MAX);
                return Some(Duration::from_secs(seconds));
            }
            let until = httpdate::parse_http_date(value).ok()?;
            until.duration_since(reference).ok()
        })
        .filter(|pause| !pause.is_zero())
        .max()
        .map(|pause| pause.min(MAX_PAUSE))
}

/// The reply's `Date` minus our clock, in milliseconds.
pub(super) fn skew_ms(headers: &HeaderMap, now: SystemTime) -> Option<i64> {
    let date = date(headers)?;
    let (sign, distance) = match date.duration_since(now) {
        Ok(ahead) => (1, ahead),
        Err(behind) => (-1, behind.duration()),
    };
    i64::try_from(distance.as_millis()).ok().map(|ms| sign * ms)
}

/// Whether a body is an HTML page that says "slow down".
pub(super) fn is_throttle_page(headers: &HeaderMap, text: &str) -> bool {
    let text = text.trim_start().to_ascii_lowercase();
    let announced = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.trim().to_ascii_lowercase().starts_with("text/html"));
    let html = announced || text.starts_with("<!doctype") || text.starts_with("<html");
    html && PHRASES.iter().any(|phrase| text.contains(phrase))
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    /// 1994-11-06 08:49:37 UTC, the example of RFC 9110.
    const DAY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn asked(pairs: &[(&'static str, &str)]) -> Option<u64> {
        let now = httpdate::parse_http_date(DAY).unwrap();
        retry_after(&headers(pairs), now).map(|pause| pause.as_secs())
    }

    #[test]
    fn seconds_are_believed_up_to_an_hour() {
        assert_eq!(asked(&[("retry-after", "120")]), Some(120));
        assert_eq!(asked(&[("retry-after", " 7 ")]), Some(7));
        assert_eq!(asked(&[("retry-after", "999999")]), Some(3600));
        assert_eq!(
            asked(&[("retry-after", "99999999999999999999999")]),
            Some(3600)
        );
        assert_eq!(
            asked(&[("retry-after", "5"), ("retry-after", "50")]),
            Some(50)
        );
    }

    #[test]
    fn what_cannot_be_read_counts_as_absent() {
        for value in [
            "abc",
            "",
            "-5",
            "1.5",
            "0",
            "+5",
            "5s",
            "Sun, 99 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(asked(&[("retry-after", value)]), None, "{value}");
        }
        assert_eq!(asked(&[]), None);
    }

    #[test]
    fn s34_a_date_is_measured_against_the_replys_own_date() {
        let later = "Sun, 06 Nov 1994 08:51:37 GMT";
        assert_eq!(asked(&[("retry-after", later)]), Some(120));
        let skewed = ("date", "Sun, 06 Nov 1994 08:51:07 GMT");
        assert_eq!(asked(&[("retry-after", later), skewed]), Some(30));
        assert_eq!(asked(&[("retry-after", DAY), skewed]), None, "in the past");
        let next_year = "Mon, 06 Nov 1995 08:49:37 GMT";
        assert_eq!(asked(&[("retry-after", next_year)]), Some(3600));
        assert_eq!(
            asked(&[("retry-after", "Sunday, 06-Nov-94 08:50:37 GMT")]),
            Some(60)
        );
        assert_eq!(
            asked(&[("retry-after", "Sun Nov  6 08:50:37 1994")]),
            Some(60)
        );
    }

    #[test]
    fn skew_has_a_sign() {
        let now = httpdate::parse_http_date(DAY).unwrap();
        let ahead = headers(&[("date", "Sun, 06 Nov 1994 08:49:40 GMT")]);
        assert_eq!(skew_ms(&ahead, now), Some(3_000));
        let behind = headers(&[("date", "Sun, 06 Nov 1994 08:49:30 GMT")]);
        assert_eq!(skew_ms(&behind, now), Some(-7_000));
        assert_eq!(skew_ms(&headers(&[("date", "soon")]), now), None);
    }

    #[test]
    fn a_throttle_page_is_html_and_says_so() {
        let html = headers(&[("content-type", "text/html; charset=utf-8")]);
        let plain = HeaderMap::new();
        assert!(is_throttle_page(&html, "Rate limit reached"));
        assert!(is_throttle_page(
            &plain,
            "\n<!DOCTYPE html><p>Too Many Requests"
        ));
        assert!(is_throttle_page(
            &plain,
            "<HTML>request limit exceeded</HTML>"
        ));
        assert!(!is_throttle_page(&html, "<html>Access denied</html>"));
        assert!(!is_throttle_page(&plain, r#"{"error":"rate limit"}"#));
    }
}
