//! `/metrics`: what this process has counted, in the OpenMetrics text format.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use evergreen_engine::counters::{Counters, LATENESS_BOUNDS_MS};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Site;
use super::problem::Problem;
use crate::telemetry::{HostGauges, Telemetry};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How long a scrape waits to be told how the fleet treats the provider's hosts.
const HOSTS_WITHIN: Duration = Duration::from_secs(1);

/// What this process has counted.
#[utoipa::path(get, path = "/metrics", tag = "watching", responses(
    (status = 200, description = "OpenMetrics text", body = String,
     content_type = "application/openmetrics-text"),
))]
pub(super) async fn show(State(site): State<Site>) -> Result<Response, Problem> {
    let read = site.app().gauge_hosts();
    if tokio::time::timeout(HOSTS_WITHIN, read).await.is_err() {
        tracing::debug!("how the hosts stand was not told in time");
    }
    let counters = Arc::clone(site.app().engine().counters());
    let text = page(counters, Arc::clone(site.app().telemetry())).map_err(|_| Problem::defect())?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

fn page(counters: Arc<Counters>, telemetry: Arc<Telemetry>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("evergreen");
    registry.register_collector(Box::new(Counted {
        counters,
        telemetry,
    }));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

/// Everything that is shown, read at the moment of the scrape.
#[derive(Debug)]
struct Counted {
    counters: Arc<Counters>,
    telemetry: Arc<Telemetry>,
}

impl Collector for Counted {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut shown = Shown(encoder);
        self.engine(&mut shown)?;
        self.application(&mut shown)
    }
}

impl Counted {
    fn engine(&self, shown: &mut Shown<'_>) -> Result<(), fmt::Error> {
        let counters = &*self.counters;
        shown.counter("turns", "Turns that ended with a commit", &counters.turns)?;
        shown.counter(
            "fenced",
            "Commits refused because another held the lease",
            &counters.fenced,
        )?;
        shown.counter(
            "takeovers",
            "Claims that found a vanished holder",
            &counters.takeovers,
        )?;
        shown.counter(
            "ignored",
            "Inputs that no state had an answer for",
            &counters.ignored,
        )?;
        let repairs = "Entries of the index that were put right; must stay 0";
        shown.counter("reconcile_repairs", repairs, &counters.repairs)?;
        shown.counter(
            "parked",
            "Workflows parked by this process",
            &counters.parked,
        )?;
        let redelivered = "Outcomes delivered as signals because their commit was fenced";
        shown.counter("redelivered", redelivered, &counters.redelivered)?;
        shown.counter(
            "store_away",
            "Calls that the store did not answer",
            &counters.store_away,
        )?;
        let pending = "Outcomes that must not be lost and are not committed yet";
        shown.gauge("persist_pending", pending, &counters.persist_pending)?;
        shown.gauge("running", "Turns that run now", &counters.running)?;
        self.lateness(shown)
    }

    /// How long after its time a timer was heard. The bounds come in milliseconds.
    fn lateness(&self, shown: &mut Shown<'_>) -> Result<(), fmt::Error> {
        let (counts, sum_ms, count) = self.counters.lateness();
        let buckets: Vec<(f64, u64)> = LATENESS_BOUNDS_MS
            .iter()
            .map(|bound| {
                let seconds = if *bound == u64::MAX {
                    f64::INFINITY
                } else {
                    seconds(*bound)
                };
                (seconds, counts.get(bound).copied().unwrap_or_default())
            })
            .collect();
        let help = "How long after its time a timer was heard, in seconds";
        let kind = MetricType::Histogram;
        let mut metric = shown
            .0
            .encode_descriptor("fire_lateness_seconds", help, None, kind)?;
        metric.encode_histogram::<NoLabelSet>(seconds(sum_ms), count, &buckets, None)
    }

    fn application(&self, shown: &mut Shown<'_>) -> Result<(), fmt::Error> {
        let outcomes = self.telemetry.outcomes();
        let help = "How attempts to refresh ended";
        shown.family("refresh_outcomes", help, "outcome", &outcomes, |n| {
            ConstCounter::new(*n)
        })?;
        let oddities = self.telemetry.oddities();
        let help = "Successes that were odd and taken all the same";
        shown.family("refresh_oddities", help, "oddity", &oddities, |n| {
            ConstCounter::new(*n)
        })?;
        let hosts = self.telemetry.hosts();
        let help = "Whether the fleet holds back requests to a host because they failed";
        let open = |host: &HostGauges| ConstGauge::new(i64::from(host.breaker_open));
        shown.family("host_breaker_open", help, "host", &hosts, open)?;
        let help = "Whether the fleet leaves a host alone because it asked for it";
        let paused = |host: &HostGauges| ConstGauge::new(i64::from(host.paused));
        shown.family("host_paused", help, "host", &hosts, paused)?;
        let help = "Token requests of the fleet that are under way to a host";
        let requests = |host: &HostGauges| ConstGauge::new(i64::from(host.requests));
        shown.family("host_requests", help, "host", &hosts, requests)?;
        self.webhooks(shown)?;
        let mut skews = self.telemetry.clock_skews();
        #[expect(clippy::cast_precision_loss, reason = "exact up to 285,000 years")]
        let store = self.counters.store_ahead_ms().map(|ms| ms as f64 / 1_000.0);
        skews.extend(store.map(|ahead| ("store", ahead)));
        let help = "By how many seconds a clock is ahead of this process";
        shown.family("clock_skew_seconds", help, "source", &skews, |s| {
            ConstGauge::new(*s)
        })
    }
}

impl Counted {
    fn webhooks(&self, shown: &mut Shown<'_>) -> Result<(), fmt::Error> {
        let ended = self.telemetry.webhooks();
        let help = "How attempts to deliver a webhook ended";
        shown.family("webhook_deliveries", help, "outcome", &ended, |n| {
            ConstCounter::new(*n)
        })?;
        // Only the process that sends them knows.
        let Some(stand) = self.telemetry.webhook_stand() else {
            return Ok(());
        };
        let events = BTreeMap::from([
            ("undelivered", stand.undelivered),
            ("lost", stand.lost),
            ("abandoned", stand.abandoned),
        ]);
        let help = "Events that the webhooks' receiver does not have: yet, or at all";
        let gauge = |n: &u64| ConstGauge::new(i64::try_from(*n).unwrap_or(i64::MAX));
        shown.family("webhook_events", help, "what", &events, gauge)?;
        let help = "Age of the oldest event that the webhooks' receiver does not have yet";
        let name = "webhook_oldest_undelivered_seconds";
        shown.one(name, help, &gauge(&stand.oldest_s))
    }
}

/// One metric after the other.
struct Shown<'a>(DescriptorEncoder<'a>);

impl Shown<'_> {
    fn one(
        &mut self,
        name: &str,
        help: &str,
        metric: &impl EncodeMetric,
    ) -> Result<(), fmt::Error> {
        metric.encode(
            self.0
                .encode_descriptor(name, help, None, metric.metric_type())?,
        )
    }

    fn counter(&mut self, name: &str, help: &str, value: &AtomicU64) -> Result<(), fmt::Error> {
        self.one(
            name,
            help,
            &ConstCounter::new(value.load(Ordering::Relaxed)),
        )
    }

    fn gauge(&mut self, name: &str, help: &str, value: &AtomicI64) -> Result<(), fmt::Error> {
        self.one(name, help, &ConstGauge::new(value.load(Ordering::Relaxed)))
    }

    /// One metric for each value of a label.
    fn family<K: AsRef<str>, V, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        readings: &BTreeMap<K, V>,
        metric: impl Fn(&V) -> M,
    ) -> Result<(), fmt::Error> {
        let Some((_, first)) = readings.iter().next() else {
            return Ok(());
        };
        let kind = metric(first).metric_type();
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (value, reading) in readings {
            let labels = [(label, value.as_ref())];
            metric(reading).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// Milliseconds as seconds. Exact up to 285,000 years.
#[expect(clippy::cast_precision_loss)]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::WebhookStand;

    #[test]
    fn the_promised_names_are_there() {
        let telemetry = Telemetry::default();
        telemetry.outcome("refreshed");
        telemetry.oddity("expired_at_birth");
        let gauges = HostGauges {
            breaker_open: true,
            requests: 3,
            ..HostGauges::default()
        };
        telemetry.hosts_are([("eu.ninjarmm.com".to_owned(), gauges)].into());
        telemetry.clock_skew("store", -1.5);
        telemetry.webhook("delivered");
        telemetry.webhooks_stand(Some(WebhookStand {
            undelivered: 3,
            oldest_s: 90,
            lost: 2,
            abandoned: 1,
        }));
        let counters = Counters::default();
        counters.repairs.store(2, Ordering::Relaxed);
        counters.persist_pending.store(1, Ordering::Relaxed);
        let page = page(Arc::new(counters), Arc::new(telemetry)).unwrap();
        for line in [
            "evergreen_persist_pending 1",
            "evergreen_reconcile_repairs_total 2",
            "evergreen_host_breaker_open{host=\"eu.ninjarmm.com\"} 1",
            "evergreen_host_paused{host=\"eu.ninjarmm.com\"} 0",
            "evergreen_host_requests{host=\"eu.ninjarmm.com\"} 3",
            "evergreen_clock_skew_seconds{source=\"store\"} -1.5",
            "evergreen_refresh_outcomes_total{outcome=\"refreshed\"} 1",
            "evergreen_refresh_oddities_total{oddity=\"expired_at_birth\"} 1",
            "evergreen_fire_lateness_seconds_count 0",
            "evergreen_fire_lateness_seconds_bucket{le=\"0.001\"} 0",
            "evergreen_fire_lateness_seconds_bucket{le=\"+Inf\"} 0",
            "evergreen_turns_total 0",
            "evergreen_webhook_deliveries_total{outcome=\"delivered\"} 1",
            "evergreen_webhook_events{what=\"undelivered\"} 3",
            "evergreen_webhook_events{what=\"lost\"} 2",
            "evergreen_webhook_events{what=\"abandoned\"} 1",
            "evergreen_webhook_oldest_undelivered_seconds 90",
            "evergreen_running 0",
            "# EOF",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
    }
}
