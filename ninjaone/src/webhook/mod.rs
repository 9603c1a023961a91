//! Signed webhooks: every event of the outbox, posted to one receiver, as the Standard Webhooks
//! specification says (`webhook-id`, `webhook-timestamp`, `webhook-signature`).
//!
//! # What is promised
//! Each event is delivered **at least once**, always under the same id, and the events of one integration in
//! their order: the next one is not sent before the receiver has answered 2xx to the one before and the
//! store has noted that. An integration whose event is refused waits and holds back nobody else's. What a
//! receiver does not take for three days is given up, counted, and shown by `doctor`.
//!
//! # Who sends
//! One process of the fleet, for all partitions: the one that holds the turnstile `webhooks`. It trusts in
//! that no longer than a window that surely ends sooner, and nothing leaves after the window, so two
//! processes never deliver at once. If it dies, another takes over when the turnstile opens; what was sent
//! and not settled is sent again, with the same id.
//!
//! # What it costs
//! Nothing where no webhook is configured. Else the sender looks once a second how far the reader `webhook`
//! has come in all partitions, which is one round trip, and every other process asks every ten seconds whether it
//! can be the sender.
//!
//! | file | holds |
//! |---|---|
//! | `address.rs`, `resolver.rs` | where the receiver is, and where its name may lead |
//! | `secret.rs`, `message.rs` | the signing secrets; what is posted and how it is signed |
//! | `carrier.rs` | the HTTP request |
//! | `pace.rs` | what an answer means, how long to wait, when to give up |
//! | `lanes.rs` | one queue an integration |
//! | `delivery.rs` | one attempt, from the entry to the settled event |
//! | `desk.rs`, `dispatcher.rs` | the sender at work; how a process becomes it |

mod address;
mod carrier;
mod delivery;
mod desk;
mod dispatcher;
mod lanes;
mod message;
mod pace;
mod resolver;
mod secret;
#[cfg(test)]
mod tests;

pub use address::WebhookUrl;
pub use carrier::{Answer, Carrier, MayLeave};
pub use dispatcher::Dispatcher;
pub use message::Signed;
pub use secret::{SecretRefused, SigningSecrets};

/// The name under which webhooks read the outbox: a consumer group on each partition's stream.
pub const READER: &str = "webhook";

/// Where events are posted to, and what they are signed with.
#[derive(Debug, Clone)]
pub struct WebhookOptions {
    /// The receiver.
    pub url: WebhookUrl,
    /// What it verifies signatures with.
    pub secrets: SigningSecrets,
}
