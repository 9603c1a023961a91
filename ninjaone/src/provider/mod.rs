//! NinjaOne from outside: its hosts, its token endpoint, and what each answer means.
//!
//! | file | holds |
//! |---|---|
//! | `region`, `host`, `authority`, `policy` | where NinjaOne is, how its addresses are written, which are allowed |
//! | `request` | what is asked of the token endpoint |
//! | `answer`, `words`, `granted` | the words for its answers, and the reading of a success |
//! | `table` | which answer means what: the classification as one table |
//! | `classify` | what that table is asked, and the answer made of its word |
//! | `call`, `endpoint`, `exchange` | one call, one attempt with its deadline, one HTTP exchange within it |
//! | `transport`, `http`, `resolver` | what carries a form; the HTTP client, and where names may lead |
//! | `api` | whether a reply of the API asks for a refresh |
//! | `body`, `clean`, `throttle` | a reply's JSON, its text made safe to show, its wish to be left alone |

mod answer;
mod api;
mod authority;
mod body;
mod call;
mod classify;
mod clean;
mod endpoint;
mod exchange;
mod granted;
mod host;
mod http;
#[cfg(test)]
mod misbehaving_host;
mod policy;
mod region;
mod request;
mod resolver;
mod table;
mod throttle;
mod transport;
mod words;

pub use answer::{Answer, Detail, Reply};
pub use api::{ApiAnswer, read_api_reply};
pub use call::{READ_ON, Sent, TokenCall, TokenEndpointOptions};
pub use endpoint::TokenEndpoint;
pub use exchange::{MAX_BODY, MaySend};
pub use granted::{
    ASSUMED_LIFE_S, EXPIRED_AT_BIRTH_LIFE_S, Granted, MAX_LIFE_S, Warning, scope_reduced,
};
pub use host::{HostRefused, InstanceUrl};
pub use http::{BuildFailed, HttpOptions, ProxyOptions};
pub use policy::HostPolicy;
pub use region::Region;
pub use request::{AuthorizeRequest, ClientApp, TokenPath, TokenRequest, authorize_url};
pub use resolver::{AddressRefused, GuardedResolver};
pub use throttle::{DEFAULT_PAUSE, MAX_PAUSE, retry_after};
pub use transport::{Arriving, Cut, Form, Transport};
pub use words::{Attention, Reason, Why};
