//! The webhook driver: admit → line → reply. The acknowledgement goes out only when the outcome is known.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use connector_sdk::{Admission, Http, Outcome, RawEvent, Refusal, RefusalKind, Reply, Webhook};
use governor::clock::Clock;
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::keys::KeyCache;
use super::push::{PushLine, RETRY_AFTER};
use super::shares::Pool;
use crate::ingress::peer::{coarse_rate_key, rate_key};
use crate::pipeline::instance::Instance;

/// Key documents that one request may ask for, one after the other.
const KEY_ROUNDS_MAX: usize = 3;
/// Addresses kept before those at rest are forgotten. Where even then there are more, whole networks share a place.
const RATE_TABLE_MAX: usize = 100_000;
/// How often the table of addresses is looked through at most.
const RATE_SWEEP: Duration = Duration::from_secs(1);

/// One webhook instance on this replica.
pub struct Hook {
    pub instance: Arc<Instance>,
    pub webhook: Arc<dyn Webhook>,
    limiter: Option<DefaultKeyedRateLimiter<IpAddr>>,
    swept: Mutex<Instant>,
    keys: KeyCache,
    /// Of the whole instance, from its configuration.
    rate: Option<DefaultDirectRateLimiter>,
    /// What its accounts have on their way.
    accounts: Pool,
}

impl Hook {
    pub fn new(instance: Arc<Instance>, webhook: Arc<dyn Webhook>, http: Arc<dyn Http>) -> Self {
        let limiter = webhook.rate().and_then(|rate| {
            let burst = std::num::NonZeroU32::new(rate.burst)?;
            Some(RateLimiter::keyed(Quota::with_period(rate.every)?.allow_burst(burst)))
        });
        let rate = instance.config.rate.map(|rate| RateLimiter::direct(rate.quota()));
        let (swept, keys) = (Mutex::new(Instant::now()), KeyCache::new(http));
        Self { instance, webhook, limiter, swept, keys, rate, accounts: Pool::for_comers(usize::MAX) }
    }

    /// How many inputs of the instance may be on their way at once, for its accounts to share.
    pub fn divide(&self, places: usize) {
        self.accounts.resize(places, 1);
    }

    /// Takes one request through admission and the line, and answers it.
    pub async fn handle(&self, mut raw: RawEvent, push: &PushLine, deadline: Duration) -> Reply {
        // HEAD asks what GET would answer; connectors need not know it, and it never brings input.
        let head = raw.method == "HEAD";
        if head {
            raw.method = "GET".to_owned();
        }
        let outcome = match self.admit(&raw, deadline).await {
            Admission::Answer(reply) => return reply,
            Admission::Accept if head => return Reply::status(200),
            Admission::Accept => match self.over_rate(&raw) {
                Some(retry_after) => {
                    self.instance.counters.refused("over_rate");
                    Outcome::OverRate { retry_after }
                }
                None => {
                    let running = std::pin::pin!(push.run_shared(&self.instance, &raw, deadline, Some(&self.accounts)));
                    running.await
                }
            },
            Admission::Refuse(refusal) => {
                self.instance.counters.refused(refusal.kind.as_str());
                tracing::debug!(instance = %self.instance.name, kind = refusal.kind.as_str(), detail = %refusal.detail, "refused");
                Outcome::Refused(refusal)
            }
            Admission::Need(key) => {
                self.instance.counters.refused("key_unavailable");
                tracing::warn!(instance = %self.instance.name, host = %crate::io::http::host(&key.url), "key needed for verification is not to be had");
                Outcome::NotSafeNow { retry_after: RETRY_AFTER }
            }
        };
        self.reply(&raw, &outcome)
    }

    /// The reply for a body over its cap.
    pub fn too_large(&self, raw: &RawEvent, limit_bytes: usize) -> Reply {
        self.instance.counters.refused("too_large");
        self.reply(raw, &Outcome::TooLarge { limit_bytes })
    }

    /// The reply while nothing can be taken (draining, overloaded).
    pub fn not_now(&self, raw: &RawEvent, retry_after: Duration) -> Reply {
        self.reply(raw, &Outcome::NotSafeNow { retry_after })
    }

    /// A connector that panics must not cost the sender the answer to what is safe already.
    fn reply(&self, raw: &RawEvent, outcome: &Outcome) -> Reply {
        catch_unwind(AssertUnwindSafe(|| self.webhook.reply(raw, outcome))).unwrap_or_else(|_| {
            tracing::error!(instance = %self.instance.name, "the connector panicked in reply; the usual answer goes out");
            Reply::default_for(outcome)
        })
    }

    async fn admit(&self, raw: &RawEvent, deadline: Duration) -> Admission {
        for _ in 0..KEY_ROUNDS_MAX {
            let keys = self.keys.current();
            let admitted = AssertUnwindSafe(|| self.webhook.admit(raw, &keys, crate::clock::now()));
            let admission = catch_unwind(admitted).unwrap_or_else(|_| {
                tracing::error!(instance = %self.instance.name, "the connector panicked in admit; the request is refused");
                Admission::Refuse(Refusal::new(RefusalKind::Malformed, "the request cannot be read"))
            });
            match admission {
                Admission::Need(key) => {
                    if !Box::pin(self.keys.fetch(&key, deadline)).await {
                        return Admission::Need(key);
                    }
                }
                decided => return decided,
            }
        }
        Admission::Refuse(Refusal::signature("no key fits the signature"))
    }

    /// How long to wait where the sender's address or the instance has had its share. Only input counts, no pages.
    fn over_rate(&self, raw: &RawEvent) -> Option<Duration> {
        // The address first: one that is over its own rate must not use up that of all.
        self.over_own_rate(raw).or_else(|| {
            let rate = self.rate.as_ref()?;
            // The limiter's own clock: making one asks the processor what it is, which takes as long as all of the line.
            Some(rate.check().err()?.wait_time_from(rate.clock().now()))
        })
    }

    fn over_own_rate(&self, raw: &RawEvent) -> Option<Duration> {
        let (limiter, peer) = (self.limiter.as_ref()?, raw.peer?);
        if limiter.len() > RATE_TABLE_MAX {
            self.sweep(limiter);
        }
        let key = if limiter.len() > RATE_TABLE_MAX { coarse_rate_key(peer) } else { rate_key(peer) };
        limiter.check_key(&key).err().map(|until| until.wait_time_from(limiter.clock().now()))
    }

    fn sweep(&self, limiter: &DefaultKeyedRateLimiter<IpAddr>) {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.elapsed() >= RATE_SWEEP {
            *swept = Instant::now();
            limiter.retain_recent();
        }
    }
}
