//! What an answer of the token endpoint says of its host.

use evergreen_engine::Millis;
use evergreen_engine::store::Said;

use super::Refresher;
use crate::provider::{Answer, Why};

/// When a reply came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Before its deadline.
    InTime,
    /// After its deadline, which has been told to the gate as a failure already.
    Late,
}

/// Tells the host's gate how a request went, at this time of the store. Answers for how long the host is left alone now, ms; where
/// tokens came nobody waits for that, since they are not safe yet.
pub(crate) async fn tell(
    refresher: &Refresher,
    instance_url: &str,
    answer: &Answer,
    (when, now): (When, Millis),
) -> Millis {
    let Some(said) = said_of(answer) else {
        return 0;
    };
    // One request is one failure or one answer; only a wish to be left alone counts whenever it comes.
    if when == When::Late && !matches!(said, Said::Throttled { .. }) {
        return 0;
    }
    if let Answer::Unavailable { not_sent: true, .. } = answer {
        // It may be this machine that reaches nobody. The fleet's gate is not shut for that.
        refresher.gate.failed_from_here(instance_url, now);
        return 0;
    }
    let tokens_came = match answer {
        Answer::Granted(_) => true,
        Answer::Unknown { salvaged, .. } => salvaged.is_some(),
        _ => false,
    };
    if tokens_came {
        let (refresher, host) = (refresher.clone(), instance_url.to_owned());
        tokio::spawn(async move { refresher.gate.tell(&host, said).await });
        return 0;
    }
    refresher.gate.tell(instance_url, said).await
}

/// Only that nothing came back, or nothing that says anything, opens the breaker. A verdict on one
/// grant, a wrong configuration and a rejection that no rule knows are answers all the same.
fn said_of(answer: &Answer) -> Option<Said> {
    match answer {
        // Nothing was sent.
        Answer::Unavailable {
            why: Why::Withheld, ..
        } => None,
        Answer::Throttled { pause, asked } => Some(Said::Throttled {
            pause: asked.then_some(*pause),
        }),
        Answer::Unavailable { .. } | Answer::Unknown { .. } => Some(Said::Failed),
        Answer::Granted(_)
        | Answer::Rejected { .. }
        | Answer::Misconfigured { .. }
        | Answer::Unclassified => Some(Said::Answered),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::provider::{Attention, Reason};

    #[test]
    fn only_that_nothing_came_back_opens_the_breaker() {
        let unavailable = |why| Answer::Unavailable {
            why,
            not_sent: true,
            tls: false,
        };
        let unknown = Answer::Unknown {
            why: Why::BrokenOff,
            salvaged: None,
        };
        for failed in [unavailable(Why::Connect), unknown] {
            assert_eq!(said_of(&failed), Some(Said::Failed), "{failed:?}");
        }
        let reason = Reason::Revoked;
        let attention = Attention::ClientUnknown;
        for answered in [
            Answer::Rejected { reason },
            Answer::Misconfigured { attention },
            Answer::Unclassified,
        ] {
            assert_eq!(said_of(&answered), Some(Said::Answered), "{answered:?}");
        }
        assert_eq!(said_of(&unavailable(Why::Withheld)), None);
    }

    #[test]
    fn a_pause_has_a_length_only_if_the_host_named_one() {
        let pause = Duration::from_secs(30);
        let throttled = |asked| said_of(&Answer::Throttled { pause, asked });
        let named = Some(pause);
        assert_eq!(throttled(true), Some(Said::Throttled { pause: named }));
        assert_eq!(throttled(false), Some(Said::Throttled { pause: None }));
    }
}
