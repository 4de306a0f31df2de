//! Recipes: what a source's behaviour is written down as, and where recipes come from.

use std::path::Path;

use connector_sdk::ConfigError;
use connector_sdk::include_dir::{self, Dir, include_dir};
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::handshake::Handshake;
use crate::verify::Scheme;

static SHIPPED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/recipes");
const FILE: &str = "recipe.yaml";
const DEFAULT: &str = "standard_webhooks";
/// Name of a recipe that is written in the configuration itself.
const INLINE: &str = "inline";

/// How a source behaves. Holds no secret.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Provider's name in events, lower case.
    pub provider: String,
    /// Family of channel of its events, unless the mapping says otherwise: `chat`, `form`, `voice`, …
    #[serde(default = "default_channel")]
    pub channel: String,
    /// Where the payload's shape is documented.
    #[serde(default)]
    pub source: Option<String>,
    /// How a request proves its origin.
    pub verify: Scheme,
    /// Where the id of the event is, which stays the same when it is delivered again. Best within the signed part.
    /// Without it the content is its own id: what is sent twice is one event.
    #[serde(default)]
    pub event_id: Option<EventIdAt>,
    /// JSON pointer to the list of items in a body that wraps several. A body that is a list needs none.
    #[serde(default)]
    pub items: Option<String>,
    /// The mapping, in jq: its input is one item, its outputs are events in the shape of the README.
    pub map: String,
    /// Answer to the source's question whether the endpoint is ours.
    #[serde(default)]
    pub handshake: Option<Handshake>,
    /// Hosts from which attachments are downloaded.
    #[serde(default)]
    pub attachment_hosts: Vec<String>,
    /// How long the source repeats what was not accepted, in hours. Absent: it does not.
    #[serde(default)]
    pub redelivers_for_hours: Option<u32>,
}

fn default_channel() -> String {
    "chat".to_owned()
}

/// Where an event's id is: one of the two.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventIdAt {
    /// In a header.
    #[serde(default)]
    pub header: Option<String>,
    /// In the item, by JSON pointer.
    #[serde(default)]
    pub pointer: Option<String>,
}

/// A recipe by name, or the recipe itself.
#[derive(Clone, Debug)]
pub enum RecipeChoice {
    Named(String),
    Inline(Box<Recipe>),
}

impl Default for RecipeChoice {
    fn default() -> Self {
        Self::Named(DEFAULT.to_owned())
    }
}

impl RecipeChoice {
    /// The recipe and its name.
    pub fn load(&self, dir: Option<&Path>) -> Result<(String, Recipe), ConfigError> {
        let name = match self {
            Self::Inline(recipe) => return Ok((INLINE.to_owned(), (**recipe).clone())),
            Self::Named(name) => name,
        };
        // A name is one folder, never a path.
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')) {
            return Err(ConfigError::new("recipe", "a recipe's name has letters, digits, '_' and '-' only"));
        }
        let own = match dir {
            Some(dir) => read(dir, name)?,
            None => None,
        };
        let shipped = || SHIPPED.get_file(format!("{name}/{FILE}"))?.contents_utf8().map(str::to_owned);
        let Some(text) = own.or_else(shipped) else {
            return Err(ConfigError::new(
                "recipe",
                format!("no recipe '{name}'; shipped: {}", shipped_names().join(", ")),
            ));
        };
        Ok((name.clone(), parse(name, &text)?))
    }
}

/// Options of the instance that errors of a recipe's build can be about.
const OF_INSTANCE: &[&str] = &["secret", "username"];

/// An error within a recipe, with the place where it is written.
pub fn located(name: &str, error: ConfigError) -> ConfigError {
    if OF_INSTANCE.contains(&error.path.as_str()) {
        return error;
    }
    let path = match name {
        INLINE => format!("recipe.{}", error.path),
        name => format!("recipe {name}: {}", error.path),
    };
    ConfigError { path: path.trim_end_matches(['.', ':', ' ']).to_owned(), ..error }
}

fn shipped_names() -> Vec<&'static str> {
    let mut names: Vec<_> = SHIPPED.dirs().filter_map(|dir| dir.path().file_name()?.to_str()).collect();
    names.sort_unstable();
    names
}

fn read(dir: &Path, name: &str) -> Result<Option<String>, ConfigError> {
    let path = dir.join(name).join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && dir.is_dir() => Ok(None),
        Err(error) => Err(ConfigError::new("recipes_dir", format!("{}: {error}", path.display()))),
    }
}

fn parse(name: &str, text: &str) -> Result<Recipe, ConfigError> {
    let at = |path: &str| format!("recipe {name}{path}");
    let documents = Yaml::load_from_str(text).map_err(|error| ConfigError::new(at(""), error.to_string()))?;
    let [document] = &documents[..] else {
        return Err(ConfigError::new(at(""), "the file must hold one YAML document"));
    };
    let value = json(document).map_err(|message| ConfigError::new(at(""), message))?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        ConfigError::new(at(&format!(": {path}")), error.into_inner().to_string())
    })
}

/// YAML as JSON.
fn json(yaml: &Yaml<'_>) -> Result<Value, String> {
    Ok(match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => Value::from(*value),
        Yaml::Value(Scalar::Integer(value)) => Value::from(*value),
        Yaml::Value(Scalar::FloatingPoint(value)) => Value::from(value.into_inner()),
        Yaml::Value(Scalar::String(value)) => Value::from(value.as_ref()),
        Yaml::Sequence(items) => Value::Array(items.iter().map(json).collect::<Result<_, _>>()?),
        Yaml::Mapping(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                let key = key.as_str().ok_or("a key that is not text")?;
                map.insert(key.to_owned(), json(value)?);
            }
            Value::Object(map)
        }
        Yaml::Tagged(..) | Yaml::Alias(_) | Yaml::BadValue | Yaml::Representation(..) => {
            return Err("YAML tags and aliases are not read here".to_owned());
        }
    })
}

impl<'de> Deserialize<'de> for RecipeChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Choice;
        impl<'de> Visitor<'de> for Choice {
            type Value = RecipeChoice;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name of a recipe, or a recipe")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<RecipeChoice, E> {
                Ok(RecipeChoice::Named(name.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RecipeChoice, A::Error> {
                let recipe = Recipe::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RecipeChoice::Inline(Box::new(recipe)))
            }
        }
        deserializer.deserialize_any(Choice)
    }
}

impl JsonSchema for RecipeChoice {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RecipeChoice".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let recipe = generator.subschema_for::<Recipe>();
        json_schema!({ "anyOf": [{ "type": "string" }, recipe] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_recipe_compiles() {
        let names = shipped_names();
        assert!(names.contains(&DEFAULT), "{names:?}");
        for name in names {
            let (_, recipe) = RecipeChoice::Named(name.to_owned()).load(None).unwrap_or_else(|e| panic!("{e}"));
            crate::jq::Program::compile(&recipe.map).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }

    #[test]
    fn unknown_names_and_paths_are_refused() {
        let error = RecipeChoice::Named("nope".into()).load(None).unwrap_err();
        assert!(error.message.contains(DEFAULT), "{error}");
        assert!(RecipeChoice::Named("../x".into()).load(None).is_err());
    }
}
