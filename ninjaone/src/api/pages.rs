//! The dashboard: static pages whose scripts call the API with the visitor's key.
//!
//! The pages hold no data, so they need no key; what they show comes from `/v1`, with the rights of
//! the key that the visitor brings. No script or style stands in a page, so the policy forbids both.

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::problem::Problem;

/// What a page may load and where it may send: this server alone, and no form anywhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const DASHBOARD: &str = include_str!("assets/dashboard.html");
const INTEGRATION: &str = include_str!("assets/integration.html");

/// Name, content type, content.
const ASSETS: [(&str, &str, &str); 6] = [
    (
        "evergreen.css",
        "text/css; charset=utf-8",
        include_str!("assets/evergreen.css"),
    ),
    (
        "dashboard.js",
        JAVASCRIPT,
        include_str!("assets/dashboard.js"),
    ),
    (
        "integration.js",
        JAVASCRIPT,
        include_str!("assets/integration.js"),
    ),
    ("api.js", JAVASCRIPT, include_str!("assets/api.js")),
    ("words.js", JAVASCRIPT, include_str!("assets/words.js")),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// All integrations at a glance.
#[utoipa::path(get, path = "/", tag = "pages", responses(
    (status = 200, description = "The dashboard", content_type = "text/html", body = String)))]
pub(super) async fn dashboard() -> Response {
    page(StatusCode::OK, DASHBOARD.to_owned())
}

/// One integration.
#[utoipa::path(get, path = "/integrations/{tenant}/{integration}", tag = "pages",
    params(("tenant" = String, Path), ("integration" = String, Path)),
    responses((status = 200, description = "Its page", content_type = "text/html", body = String)))]
pub(super) async fn integration() -> Response {
    page(StatusCode::OK, INTEGRATION.to_owned())
}

/// What the pages are made of.
#[utoipa::path(get, path = "/assets/{name}", tag = "pages",
    params(("name" = String, Path)),
    responses(
        (status = 200, description = "Style, script or picture", body = String),
        (status = 304, description = "As the caller has it already")))]
pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some((_, kind, content)) = ASSETS.into_iter().find(|(known, ..)| *known == name) else {
        return Problem::no_route().into_response();
    };
    let tag = format!("\"{}\"", hex::encode(&Sha256::digest(content)[..8]));
    let held = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    // Asked for each time, so that page and script are always of the same version.
    let always = [
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::ETAG, tag.clone()),
    ];
    if held == Some(tag.as_str()) {
        return (StatusCode::NOT_MODIFIED, always).into_response();
    }
    (always, [(header::CONTENT_TYPE, kind)], content).into_response()
}

/// A page that says one thing, in words.
pub(super) fn message(status: u16, title: &str, text: &str, link: Option<&str>) -> Response {
    let link = link.map_or_else(String::new, |to| {
        format!(
            "<p><a class=\"button\" href=\"{}\">Show the integration</a></p>",
            escaped(to)
        )
    });
    let mood = if status < 400 { "well" } else { "amiss" };
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} · Evergreen</title>\n\
         <link rel=\"icon\" href=\"/assets/icon.svg\">\n\
         <link rel=\"stylesheet\" href=\"/assets/evergreen.css\">\n</head>\n\
         <body class=\"message\">\n<main class=\"card {mood}\">\n<h1>{title}</h1>\n<p>{text}</p>\n\
         {link}\n</main>\n</body>\n</html>\n",
        title = escaped(title),
        text = escaped(text),
    );
    page(
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        html,
    )
}

fn page(status: StatusCode, html: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, html).into_response()
}

/// Text as it stands in HTML: nothing in it is markup, nothing in it turns the line around.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => safe.push(' '),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_message_is_markup() {
        assert_eq!(
            escaped("<script>alert('\"&\u{202e}\u{1b}[1m')"),
            "&lt;script&gt;alert(&#39;&quot;&amp;  [1m&#39;)"
        );
    }

    #[test]
    fn no_page_holds_script_or_style_or_names_another_host() {
        for page in [DASHBOARD, INTEGRATION] {
            assert!(
                !page.contains("<style") && !page.contains("style="),
                "inline style"
            );
            assert!(
                !page.contains(" onclick") && !page.contains(" onload"),
                "inline handler"
            );
            let scripts = page.matches("<script").count();
            assert_eq!(
                scripts,
                page.matches("<script type=\"module\" src=\"/assets/")
                    .count()
            );
        }
        for text in [DASHBOARD, INTEGRATION]
            .into_iter()
            .chain(ASSETS.map(|(.., text)| text))
        {
            let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !elsewhere.contains("//cdn") && !elsewhere.contains("http:"),
                "another host"
            );
            assert!(
                !elsewhere.contains("https://") || elsewhere.contains("https://your"),
                "host"
            );
        }
    }

    #[test]
    fn scripts_put_text_into_pages_as_text() {
        for (name, kind, text) in ASSETS {
            if kind == JAVASCRIPT {
                for way in [
                    "innerHTML",
                    "outerHTML",
                    "insertAdjacentHTML",
                    "document.write",
                    "eval(",
                ] {
                    assert!(!text.contains(way), "{name} uses {way}");
                }
            }
        }
    }
}
