//! Tokens for those who need one: environment, `tokens.json`, child processes.
//!
//! Here an access token leaves Evergreen's care, so every way out is narrow: never an argument of
//! a process, never a file that others may read, and no refresh token unless it was asked for:
//! a consumer that holds one may spend it, and then ours is dead.
//!
//! | file | hands over |
//! |---|---|
//! | [`mod@format`] | as `raw` or `json` on standard output |
//! | [`mod@env`] | as lines that a shell can evaluate |
//! | [`exec`] | to one child process |
//! | [`tokens_json`] | as the file of the NinjaRMM MCP server |
//! | [`watch`] | the same file, kept fresh |

pub mod env;
pub mod exec;
pub mod format;
pub mod tokens_json;
pub mod watch;

use secrecy::SecretString;

use crate::integration::GrantKind;
use crate::vault::GrantId;

/// What is said whenever a refresh token is handed over.
pub const MAY_BE_SPENT: &str = "The refresh token was handed over: if its consumer spends it, \
     Evergreen's copy is dead and the integration needs a reconnect.";

/// A token as the API handed it out.
#[derive(Debug, Clone)]
pub struct Handed {
    /// The access token.
    pub access_token: SecretString,
    /// The refresh token; the API gives it only when asked.
    pub refresh_token: Option<SecretString>,
    /// As the provider spelt it.
    pub token_type: String,
    /// The whole seconds that were left when it was handed out. Counted by the server, so a
    /// consumer whose clock is wrong is not misled: formats that count from now use this.
    pub expires_in_s: u64,
    /// When the access token ends, milliseconds since the epoch, by the server's clock.
    pub expires_at_ms: i64,
    /// The granted scopes, separated by spaces.
    pub scope: Option<String>,
    /// Which grant it is of.
    pub grant: GrantKind,
    /// The consent behind it, where whoever handed it out said so: a generation means nothing without.
    pub grant_id: Option<GrantId>,
    /// Where it is valid: scheme and host.
    pub instance_url: String,
    /// How often the grant was rotated before this token came.
    pub generation: u64,
    /// What the caller should know although it got a token.
    pub warning: Option<String>,
}

/// Whether the refresh token goes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RefreshToken {
    /// It stays here, even if there is one.
    #[default]
    Withheld,
    /// It was asked for (`--with-refresh-token`).
    Included,
}

impl Handed {
    /// The refresh token, if it is there and was asked for.
    fn refresh_token(&self, choice: RefreshToken) -> Option<&SecretString> {
        match choice {
            RefreshToken::Withheld => None,
            RefreshToken::Included => self.refresh_token.as_ref(),
        }
    }
}

#[cfg(test)]
fn sample(grant: GrantKind) -> Handed {
    Handed {
        access_token: "CANARY-access".into(),
        refresh_token: Some("CANARY-refresh".into()),
        token_type: "bearer".to_owned(),
        expires_in_s: 3600,
        expires_at_ms: 1_759_595_400_000,
        scope: Some("monitoring management".to_owned()),
        grant,
        grant_id: None,
        instance_url: "https://ca.ninjarmm.com".to_owned(),
        generation: 7,
        warning: None,
    }
}
