//! NinjaOne from outside: its hosts, its token endpoint, and what each answer means.
//!
//! | file | holds |
//! |---|---|
//! | `region`, `host`, `policy` | where NinjaOne is, how its addresses are written, which are allowed |
//! | `request` | what is asked of the token endpoint |
//! | `answer`, `granted` | the words for its answers, and the reading of a success |
//! | `body`, `clean`, `throttle` | a reply's JSON, its text made safe to show, its wish to be left alone |

mod answer;
mod body;
mod clean;
mod granted;
mod host;
mod policy;
mod region;
mod request;
mod throttle;

pub use answer::{Answer, Attention, Detail, Reason, Reply, Why};
pub use granted::{
    ASSUMED_LIFE_S, EXPIRED_AT_BIRTH_LIFE_S, Granted, MAX_LIFE_S, Warning, scope_reduced,
};
pub use host::{HostRefused, InstanceUrl};
pub use policy::HostPolicy;
pub use region::Region;
pub use request::{AuthorizeRequest, ClientApp, TokenPath, TokenRequest, authorize_url};
pub use throttle::{DEFAULT_PAUSE, MAX_PAUSE, retry_after};
