//! Public keys and certificates that verification asks for: fetched once for all who wait, kept for a day.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use connector_sdk::{Http, HttpRequest, KeyRef, Keys};
use tokio::time::Instant;

/// How long a fetched key document is used.
const KEY_LIFE: Duration = Duration::from_secs(24 * 3600);
/// A document that could not be fetched, or did not hold the key, is not asked for again for so long: an attacker must
/// not be able to make us hammer the provider.
const KEY_RETRY: Duration = Duration::from_secs(60);

/// The documents of one instance.
pub(super) struct KeyCache {
    http: Arc<dyn Http>,
    state: Mutex<State>,
    /// Held by whoever fetches: the others wait for what it brings.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    keys: Arc<Keys>,
    asked: HashMap<String, Asked>,
}

#[derive(Clone, Copy)]
struct Asked {
    at: Instant,
    got: bool,
}

impl KeyCache {
    pub fn new(http: Arc<dyn Http>) -> Self {
        Self { http, state: Mutex::default(), fetching: tokio::sync::Mutex::default() }
    }

    /// The documents that are still to be trusted.
    pub fn current(&self) -> Arc<Keys> {
        let mut state = self.state();
        let outdated = |asked: &Asked| asked.got && asked.at.elapsed() >= KEY_LIFE;
        if state.asked.values().any(outdated) {
            // A key that was withdrawn must not live on here: all are fetched anew when they are needed.
            *state = State::default();
        }
        state.keys.clone()
    }

    /// Fetches a document that was found wanting, within `limit`. True: there is news, ask again.
    pub async fn fetch(&self, key: &KeyRef, limit: Duration) -> bool {
        let before = Instant::now();
        let fetching = async {
            let _turn = self.fetching.lock().await;
            let asked = self.state().asked.get(&key.url).copied();
            match asked {
                // Somebody else has fetched it meanwhile.
                Some(asked) if asked.at > before => return asked.got,
                Some(asked) if asked.at.elapsed() < KEY_RETRY => return false,
                _ => {}
            }
            let answer = self.http.send(HttpRequest { timeout: limit, ..HttpRequest::get(&key.url) }).await;
            let document = answer.ok().filter(|answer| answer.status == 200).map(|answer| answer.body);
            let mut state = self.state();
            state.asked.insert(key.url.clone(), Asked { at: Instant::now(), got: document.is_some() });
            let Some(document) = document else { return false };
            Arc::make_mut(&mut state.keys).insert(&key.url, document);
            true
        };
        tokio::time::timeout(limit, fetching).await.unwrap_or(false)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use connector_sdk::{Bytes, HttpFault, HttpResponse, async_trait};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Provider {
        calls: AtomicUsize,
        down: std::sync::atomic::AtomicBool,
    }

    #[async_trait]
    impl Http for Provider {
        async fn send(&self, _: HttpRequest) -> Result<HttpResponse, HttpFault> {
            let call = self.calls.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
            let status = if self.down.load(Ordering::Relaxed) { 500 } else { 200 };
            Ok(HttpResponse { status, headers: Default::default(), body: Bytes::from(call.to_string()) })
        }
    }

    const LIMIT: Duration = Duration::from_secs(2);

    fn key() -> KeyRef {
        KeyRef { url: "https://provider.example/keys".into(), key_id: None }
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_need_a_key_at_once_cost_one_call() {
        let provider = Arc::new(Provider::default());
        let cache = KeyCache::new(provider.clone());
        let key = key();
        let got = futures::future::join_all((0..10).map(|_| cache.fetch(&key, LIMIT))).await;
        assert_eq!(got, [true; 10]);
        assert_eq!(provider.calls.load(Ordering::Relaxed), 1);
        assert!(cache.current().get(&key.url).is_some());
        // Found wanting all the same (a key id that nobody has): not asked again at once.
        assert!(!cache.fetch(&key, LIMIT).await);
        tokio::time::advance(KEY_RETRY).await;
        assert!(cache.fetch(&key, LIMIT).await);
        assert_eq!(provider.calls.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_document_is_not_trusted_for_ever() {
        let provider = Arc::new(Provider::default());
        let cache = KeyCache::new(provider.clone());
        assert!(cache.fetch(&key(), LIMIT).await);
        tokio::time::advance(KEY_LIFE).await;
        assert!(cache.current().get(&key().url).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_is_down_is_not_hammered() {
        let provider = Arc::new(Provider::default());
        provider.down.store(true, Ordering::Relaxed);
        let cache = KeyCache::new(provider.clone());
        for _ in 0..5 {
            assert!(!cache.fetch(&key(), LIMIT).await);
        }
        assert_eq!(provider.calls.load(Ordering::Relaxed), 1);
        assert!(!cache.fetch(&key(), Duration::from_millis(10)).await);
    }
}
