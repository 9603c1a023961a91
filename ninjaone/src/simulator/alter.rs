//! What a fault makes of an answer. Pure: bytes in, bytes out.

use axum::body::Bytes;
use axum::http::{StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::actions::{Action, Echo, EchoEncoding, EchoPlace, Edit, RefreshToken, Respond};
use super::delivery::Sent;
use super::reply::{Content, Reply, json_text};

/// The answer as the fault leaves it; faults of the transport leave it as it is.
pub(super) fn altered(action: &Action, reply: Reply, sent: &Sent) -> Reply {
    match action {
        Action::Respond(respond) => verbatim(respond),
        Action::Redirect { status, location } => Reply::redirect(status_of(*status), location),
        Action::ThrottlePage { status } => Reply::throttle_page(status_of(*status)),
        Action::Echo(echo) => echoed(echo, sent),
        Action::Edit(edit) => edited(edit, reply, sent),
        _ => reply,
    }
}

/// Checked when the fault was scripted.
fn status_of(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn verbatim(respond: &Respond) -> Reply {
    let mut reply = Reply {
        status: status_of(respond.status),
        headers: Vec::new(),
        content: Content::Text(respond.body.clone()),
    };
    let looks_like_json = respond.body.trim_start().starts_with(['{', '[', '"']);
    if looks_like_json {
        reply.set_header(header::CONTENT_TYPE.as_str(), "application/json");
    }
    for (name, value) in &respond.headers {
        reply.set_header(name, value);
    }
    reply
}

fn echoed(echo: &Echo, sent: &Sent) -> Reply {
    let text = match echo.encoding {
        EchoEncoding::Raw => spoken(sent, |value| value),
        EchoEncoding::Half => spoken(sent, first_half),
        EchoEncoding::Form => String::from_utf8_lossy(&sent.raw).into_owned(),
        EchoEncoding::Percent => sent.raw.iter().map(|b| format!("%{b:02X}")).collect(),
        EchoEncoding::Base64 => STANDARD.encode(&sent.raw),
    };
    let in_body = matches!(echo.place, EchoPlace::Body | EchoPlace::Both);
    let mut reply = Reply::oauth(status_of(echo.status), &echo.error);
    if in_body {
        reply.content = Content::Members(vec![
            ("error".to_owned(), json_text(&echo.error)),
            ("error_description".to_owned(), json_text(&text)),
        ]);
    }
    if matches!(echo.place, EchoPlace::Header | EchoPlace::Both) {
        reply.set_header("x-debug", &text);
    }
    if echo.place == EchoPlace::Location {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("error", &echo.error);
        query.append_pair("error_description", &text);
        reply.set_header("location", &format!("/ws/oauth/error?{}", query.finish()));
    }
    reply
}

fn spoken(sent: &Sent, cut: impl Fn(&str) -> &str) -> String {
    let pairs: Vec<String> = (sent.form.iter())
        .map(|(name, value)| format!("{name}={}", cut(value)))
        .collect();
    pairs.join(" ")
}

fn first_half(text: &str) -> &str {
    text.get(..text.len() / 2).unwrap_or_default()
}

fn edited(edit: &Edit, mut reply: Reply, sent: &Sent) -> Reply {
    if let Content::Members(members) = &mut reply.content {
        if let Some(instead) = edit.refresh_token {
            let raw = match instead {
                RefreshToken::Omit => None,
                RefreshToken::Null => Some("null".to_owned()),
                RefreshToken::Empty => Some(r#""""#.to_owned()),
                RefreshToken::Same => sent.form.get("refresh_token").map(json_text),
            };
            put(members, "refresh_token", raw);
        }
        for (name, raw) in &edit.set {
            put(members, name, Some(raw.clone()));
        }
        members.retain(|(name, _)| !edit.remove.contains(name));
    }
    if let Some(status) = edit.status {
        reply.status = status_of(status);
    }
    for (name, value) in &edit.headers {
        reply.set_header(name, value);
    }
    if edit.bom {
        let mut marked = b"\xef\xbb\xbf".to_vec();
        marked.extend(reply.bytes());
        reply.content = Content::Bytes(marked);
    }
    if edit.gzip {
        reply.content = Content::Bytes(gzip(&reply.bytes()));
        reply.set_header(header::CONTENT_ENCODING.as_str(), "gzip");
    }
    reply
}

/// Sets a member where it stands, or at the end; `None` leaves it out.
fn put(members: &mut Vec<(String, String)>, name: &str, raw: Option<String>) {
    let place = members.iter().position(|(known, _)| known == name);
    match (place, raw) {
        (Some(place), Some(raw)) => members[place].1 = raw,
        (Some(place), None) => drop(members.remove(place)),
        (None, Some(raw)) => members.push((name.to_owned(), raw)),
        (None, None) => {}
    }
}

const PADDING: &[u8] = &[b'x'; 64 * 1024];

/// The body of an answer brought to a size: an object gets a member `padding`, other bodies are
/// followed by padding. Also the length that results.
pub(super) fn padded(body: &[u8], bytes: usize) -> (usize, impl Iterator<Item = Bytes> + use<>) {
    let (start, end): (Vec<u8>, &'static [u8]) = match body.strip_suffix(b"}") {
        Some(open) => ([open, br#","padding":""#].concat(), br#""}"#),
        None => (body.to_vec(), b""),
    };
    let mut missing = bytes.saturating_sub(start.len() + end.len());
    let length = start.len() + missing + end.len();
    let padding = std::iter::from_fn(move || {
        let piece = missing.min(PADDING.len());
        missing -= piece;
        (piece > 0).then(|| Bytes::from_static(&PADDING[..piece]))
    });
    let pieces = std::iter::once(Bytes::from(start))
        .chain(padding)
        .chain(std::iter::once(Bytes::from_static(end)));
    (length, pieces)
}

/// Gzip (RFC 1952) of stored blocks (RFC 1951): not smaller, but every reader must unpack it.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut rest = bytes;
    loop {
        let (block, after) = rest.split_at(rest.len().min(usize::from(u16::MAX)));
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        packed.push(u8::from(after.is_empty()));
        packed.extend(length.to_le_bytes());
        packed.extend((!length).to_le_bytes());
        packed.extend(block);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    packed.extend(crc32(bytes).to_le_bytes());
    packed.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    packed
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::wire::Form;

    fn tokens() -> Reply {
        let members = [("refresh_token", r#""R1""#), ("expires_in", "3600")];
        Reply::tokens(members.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec())
    }

    fn sent() -> Sent {
        let raw = Bytes::from_static(b"refresh_token=R%2B0&client_secret=s%26t");
        Sent {
            form: Form::parse(&raw),
            raw,
        }
    }

    fn text(reply: &Reply) -> String {
        String::from_utf8(reply.bytes()).unwrap()
    }

    #[test]
    fn crc32_is_the_one_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn an_edit_sets_raw_values_and_ways_not_to_rotate() {
        let edit = |edit: Edit| text(&edited(&edit, tokens(), &sent()));
        let not_rotated = |refresh_token| {
            edit(Edit {
                refresh_token: Some(refresh_token),
                ..Edit::default()
            })
        };
        assert_eq!(not_rotated(RefreshToken::Omit), r#"{"expires_in":3600}"#);
        assert!(not_rotated(RefreshToken::Null).contains(r#""refresh_token":null"#));
        assert!(not_rotated(RefreshToken::Empty).contains(r#""refresh_token":"""#));
        assert!(not_rotated(RefreshToken::Same).contains(r#""refresh_token":"R+0""#));
        let odd = edit(Edit {
            set: [("expires_in".to_owned(), "1e400".to_owned())].into(),
            remove: vec!["refresh_token".to_owned()],
            bom: true,
            ..Edit::default()
        });
        assert_eq!(odd, "\u{feff}{\"expires_in\":1e400}");
    }

    #[test]
    fn an_echo_repeats_the_form_in_each_spelling_and_place() {
        let echo = |encoding, place| {
            echoed(
                &Echo {
                    encoding,
                    place,
                    ..Echo::default()
                },
                &sent(),
            )
        };
        for (encoding, expected) in [
            (EchoEncoding::Raw, "refresh_token=R+0 client_secret=s&t"),
            (EchoEncoding::Half, "refresh_token=R client_secret=s"),
            (
                EchoEncoding::Form,
                "refresh_token=R%2B0&client_secret=s%26t",
            ),
            (EchoEncoding::Percent, "%72%65%66%72%65%73%68"),
            (EchoEncoding::Base64, "cmVmcmVzaF90b2tlbj1S"),
        ] {
            let reply = echo(encoding, EchoPlace::Both);
            assert!(text(&reply).contains(expected), "{encoding:?}");
            let header = reply.headers.iter().find(|(name, _)| name == "x-debug");
            assert!(header.unwrap().1.to_str().unwrap().starts_with(expected));
        }
        let elsewhere = echo(EchoEncoding::Form, EchoPlace::Location);
        assert_eq!(text(&elsewhere), r#"{"error":"invalid_request"}"#);
    }

    #[test]
    fn padding_reaches_the_size_and_stays_json() {
        let (length, pieces) = padded(br#"{"a":1}"#, 200_000);
        let body: Vec<u8> = pieces.flat_map(|piece| piece.to_vec()).collect();
        assert_eq!((length, body.len()), (200_000, 200_000));
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["a"], 1);
    }
}
