//! Successes, odd ones too: what is taken from them.

use super::super::super::granted::Warning;
use super::*;

#[test]
fn a_success_without_tokens_may_have_been_one() {
    for body in [
        "",
        "null",
        "[]",
        "{}",
        "true",
        "<html>Welcome to the guest network</html>",
        r#"{"access_token":"A1""#,
        r#"{"access_token":"","refresh_token":""}"#,
        r#"{"access_token":null}"#,
        r#"{"access_token":5}"#,
        r#"{"resultCode":"SUCCESS"}"#,
    ] {
        assert_eq!(
            short(&judge(200, body)),
            "unknown malformed_success",
            "{body}"
        );
    }
    let cut = r#"{"access_token":"A1","refresh_token":"R1","expires_i"#;
    assert_eq!(short(&judge(200, cut)), "unknown malformed_success R1");
}

#[test]
fn an_error_in_a_success_takes_nothing_from_its_tokens() {
    assert_eq!(
        short(&judge(200, r#"{"error":"bad_refresh_token"}"#)),
        "rejected revoked"
    );
    let both = granted(r#"{"access_token":"A1","refresh_token":"R1","error":"server_error"}"#);
    assert_eq!(exposed(both.refresh_token.as_ref()), Some("R1"));
    assert_eq!(
        both.warnings,
        [Warning::ErrorBesideTokens, Warning::ExpiryAssumed]
    );
}

#[test]
fn tokens_come_out_of_every_odd_success() {
    for refresh_token in ["", r#","refresh_token":null"#, r#","refresh_token":"""#] {
        let kept = granted(&format!(
            r#"{{"access_token":"A1","expires_in":60{refresh_token}}}"#
        ));
        assert!(
            kept.refresh_token.is_none() && !kept.rotated,
            "{refresh_token}"
        );
    }
    let same = granted(&format!(
        r#"{{"access_token":"A1","expires_in":60,"refresh_token":"{OLD}"}}"#
    ));
    assert!(same.refresh_token.is_some() && !same.rotated);
    for access_token in ["", r#","access_token":"""#, r#","access_token":null"#] {
        let lone = granted(&format!(
            r#"{{"refresh_token":"R1","expires_in":60{access_token}}}"#
        ));
        assert!(lone.access_token.is_none() && lone.rotated);
        assert_eq!(lone.warnings, [Warning::NoAccessToken]);
    }
    let twice =
        granted(r#"{"access_token":"A1","access_token":"A2","expires_in":60,"x":{"y":[1]}}"#);
    assert_eq!(exposed(twice.access_token.as_ref()), Some("A2"));
    for status in [201, 203] {
        assert_eq!(short(&judge(status, r#"{"access_token":"A1"}"#)), "granted");
    }
    let marked = judge_with(
        200,
        &[("content-type", "text/html")],
        b"\xef\xbb\xbf{\"access_token\":\"A1\"}",
    );
    assert_eq!(short(&marked), "granted");
}

#[test]
fn token_types_and_scopes() {
    for (member, ok) in [
        ("", true),
        (r#","token_type":"bearer""#, true),
        (r#","token_type":"BEARER""#, true),
        (r#","token_type":null"#, true),
        (r#","token_type":"mac""#, false),
        (r#","token_type":["Bearer"]"#, false),
    ] {
        let read = granted(&format!(
            r#"{{"access_token":"A1","expires_in":60{member}}}"#
        ));
        assert_eq!(read.token_type_ok, ok, "{member}");
        assert_eq!(read.warnings.contains(&Warning::TokenType), !ok);
    }
    for (member, expected) in [
        ("", None),
        (r#","scope":"a  b""#, Some("a b")),
        (r#","scope":["a","b"]"#, Some("a b")),
        (r#","scope":7"#, None),
        (r#","scope":"""#, None),
        (r#","scope":"a CANARY-client-secret""#, Some("a [masked]")),
    ] {
        let read = granted(&format!(r#"{{"access_token":"A1"{member}}}"#));
        assert_eq!(read.scope.as_deref(), expected, "{member}");
    }
    assert!(super::super::super::scope_reduced("a b", "b"));
    assert!(!super::super::super::scope_reduced("a b", "b c a"));
}

#[test]
fn a_life_is_always_usable() {
    let huge = "9".repeat(40);
    for (member, life_s, warning) in [
        ("3600", 3600, None),
        ("3600.9", 3600, None),
        ("1", 1, None),
        ("3.6e3", 3600, None),
        ("\"3600\"", 3600, None),
        ("\" 3600 \"", 3600, None),
        ("\"3600.0\"", 3600, None),
        ("86400", 86_400, None),
        ("86401", 86_400, Some(Warning::ExpiryClamped)),
        ("9e18", 86_400, Some(Warning::ExpiryClamped)),
        ("1e400", 86_400, Some(Warning::ExpiryClamped)),
        ("\"1e400\"", 86_400, Some(Warning::ExpiryClamped)),
        ("18446744073709551616", 86_400, Some(Warning::ExpiryClamped)),
        (huge.as_str(), 86_400, Some(Warning::ExpiryClamped)),
        ("0", 300, Some(Warning::ExpiredAtBirth)),
        ("0.4", 300, Some(Warning::ExpiredAtBirth)),
        ("-5", 300, Some(Warning::ExpiredAtBirth)),
        ("-1e400", 300, Some(Warning::ExpiredAtBirth)),
        ("\"-5\"", 300, Some(Warning::ExpiredAtBirth)),
        ("null", 3600, Some(Warning::ExpiryAssumed)),
        ("true", 3600, Some(Warning::ExpiryAssumed)),
        ("{}", 3600, Some(Warning::ExpiryAssumed)),
        ("[]", 3600, Some(Warning::ExpiryAssumed)),
        ("[3600]", 3600, Some(Warning::ExpiryAssumed)),
        ("\"\"", 3600, Some(Warning::ExpiryAssumed)),
        ("\"abc\"", 3600, Some(Warning::ExpiryAssumed)),
        ("\"1h\"", 3600, Some(Warning::ExpiryAssumed)),
        ("\"inf\"", 3600, Some(Warning::ExpiryAssumed)),
        ("\"NaN\"", 3600, Some(Warning::ExpiryAssumed)),
        ("\"0x10\"", 3600, Some(Warning::ExpiryAssumed)),
        ("\"\u{663}\u{666}\"", 3600, Some(Warning::ExpiryAssumed)),
    ] {
        let read = granted(&format!(
            r#"{{"expires_in":{member},"access_token":"A1","refresh_token":"R1"}}"#
        ));
        assert_eq!(read.life_s, life_s, "{member}");
        assert_eq!(read.warnings.first().copied(), warning, "{member}");
        let assumed = matches!(
            warning,
            Some(Warning::ExpiryAssumed | Warning::ExpiredAtBirth)
        );
        assert_eq!(read.expiry_assumed, assumed, "{member}");
        assert_eq!(exposed(read.refresh_token.as_ref()), Some("R1"), "{member}");
    }
    assert_eq!(
        granted(r#"{"access_token":"A1"}"#).warnings,
        [Warning::ExpiryAssumed]
    );
}

#[test]
fn the_words_for_oddities_are_those_that_serde_writes() {
    for oddity in [
        Warning::ErrorBesideTokens,
        Warning::NoAccessToken,
        Warning::ExpiryAssumed,
        Warning::ExpiredAtBirth,
        Warning::ExpiryClamped,
        Warning::TokenType,
        Warning::ScopeReduced,
        Warning::RefreshTokenIgnored,
    ] {
        assert_eq!(serde_json::to_value(oddity).unwrap(), oddity.as_str());
    }
}

#[test]
fn a_client_grant_takes_no_refresh_token() {
    let request = TokenRequest::ClientCredentials {
        scope: Some("monitoring management".to_owned()),
    };
    let body =
        br#"{"access_token":"A1","refresh_token":"R1","expires_in":60,"scope":"monitoring"}"#;
    let judged = classify(&head(200, &[]), body, None, &app(), &request);
    let Answer::Granted(read) = judged.answer else {
        panic!("{judged:?}")
    };
    assert!(read.refresh_token.is_none() && !read.rotated);
    assert_eq!(
        read.warnings,
        [Warning::RefreshTokenIgnored, Warning::ScopeReduced]
    );
    let cut = classify(
        &head(200, &[]),
        &body[..45],
        Some(Why::BodyCut),
        &app(),
        &request,
    );
    assert_eq!(short(&cut), "unknown body_cut");
}
