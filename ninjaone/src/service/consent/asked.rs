//! What a consent is asked with, and what comes of it.

use secrecy::SecretString;

use crate::integration::IntegrationId;
use crate::provider::InstanceUrl;
use crate::service::{ServiceError, StatusView};

/// A consent to begin.
#[derive(Debug, Clone)]
pub struct ConsentAsk {
    /// For which integration.
    pub integration: IntegrationId,
    /// Where the tenant lives.
    pub instance_url: InstanceUrl,
    /// What ties it to the browser: random, and kept in its cookie.
    pub binding: String,
}

/// A consent that has begun.
#[derive(Debug, Clone)]
pub struct ConsentStart {
    /// Where the browser goes.
    pub authorize_url: String,
}

/// What the browser brings back.
#[derive(Debug, Clone, Default)]
pub struct Callback {
    /// Ours.
    pub state: Option<String>,
    /// To be exchanged, once.
    pub code: Option<SecretString>,
    /// The provider's error code.
    pub error: Option<String>,
    /// Its words.
    pub error_description: Option<String>,
    /// Who says so (RFC 9207).
    pub iss: Option<String>,
}

/// A consent that led to a grant.
#[derive(Debug, Clone)]
pub struct Connected {
    /// The integration.
    pub integration: IntegrationId,
    /// As it stands after the commit.
    pub status: StatusView,
}

/// Why a consent led to nothing, in words for the page. What was stored before is untouched.
#[derive(Debug, thiserror::Error)]
pub enum ConsentError {
    /// No consent of ours, or not of this browser, or not any more.
    #[error(
        "This consent is not known here. It may have been used already, be older than ten minutes, \
         or have been begun in another browser. Start the connection again."
    )]
    NotOurs,
    /// The person said no.
    #[error("The consent was refused on NinjaOne's page. Nothing was changed.")]
    Denied,
    /// The redirect URI is not the registered one.
    #[error(
        "NinjaOne does not accept the redirect URI. Register exactly {redirect_uri} with the client \
         app; a change takes up to an hour to be seen."
    )]
    RedirectUri {
        /// What must be registered.
        redirect_uri: String,
    },
    /// The provider said something else.
    #[error("NinjaOne answered with an error: {0}. Nothing was changed.")]
    Provider(String),
    /// The grant cannot be refreshed.
    #[error(
        "NinjaOne gave no refresh token, so the working connection was kept. Two things bring one: the \
         grant type `Refresh Token` ticked on the client app, and the scope `offline_access`."
    )]
    NoRefreshToken,
    /// The service could not do its part.
    #[error("{0}")]
    Service(#[from] ServiceError),
}

impl ConsentError {
    /// The HTTP status of the page.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::NotOurs | Self::Denied | Self::RedirectUri { .. } => 400,
            Self::Provider(_) => 502,
            Self::NoRefreshToken => 409,
            Self::Service(error) => error.status(),
        }
    }
}
