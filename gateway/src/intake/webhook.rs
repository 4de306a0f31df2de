//! The webhook driver: admit → line → reply. The acknowledgement goes out only when the outcome is known.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use connector_sdk::{
    Admission, Http, HttpRequest, KeyRef, Keys, Outcome, RawEvent, Refusal, RefusalKind, Reply, Webhook,
};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::push::PushLine;
use crate::ingress::peer::rate_key;
use crate::pipeline::instance::Instance;

/// How long a fetched key document is used.
const KEY_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Key documents that one request may ask for, one after the other.
const KEY_ROUNDS_MAX: usize = 3;
/// A document that could not be fetched, or did not hold the key, is not asked for again for so long: an attacker must
/// not be able to make us hammer the provider.
const KEY_RETRY: Duration = Duration::from_secs(60);

/// One webhook instance on this replica.
pub struct Hook {
    pub instance: Arc<Instance>,
    pub webhook: Arc<dyn Webhook>,
    limiter: Option<DefaultKeyedRateLimiter<IpAddr>>,
    keys: Mutex<KeyCache>,
    http: Arc<dyn Http>,
}

#[derive(Default)]
struct KeyCache {
    keys: Keys,
    fetched: HashMap<String, Instant>,
}

impl Hook {
    pub fn new(instance: Arc<Instance>, webhook: Arc<dyn Webhook>, http: Arc<dyn Http>) -> Self {
        let limiter = webhook.rate().and_then(|rate| {
            let burst = std::num::NonZeroU32::new(rate.burst)?;
            Some(RateLimiter::keyed(Quota::with_period(rate.every)?.allow_burst(burst)))
        });
        Self { instance, webhook, limiter, keys: Mutex::default(), http }
    }

    /// Takes one request through admission and the line, and answers it.
    pub async fn handle(&self, raw: RawEvent, push: &PushLine, deadline: Duration) -> Reply {
        let outcome = match self.admit(&raw).await {
            Admission::Answer(reply) => return reply,
            Admission::Accept => match self.over_rate(&raw) {
                Some(retry_after) => {
                    self.instance.counters.refused("over_rate");
                    Outcome::OverRate { retry_after }
                }
                None => push.run(&self.instance, &raw, deadline).await,
            },
            Admission::Refuse(refusal) => {
                self.instance.counters.refused(refusal.kind.as_str());
                tracing::debug!(instance = %self.instance.name, kind = refusal.kind.as_str(), detail = %refusal.detail, "refused");
                Outcome::Refused(refusal)
            }
            Admission::Need(key) => {
                tracing::warn!(instance = %self.instance.name, url = %key.url, "key needed for verification is not to be had");
                Outcome::NotSafeNow { retry_after: super::push::RETRY_AFTER }
            }
        };
        self.webhook.reply(&raw, &outcome)
    }

    /// The reply for a body over its cap.
    pub fn too_large(&self, raw: &RawEvent, limit_bytes: usize) -> Reply {
        self.instance.counters.refused("too_large");
        self.webhook.reply(raw, &Outcome::TooLarge { limit_bytes })
    }

    /// The reply while nothing can be taken (draining, overloaded).
    pub fn not_now(&self, raw: &RawEvent, retry_after: Duration) -> Reply {
        self.webhook.reply(raw, &Outcome::NotSafeNow { retry_after })
    }

    async fn admit(&self, raw: &RawEvent) -> Admission {
        for _ in 0..KEY_ROUNDS_MAX {
            let keys = self.cached_keys();
            let admitted = std::panic::AssertUnwindSafe(|| self.webhook.admit(raw, &keys, crate::clock::now()));
            let admission = std::panic::catch_unwind(admitted).unwrap_or_else(|_| {
                Admission::Refuse(Refusal::new(RefusalKind::Malformed, "the request cannot be read"))
            });
            match admission {
                Admission::Need(key) => {
                    if !self.fetch_key(&key).await {
                        return Admission::Need(key);
                    }
                }
                decided => return decided,
            }
        }
        Admission::Refuse(Refusal::signature("no key fits the signature"))
    }

    fn cached_keys(&self) -> Keys {
        self.keys.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).keys.clone()
    }

    async fn fetch_key(&self, key: &KeyRef) -> bool {
        {
            let mut cache = self.keys.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let life = if cache.keys.get(&key.url).is_some() { KEY_LIFE.min(KEY_RETRY) } else { KEY_RETRY };
            if cache.fetched.get(&key.url).is_some_and(|at| at.elapsed() < life) {
                return false;
            }
            cache.fetched.insert(key.url.clone(), Instant::now());
        }
        match self.http.send(HttpRequest::get(&key.url)).await {
            Ok(response) if response.status == 200 => {
                let mut cache = self.keys.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                cache.keys.insert(&key.url, response.body);
                true
            }
            _ => false,
        }
    }

    fn over_rate(&self, raw: &RawEvent) -> Option<Duration> {
        let (limiter, peer) = (self.limiter.as_ref()?, raw.peer?);
        // Every so often forget addresses that are at rest, so that the table stays small.
        if limiter.len() > RATE_TABLE_MAX {
            limiter.retain_recent();
        }
        let clock = DefaultClock::default();
        limiter.check_key(&rate_key(peer)).err().map(|until| until.wait_time_from(clock.now()))
    }
}

/// Addresses kept before those at rest are forgotten.
const RATE_TABLE_MAX: usize = 100_000;
