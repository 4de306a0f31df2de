//! What the line adds to an event: stored blobs, routing, language.

use connector_sdk::Blob;
use connector_sdk::schemas::{Direction, Event, Language};
use whatlang::{Detector, Lang};

pub use super::blobs::BlobFault;
use super::blobs::BlobStore;
use super::instance::Instance;

/// Below this a guess at the language is noise.
const LANGUAGE_MIN_CHARS: usize = 24;
/// What is looked at of a long text.
const LANGUAGE_MAX_BYTES: usize = 2000;

/// Letters that Bulgarian does not have; plain Russian is taken for it easily.
const NOT_BULGARIAN: [char; 6] = ['ы', 'э', 'ё', 'Ы', 'Э', 'Ё'];

/// Adds what needs the outside world or configuration. May degrade, never blocks for ever.
pub struct Enricher {
    pub blobs: BlobStore,
    pub detect_language: bool,
}

impl Enricher {
    /// Stores the bytes that an event refers to.
    pub async fn store(&self, blobs: Vec<Blob>) -> Result<(), BlobFault> {
        self.blobs.put_all(blobs).await
    }

    /// Routing and language.
    pub fn enrich(&self, instance: &Instance, event: &mut Event) {
        instance.route(&event.account, &mut event.routing);
        if self.detect_language && event.direction == Direction::Inbound && event.routing.language.is_none() {
            event.routing.language = event.text.as_deref().and_then(language);
        }
    }
}

fn language(text: &str) -> Option<Language> {
    let (text, _) = connector_sdk::text::cut(text, LANGUAGE_MAX_BYTES);
    if text.chars().take(LANGUAGE_MIN_CHARS).count() < LANGUAGE_MIN_CHARS {
        return None;
    }
    let mut info = whatlang::detect(text)?;
    if info.lang() == Lang::Bul && text.contains(NOT_BULGARIAN) {
        info = Detector::with_denylist(vec![Lang::Bul]).detect(text)?;
    }
    // No language is better than a wrong one.
    if !info.is_reliable() {
        return None;
    }
    Some(Language { code: info.lang().code().to_owned(), confidence: (info.confidence() * 100.0).round() / 100.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_have_no_language() {
        assert_eq!(language("hi"), None);
    }

    #[test]
    fn longer_ones_have() {
        let russian = "Где мой заказ? Мы ждём уже две недели, на вопросы никто не отвечает, а деньги вы списали сразу.";
        assert_eq!(language(russian).unwrap().code, "rus");
        let english = "Where is my order? I have been waiting for two weeks and nobody answers my letters.";
        assert_eq!(language(english).unwrap().code, "eng");
    }
}
