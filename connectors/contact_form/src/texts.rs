//! Words of the page in several languages, from `assets/texts.toml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use connector_sdk::ConfigError;

type Table = BTreeMap<String, String>;

const FALLBACK: &str = "en";
/// Languages that are written from right to left.
const RIGHT_TO_LEFT: &[&str] = &["ar", "fa", "he", "ps", "sd", "ug", "ur", "yi"];

static LANGUAGES: LazyLock<BTreeMap<String, Table>> = LazyLock::new(|| {
    // The file is compiled in and a test reads it, so that this cannot fail at run time.
    toml::from_str(include_str!("assets/texts.toml")).unwrap_or_else(|error| unreachable!("texts.toml: {error}"))
});

/// The texts of one form.
#[derive(Clone, Debug)]
pub struct Texts(Table);

impl Texts {
    /// The texts of a language with single ones overridden; an unknown key is an error.
    pub fn build(lang: &str, overrides: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let language = LANGUAGES.get(primary(lang)).or_else(|| LANGUAGES.get(FALLBACK));
        let mut table = language.cloned().unwrap_or_else(|| unreachable!("texts.toml holds English"));
        for (key, text) in overrides {
            match table.get_mut(key) {
                Some(have) => have.clone_from(text),
                None => {
                    let known = table.keys().cloned().collect::<Vec<_>>().join(", ");
                    return Err(ConfigError::new(format!("texts.{key}"), format!("no such text; there are {known}")));
                }
            }
        }
        Ok(Self(table))
    }

    /// The text of a key; the key itself where it is missing.
    pub fn get<'a>(&'a self, key: &'a str) -> &'a str {
        self.0.get(key).map_or(key, String::as_str)
    }

    /// The text of a key with `{name}` replaced.
    pub fn fill(&self, key: &str, values: &[(&str, &str)]) -> String {
        values.iter().fold(self.get(key).to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }
}

/// `rtl` or `ltr`.
pub fn direction(lang: &str) -> &'static str {
    if RIGHT_TO_LEFT.contains(&primary(lang)) { "rtl" } else { "ltr" }
}

fn primary(lang: &str) -> &str {
    lang.split('-').next().unwrap_or(lang)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_every_text_with_the_same_places() {
        let places = |text: &str| {
            let mut names: Vec<_> = text
                .split('{')
                .skip(1)
                .filter_map(|rest| rest.split_once('}').map(|(name, _)| name.to_owned()))
                .collect();
            names.sort();
            names
        };
        let english = &LANGUAGES[FALLBACK];
        assert!(english.len() > 20 && LANGUAGES.len() >= 7);
        for (lang, table) in LANGUAGES.iter() {
            for (key, text) in english {
                let own = table.get(key).unwrap_or_else(|| panic!("{lang} lacks {key}"));
                assert_eq!(places(own), places(text), "{lang}.{key}");
            }
            assert_eq!(table.len(), english.len(), "{lang} has texts that English lacks");
        }
    }

    #[test]
    fn variants_use_their_language_and_unknown_keys_are_named() {
        let none = BTreeMap::new();
        assert_eq!(Texts::build("de-AT", &none).unwrap().get("send"), Texts::build("de", &none).unwrap().get("send"));
        let bad = BTreeMap::from([("sendd".to_owned(), "x".to_owned())]);
        assert_eq!(Texts::build("en", &bad).unwrap_err().path, "texts.sendd");
        assert_eq!((direction("he-IL"), direction("en")), ("rtl", "ltr"));
    }
}
