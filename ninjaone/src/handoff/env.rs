//! The environment variables that the NinjaRMM MCP server reads at its start, and the same as
//! lines for a POSIX shell.

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::{Handed, RefreshToken};
use crate::integration::GrantKind;

/// The variables' names for one grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// Holds the access token.
    pub access_token: &'static str,
    /// Holds the refresh token.
    pub refresh_token: &'static str,
    /// Holds the remaining whole seconds, counted from the consumer's start.
    pub expires_in: &'static str,
    /// Holds scheme and host. Always set: the consumer's default is right for one region only.
    pub base_url: &'static str,
}

impl Names {
    /// The names for a grant.
    #[must_use]
    pub fn of(grant: GrantKind) -> Self {
        let base_url = "NINJARMM_BASE_URL";
        match grant {
            GrantKind::User => Self {
                access_token: "NINJARMM_USER_ACCESS_TOKEN",
                refresh_token: "NINJARMM_USER_REFRESH_TOKEN",
                expires_in: "NINJARMM_USER_EXPIRES_IN",
                base_url,
            },
            GrantKind::Client => Self {
                access_token: "NINJARMM_CLIENT_ACCESS_TOKEN",
                refresh_token: "NINJARMM_CLIENT_REFRESH_TOKEN",
                expires_in: "NINJARMM_CLIENT_EXPIRES_IN",
                base_url,
            },
        }
    }
}

/// One variable.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Its value; not all are secret, but none needs to be shown.
    pub value: SecretString,
}

/// Why a token cannot be handed over as environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No environment variable can hold a NUL.
    #[error("{0} would hold a NUL character")]
    Nul(&'static str),
}

/// The variables of a token. The seconds are those at hand-out: use them at once.
///
/// # Errors
/// If a value holds a NUL character.
pub fn variables(handed: &Handed, refresh: RefreshToken) -> Result<Vec<Variable>, Error> {
    let names = Names::of(handed.grant);
    let mut variables = vec![
        variable(names.access_token, handed.access_token.clone())?,
        variable(names.expires_in, handed.expires_in_s.to_string().into())?,
        variable(names.base_url, handed.instance_url.as_str().into())?,
    ];
    if let Some(token) = handed.refresh_token(refresh) {
        variables.push(variable(names.refresh_token, token.clone())?);
    }
    Ok(variables)
}

fn variable(name: &'static str, value: SecretString) -> Result<Variable, Error> {
    if value.expose_secret().contains('\0') {
        return Err(Error::Nul(name));
    }
    Ok(Variable { name, value })
}

/// `export NAME='…'`, one line each, safe for `eval "$(…)"` whatever the values hold.
///
/// # Errors
/// If a value holds a NUL character.
pub fn lines(handed: &Handed, refresh: RefreshToken) -> Result<SecretString, Error> {
    let variables = variables(handed, refresh)?;
    let mut text = Zeroizing::new(String::new());
    for Variable { name, value } in &variables {
        text.push_str("export ");
        text.push_str(name);
        text.push('=');
        quote(value.expose_secret(), &mut text);
        text.push('\n');
    }
    Ok(text.as_str().into())
}

// Within single quotes a POSIX shell gives no character a meaning, except the quote itself.
fn quote(value: &str, text: &mut String) {
    text.push('\'');
    for (n, part) in value.split('\'').enumerate() {
        if n > 0 {
            text.push_str(r"'\''");
        }
        text.push_str(part);
    }
    text.push('\'');
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::sample;
    use super::*;

    #[test]
    fn the_names_are_those_of_the_grant() {
        let text = lines(&sample(GrantKind::User), RefreshToken::Withheld).unwrap();
        assert_eq!(
            text.expose_secret(),
            "export NINJARMM_USER_ACCESS_TOKEN='CANARY-access'\n\
             export NINJARMM_USER_EXPIRES_IN='3600'\n\
             export NINJARMM_BASE_URL='https://ca.ninjarmm.com'\n"
        );
        let text = lines(&sample(GrantKind::Client), RefreshToken::Included).unwrap();
        assert_eq!(
            text.expose_secret(),
            "export NINJARMM_CLIENT_ACCESS_TOKEN='CANARY-access'\n\
             export NINJARMM_CLIENT_EXPIRES_IN='3600'\n\
             export NINJARMM_BASE_URL='https://ca.ninjarmm.com'\n\
             export NINJARMM_CLIENT_REFRESH_TOKEN='CANARY-refresh'\n"
        );
    }

    #[test]
    fn s60_a_real_shell_reads_back_every_character() {
        let nasty: String = (1..=127).map(char::from).chain("äöü€𝄞'".chars()).collect();
        for value in [
            nasty.as_str(),
            "'",
            "''",
            "",
            "$(exit 7)`exit 7`",
            "-n",
            "a\n",
        ] {
            let mut handed = sample(GrantKind::User);
            handed.access_token = value.into();
            let mut script = lines(&handed, RefreshToken::Withheld)
                .unwrap()
                .expose_secret()
                .to_owned();
            script.push_str("printf %s \"$NINJARMM_USER_ACCESS_TOKEN\"");
            let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
            assert!(output.status.success());
            assert_eq!(output.stdout, value.as_bytes(), "{value:?}");
        }
    }

    #[test]
    fn a_nul_is_refused_by_name() {
        let mut handed = sample(GrantKind::User);
        handed.refresh_token = Some("CANARY\0".into());
        assert!(lines(&handed, RefreshToken::Withheld).is_ok());
        let error = lines(&handed, RefreshToken::Included).unwrap_err();
        assert_eq!(error, Error::Nul("NINJARMM_USER_REFRESH_TOKEN"));
        assert!(!format!("{error:?} {error}").contains("CANARY"));
    }

    #[test]
    fn debug_shows_no_secret() {
        let variables = variables(&sample(GrantKind::User), RefreshToken::Included).unwrap();
        assert_eq!(variables.len(), 4);
        assert!(!format!("{variables:?}").contains("CANARY"));
    }
}
