//! How browsers reach the API, and where NinjaOne sends them back to.
//!
//! A consent is tied to its browser by a cookie, which belongs to one scheme and host and to the paths
//! under `/oauth`; and it comes back to one path. Addresses that do not fit that would start well and
//! fail in the midst of somebody's consent, so they are refused here.

use url::Url;

use super::Role;
use super::keys;
use super::reader::Reader;

/// Where the API serves the way back from a consent.
pub(super) const CALLBACK: &str = "/oauth/callback";

/// The public URL and the redirect URI, where they were given. Either leads to the other.
pub(super) fn read(reader: &mut Reader<'_>, role: Role) -> (Option<String>, Option<String>) {
    if role == Role::Dev {
        // What it prints leads here, whatever a shell was set up for: its key must reach no other
        // server.
        return (None, None);
    }
    let allowed = "http:// or https://, a host and perhaps a port, nothing behind, such as \
                   https://evergreen.example.com";
    let public = reader.read(keys::PUBLIC_URL, allowed, |text| {
        let url = web_url(text)?;
        if url.path() != "/" {
            return Err("has a path, and consents come back to the host's own /oauth/callback");
        }
        Ok((text.trim_end_matches('/').to_owned(), url))
    });
    let allowed = "the public URL and /oauth/callback behind it, such as \
                   https://evergreen.example.com/oauth/callback";
    let redirect = reader.read(keys::REDIRECT_URI, allowed, |text| {
        let url = web_url(text)?;
        if url.path() != CALLBACK || !text.ends_with(CALLBACK) {
            return Err("has another path than the one that is served");
        }
        // As it is registered: the provider compares character by character.
        Ok((text.to_owned(), url))
    });
    if let (Some((_, public)), Some((_, redirect))) = (&public, &redirect)
        && public.origin() != redirect.origin()
    {
        let wrong = format!(
            "has another scheme, host or port than {}, so that a browser would come back without \
             the cookie of its consent; allowed is that URL and {CALLBACK} behind it, or to set \
             one of the two alone",
            reader.name(keys::PUBLIC_URL)
        );
        let name = reader.name(keys::REDIRECT_URI);
        reader.wrong(name, wrong);
    }
    let redirect = redirect.map(|(text, _)| text);
    // Browsers come back to where they set out.
    let set_out = || redirect.as_deref()?.strip_suffix(CALLBACK);
    let public = public
        .map(|(text, _)| text)
        .or_else(|| set_out().map(str::to_owned));
    (public, redirect)
}

fn web_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("begins with neither http:// nor https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a login");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment");
    }
    Ok(url)
}
