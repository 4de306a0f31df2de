//! Text with entities: mentions, hidden links and commands. Offsets count UTF-16 units.

use connector_sdk::json;
use connector_sdk::schemas::{Actor, Identity, Part, Recipient, Role, scheme};
use serde_json::Value;

use crate::people;

/// What the entities of a text say.
#[derive(Debug, Default)]
pub struct Marked {
    pub mentions: Vec<Recipient>,
    /// Links behind other words, and a command at the start.
    pub parts: Vec<Part>,
}

/// Reads the entities of a text.
pub fn marked(text: &str, entities: Option<&Value>) -> Marked {
    let mut marked = Marked::default();
    for entity in entities.and_then(Value::as_array).into_iter().flatten() {
        let at = |name: &str| entity.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let (Some(offset), Some(length)) = (at("offset"), at("length")) else { continue };
        let Some(words) = slice(text, offset, length) else { continue };
        match json::text(entity, "/type") {
            Some("mention") => {
                let name = words.strip_prefix('@').unwrap_or(words);
                // Marked by its form alone: nobody says that there is such a user.
                marked.mention(Actor::new(vec![Identity::claimed(scheme::USERNAME, name)]));
            }
            Some("text_mention") => {
                if let Some(user) = entity.get("user").and_then(people::user) {
                    marked.mention(user);
                }
            }
            Some("text_link") => {
                if let Some(url) = json::text(entity, "/url") {
                    let title = Some(words.to_owned());
                    marked.parts.push(Part::Link { url: url.to_owned(), title, description: None });
                }
            }
            Some("bot_command") if offset == 0 => {
                let payload = text[words.len()..].trim();
                marked.parts.push(Part::Interactive {
                    action: "command".to_owned(),
                    id: Some(words.to_owned()),
                    title: None,
                    payload: (!payload.is_empty()).then(|| payload.to_owned()),
                });
            }
            _ => {}
        }
    }
    marked
}

impl Marked {
    fn mention(&mut self, actor: Actor) {
        if !self.mentions.iter().any(|have| have.actor.identities == actor.identities) {
            self.mentions.push(Recipient { role: Role::Mention, actor });
        }
    }
}

/// Part of a text by UTF-16 offset and length; `None` where they do not fit it.
fn slice(text: &str, offset: usize, length: usize) -> Option<&str> {
    let byte_at = |unit: usize| {
        let mut units = 0;
        for (at, character) in text.char_indices() {
            if units >= unit {
                return (units == unit).then_some(at);
            }
            units += character.len_utf16();
        }
        (units == unit).then_some(text.len())
    };
    text.get(byte_at(offset)?..byte_at(offset.checked_add(length)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count_utf16_units() {
        let text = "😀 hi @ann";
        assert_eq!(slice(text, 6, 4), Some("@ann"));
        assert_eq!(slice(text, 0, 2), Some("😀"));
        assert_eq!(slice(text, 1, 1), None);
        assert_eq!(slice(text, 6, 5), None);
        assert_eq!(slice(text, 6, usize::MAX), None);
    }
}
