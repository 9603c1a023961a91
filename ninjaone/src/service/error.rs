//! Why a request could not be answered, in words that a caller can act on.

use serde::Serialize;

/// What helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// Nothing that the caller could do.
    None,
    /// The same request later.
    Wait,
    /// Somebody must put a setting right.
    FixConfiguration,
    /// Somebody must consent again.
    Reconnect,
}

/// Why a request could not be answered. Becomes problem details (RFC 9457) and an exit code.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ServiceError {
    /// There is no such integration, or it is another tenant's.
    #[error("{what}: there is no such integration")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The input is wrong.
    #[error("{field}: {rule}")]
    Invalid {
        /// Which part of it.
        field: String,
        /// What is allowed.
        rule: String,
    },
    /// What was asked contradicts what is stored.
    #[error("{what}: {why}")]
    Conflict {
        /// What was asked for.
        what: String,
        /// Why it was refused.
        why: String,
    },
    /// A person must act first; there is no token until then.
    #[error("{integration} needs attention: {why}")]
    NeedsAttention {
        /// Which integration.
        integration: String,
        /// The reason's or the attention's word.
        why: String,
        /// What helps.
        recovery: Recovery,
    },
    /// No token now; the same request later may bring one.
    #[error("{integration}: no token at the moment: {why}")]
    TryLater {
        /// Which integration.
        integration: String,
        /// What stands in the way.
        why: String,
        /// After how many seconds it makes sense to ask again.
        after_s: u64,
    },
    /// The store does not answer.
    #[error("the store does not answer: {why}; nothing was changed, try again later")]
    StoreAway {
        /// What it said.
        why: String,
    },
    /// The provider refused or did not answer while a person or operator was waiting.
    #[error("NinjaOne said no while {doing}: {why}")]
    Provider {
        /// What was being done.
        doing: String,
        /// What may be shown.
        why: String,
        /// What helps.
        recovery: Recovery,
    },
    /// A defect of ours.
    #[error("{doing} failed: {why}")]
    Internal {
        /// What was being done.
        doing: String,
        /// What went wrong.
        why: String,
    },
}

impl ServiceError {
    /// The stable last part of the problem's `type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not-found",
            Self::Invalid { .. } => "invalid-input",
            Self::Conflict { .. } => "conflict",
            Self::NeedsAttention {
                recovery: Recovery::Reconnect,
                ..
            } => "reconnect-required",
            Self::NeedsAttention { .. } => "needs-attention",
            Self::TryLater { .. } => "try-later",
            Self::StoreAway { .. } => "store-unavailable",
            Self::Provider { .. } => "provider-refused",
            Self::Internal { .. } => "internal",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::NotFound { .. } => 404,
            Self::Invalid { .. } => 422,
            Self::Conflict { .. } | Self::NeedsAttention { .. } => 409,
            Self::TryLater { .. } | Self::StoreAway { .. } => 503,
            Self::Provider { .. } => 502,
            Self::Internal { .. } => 500,
        }
    }

    /// What helps.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        match self {
            Self::NotFound { .. }
            | Self::Invalid { .. }
            | Self::Conflict { .. }
            | Self::Internal { .. } => Recovery::None,
            Self::NeedsAttention { recovery, .. } | Self::Provider { recovery, .. } => *recovery,
            Self::TryLater { .. } | Self::StoreAway { .. } => Recovery::Wait,
        }
    }

    /// Seconds after which to ask again, for `Retry-After`.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::TryLater { after_s, .. } => Some((*after_s).max(1)),
            Self::StoreAway { .. } => Some(2),
            _ => None,
        }
    }
}

impl From<evergreen_engine::store::StoreError> for ServiceError {
    fn from(error: evergreen_engine::store::StoreError) -> Self {
        use evergreen_engine::store::StoreError;
        match error {
            StoreError::Away { .. } => Self::StoreAway {
                why: error.to_string(),
            },
            StoreError::Refused { doing, why } => Self::Internal { doing, why },
        }
    }
}

impl From<crate::integration::NameError> for ServiceError {
    fn from(error: crate::integration::NameError) -> Self {
        Self::Invalid {
            field: error.field.to_owned(),
            rule: error.rule.to_owned(),
        }
    }
}

impl From<crate::provider::HostRefused> for ServiceError {
    fn from(error: crate::provider::HostRefused) -> Self {
        Self::Invalid {
            field: error.field.to_owned(),
            rule: error.rule,
        }
    }
}
